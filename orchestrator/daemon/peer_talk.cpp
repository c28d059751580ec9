#include "orchestrator/daemon/peer_talk.hpp"

#include <time.h>

namespace tunorch {
namespace {

/// Grows as long as this host runs, whatever becomes of the daemon or of the clock on the wall.
std::uint64_t boottime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

/// Of each tunnel we know anything about.
PeerTalk::States states_for(const DesiredGroup& group, const Workers& workers,
                            const Drains& drains) {
  PeerTalk::States states;
  for (const DesiredMember& member : group.members) {
    const auto found = workers.find(member.tunnel);
    if (found == workers.end()) continue;
    const TunnelWorker& one = *found->second;
    const auto path = one.paths().find(group.peer);
    if (path == one.paths().end()) continue;
    const bool alive = one.lifecycle().alive();
    if (alive && path->second.undecided()) continue;
    const Drain drain = drains.state(member.tunnel);
    const bool live = alive && path->second.own_verdict();
    states.push_back({member.tunnel, live && drain != Drain::done, drain != Drain::none});
  }
  return states;
}

}  // namespace

PeerTalk::PeerTalk()
    : boot_(read_text("/proc/sys/kernel/random/boot_id").value_or("").substr(0, 36)) {}

void PeerTalk::tell(const Desired& desired, const Workers& workers, const Drains& drains) {
  // One bundle's peers mostly are to hear the same: they share a request.
  std::map<std::pair<std::string, States>, worker::Request> requests;  // by tunnel
  for (const DesiredGroup& group : desired.groups) {
    Said saying{states_for(group, workers, drains), {}};
    for (const DesiredMember& member : group.members)
      if (const auto found = workers.find(member.tunnel);
          found != workers.end() && found->second->sessions().contains(group.peer))
        saying.by.insert(member.tunnel);
    Said& said = said_[group.peer];
    if (said == saying) continue;
    for (const std::string& tunnel : saying.by) {
      worker::Request& request = requests[{tunnel, saying.states}];
      request.to.push_back(group.peer);
      request.word.states = saying.states;
    }
    said = std::move(saying);
  }
  for (auto& [key, request] : requests) {
    request.word.boot = boot_;
    request.word.sequence = boottime_ns();
    workers.at(key.first)->tell(request.to, request.word);
  }
}

bool PeerTalk::is_news(const std::string& peer, const worker::StateWord& word) {
  auto& [boot, sequence] = heard_[peer];
  if (boot == word.boot && word.sequence <= sequence) return false;
  boot = word.boot;
  sequence = word.sequence;
  return true;
}

}  // namespace tunorch
