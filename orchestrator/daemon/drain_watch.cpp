#include "orchestrator/daemon/drain_watch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>
#include <system_error>

#include "orchestrator/plan/multipath.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

std::set<std::string> DrainWatch::peers_carried_by(const std::string& tunnel) const {
  std::set<std::string> peers;
  for (const auto& [peer, tunnels] : carrying(node_.desired, node_.observed.multipath))
    if (tunnels.contains(tunnel)) peers.insert(peer);
  return peers;
}

void DrainWatch::begin(const std::string& tunnel, Time deadline) {
  if (!node_.desired.find_tunnel(tunnel))
    throw std::runtime_error("there is no tunnel '" + tunnel +
                             "' here: `tunorch status` names them");
  for (const auto& [peer, tunnels] : carrying(node_.desired, node_.observed.multipath))
    if (tunnels.contains(tunnel) && std::ranges::all_of(tunnels, [&](const std::string& other) {
          return other == tunnel || drains_.state(other) != Drain::none;
        }))
      throw std::runtime_error(tunnel + " is the last tunnel that carries to " + peer +
                               ": bring another one up first");
  drains_.begin(tunnel, deadline);
  tick_();
}

void DrainWatch::end(const std::string& tunnel) {
  drains_.end(tunnel);
  tick_();
}

void DrainWatch::follow(Time now) {
  const auto buckets_left = [this](const std::string& tunnel) {
    const DesiredTunnel* wanted = node_.desired.find_tunnel(tunnel);
    return wanted ? machine_.buckets_of(*wanted, node_.observed.multipath) : 0;
  };
  std::vector<std::string> done;
  try {
    done = drains_.finish(now, buckets_left);
  } catch (const std::system_error& error) {
    spdlog::debug("cannot read buckets: {}", error.what());
  }
  for (const std::string& tunnel : done) {
    tick_();
    events_.add({"drained", tunnel, "", ""});
  }
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    const Drain state = drains_.state(waiting.tunnel);
    if (state == Drain::draining) return false;
    waiting.send(DoneAnswer{state == Drain::done});
    return true;
  });
}

}  // namespace tunorch
