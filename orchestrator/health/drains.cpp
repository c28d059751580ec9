#include "orchestrator/health/drains.hpp"

namespace tunorch {

void Drains::begin(const std::string& tunnel, time_point deadline) {
  drains_[tunnel].deadline = deadline;
}

Drain Drains::state(const std::string& tunnel) const {
  const auto found = drains_.find(tunnel);
  return found == drains_.end() ? Drain::none : found->second.state;
}

std::vector<std::string> Drains::finish(
    time_point now, const std::function<unsigned(const std::string&)>& buckets_left) {
  std::vector<std::string> done;
  for (auto& [tunnel, one] : drains_) {
    if (one.state == Drain::done) continue;
    if (now < one.deadline && buckets_left(tunnel) > 0) continue;
    one.state = Drain::done;
    done.push_back(tunnel);
  }
  return done;
}

}  // namespace tunorch
