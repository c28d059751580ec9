#include "worker/fair_queue.hpp"

#include <algorithm>

namespace tunorch::worker {
namespace {

/// Bytes a turn: a quarter of the largest GSO packet, so that flows of small packets get theirs
/// soon.
constexpr std::int64_t quantum = 16 * 1024;
/// What the bookkeeping of a packet takes, about.
constexpr std::size_t overhead_bytes = 64;

std::size_t cost(std::size_t packet_bytes) {
  return packet_bytes + overhead_bytes;
}

}  // namespace

FairQueue::Packet FairQueue::take_first(Flow& queue) {
  Packet packet = std::move(queue.packets.front());
  queue.packets.pop_front();
  queue.bytes -= cost(packet.bytes.size());
  bytes_ -= cost(packet.bytes.size());
  return packet;
}

std::size_t FairQueue::push(std::uint32_t flow, std::span<const std::uint8_t> packet,
                            Clock::time_point now) {
  const auto number = static_cast<std::uint16_t>(flow % flows_.size());
  Flow& queue = flows_[number];
  queue.packets.push_back({{packet.begin(), packet.end()}, now});
  queue.bytes += cost(packet.size());
  bytes_ += cost(packet.size());
  if (!queue.listed) {
    queue.listed = true;
    queue.credit = quantum;
    new_flows_.push_back(number);
  }
  std::size_t dropped = 0;
  for (; bytes_ > max_bytes_; ++dropped)
    take_first(*std::ranges::max_element(flows_, {}, &Flow::bytes));
  return dropped;
}

std::size_t FairQueue::drop_older(Clock::time_point than) {
  std::size_t dropped = 0;
  for (Flow& flow : flows_)
    for (; !flow.packets.empty() && flow.packets.front().since < than; ++dropped) take_first(flow);
  return dropped;
}

FairQueue::Packet FairQueue::pop() {
  for (;;) {
    std::deque<std::uint16_t>& list = new_flows_.empty() ? old_flows_ : new_flows_;
    const std::uint16_t number = list.front();
    Flow& queue = flows_[number];
    if (queue.packets.empty() && &list == &old_flows_) {
      queue.listed = false;
      old_flows_.pop_front();
    } else if (queue.packets.empty() || queue.credit <= 0) {
      // A new flow that empties waits a turn too, or it could count as new each time.
      list.pop_front();
      old_flows_.push_back(number);
      if (queue.credit <= 0) queue.credit += quantum;
    } else {
      Packet packet = take_first(queue);
      queue.credit -= static_cast<std::int64_t>(packet.bytes.size());
      return packet;
    }
  }
}

}  // namespace tunorch::worker
