#include "routing/nexthop.hpp"

namespace tunorch::routing {

std::string NexthopGroup::text() const {
  const auto seconds = [](std::chrono::milliseconds time) {
    return time.count() % 1000 == 0 ? std::to_string(time.count() / 1000) + "s"
                                    : std::to_string(time.count()) + "ms";
  };
  std::string text = std::to_string(id) + " buckets " + std::to_string(buckets) + " idle_timer " +
                     seconds(idle_timer) + " unbalanced_timer " + seconds(unbalanced_timer);
  for (const GroupMember& member : members)
    text += " nexthop " + std::to_string(member.id) + " weight " + std::to_string(member.weight);
  return text;
}

}  // namespace tunorch::routing
