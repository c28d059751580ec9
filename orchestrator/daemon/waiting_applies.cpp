#include "orchestrator/daemon/waiting_applies.hpp"

#include <algorithm>

#include "orchestrator/daemon/tunnel_set.hpp"

namespace tunorch {

std::vector<std::string> missing_of(const Desired& desired, const TunnelSet& tunnels,
                                    const WaitingApply& waiting) {
  std::vector<std::string> missing;
  for (const DesiredBundle& bundle : desired.bundles)
    for (const std::string& tunnel : bundle.tunnels) {
      const TunnelWorker& one = *tunnels.find(tunnel);
      const std::string why = one.reason().empty() ? "" : ": " + one.reason();
      if (one.lifecycle().state() != WorkerState::running) {
        missing.push_back(tunnel + ": its worker is " + to_string(one.lifecycle().state()) + why);
        continue;
      }
      for (const std::string& peer : bundle.peers) {
        const bool must =
            !bundle.listener || waiting.wait_peers || waiting.lived.contains({tunnel, peer});
        if (must && one.health(peer).state != Health::up)
          missing.push_back(tunnel + ": not healthy towards " + peer + why);
      }
    }
  return missing;
}

void WaitingApplies::answer(
    Time now, const std::function<std::vector<std::string>(const WaitingApply&)>& missing,
    const ApplyDone& done) {
  std::erase_if(waiting_, [&](WaitingApply& waiting) {
    const std::vector<std::string> left = missing(waiting);
    if (!left.empty() && now < waiting.deadline) {
      if (std::exchange(waiting.sent, left.size()) != left.size())
        waiting.send(WaitingAnswer{static_cast<std::uint32_t>(left.size()), left.front()});
      return false;
    }
    ApplyDone answer = done;
    answer.done = left.empty();
    answer.missing = left;
    waiting.send(answer);
    return true;
  });
}

std::optional<WaitingApplies::Time> WaitingApplies::next() const {
  if (waiting_.empty()) return std::nullopt;
  return std::ranges::min_element(waiting_, {}, &WaitingApply::deadline)->deadline;
}

void WaitingApplies::fail(const std::string& error) {
  for (const WaitingApply& waiting : waiting_) waiting.send(Failure{error, false, false});
  waiting_.clear();
}

}  // namespace tunorch
