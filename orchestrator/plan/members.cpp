#include "orchestrator/plan/members.hpp"

#include <algorithm>
#include <numeric>

namespace tunorch {
namespace {

struct Candidate {
  const DesiredMember* member = nullptr;
  TunnelHealth health;
  bool installed = false;
};

/// Back after a failover, but not to be used yet: the failback policy says when.
bool waits_for_failback(const Candidate& one, const std::vector<Candidate>& all) {
  if (one.installed || one.health.may_fail_back) return false;
  return std::ranges::any_of(all, [&](const Candidate& other) {
    return other.installed && other.member->priority < one.member->priority;
  });
}

/// Tiers from the top until `min_live` tunnels are together.
std::vector<Candidate> top_tiers(std::vector<Candidate> live, std::size_t min_live) {
  std::ranges::stable_sort(live, std::ranges::greater{},
                           [](const Candidate& one) { return one.member->priority; });
  std::size_t taken = 0;
  while (taken < live.size() &&
         (taken < min_live || live[taken].member->priority == live[taken - 1].member->priority))
    ++taken;
  live.resize(taken);
  return live;
}

/// A member's weight at `share` percent, times a factor that makes all of them whole numbers.
std::vector<Member> weigh(const std::vector<Candidate>& carrying,
                          const std::vector<Candidate>& draining, const WeightLimits& limits) {
  std::vector<std::uint64_t> weights;
  bool plain = draining.empty() || limits.buckets == 0;
  for (const Candidate& one : carrying) {
    const unsigned share = limits.buckets == 0 ? 100 : one.health.share;
    if (share != 100) plain = false;
    weights.push_back(std::uint64_t{one.member->weight} * share);
  }
  std::vector<Member> members;
  if (plain) {
    for (const Candidate& one : carrying)
      members.push_back({one.member->tunnel, std::min(one.member->weight, limits.highest)});
    return members;
  }
  std::uint64_t divisor = 0;
  for (const std::uint64_t weight : weights) divisor = std::gcd(divisor, weight);
  for (std::uint64_t& weight : weights) weight /= divisor;
  if (!draining.empty() && limits.buckets != 0) {
    // The kernel rounds where one member's buckets end and the next one's begin to the nearest
    // (net/ipv4/nexthop.c, nh_res_group_rebalance): the last members, with less than half a bucket
    // together, get none.
    const std::uint64_t sum = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
    const std::uint64_t factor = 2 * std::uint64_t{limits.buckets} * draining.size() / sum + 1;
    for (std::uint64_t& weight : weights) weight *= factor;
  }
  const std::uint64_t highest = *std::ranges::max_element(weights);
  for (std::size_t i = 0; i < carrying.size(); ++i) {
    std::uint64_t weight = weights[i];
    if (highest > limits.highest) weight = weight * limits.highest / highest;
    members.push_back(
        {carrying[i].member->tunnel, static_cast<unsigned>(std::max<std::uint64_t>(weight, 1))});
  }
  if (limits.buckets != 0)
    for (const Candidate& one : draining) members.push_back({one.member->tunnel, 1});
  return members;
}

}  // namespace

std::vector<Member> choose_members(const DesiredGroup& group,
                                   const std::map<std::string, TunnelHealth>& health,
                                   const std::set<std::string>& installed,
                                   const WeightLimits& limits) {
  std::vector<Candidate> all, live, sick, draining;
  for (const DesiredMember& member : group.members) {
    const auto found = health.find(member.tunnel);
    all.push_back({&member, found == health.end() ? TunnelHealth{} : found->second,
                   installed.contains(member.tunnel)});
  }
  for (const Candidate& one : all) {
    const bool up =
        one.health.state == Health::up || (one.health.state == Health::unknown && one.installed);
    if (up && one.health.drain != Drain::none)
      draining.push_back(one);
    else if (up && !waits_for_failback(one, all))
      live.push_back(one);
    else if (one.health.state == Health::down && one.health.connected && one.installed)
      sick.push_back(one);
  }
  const auto min_live = static_cast<std::size_t>(group.min_live);
  // A drain yields to the last tunnel there is: nothing would carry.
  if (live.empty()) live = std::exchange(draining, {});
  for (const Candidate& one : sick)
    if (live.size() < min_live) live.push_back(one);
  std::erase_if(draining, [](const Candidate& one) {
    return !one.installed || one.health.drain == Drain::done;
  });
  if (live.empty()) return {};
  std::vector<Candidate> carrying = top_tiers(std::move(live), min_live);
  std::ranges::sort(carrying, {}, [](const Candidate& one) { return one.member->tunnel; });
  return weigh(carrying, draining, limits);
}

}  // namespace tunorch
