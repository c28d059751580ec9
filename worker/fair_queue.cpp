#include "worker/fair_queue.hpp"

#include <algorithm>

namespace tunorch::worker {
namespace {

/// A line's turn: a full packet of the outer world's ten, so that small packets keep their turns
/// beside GSO packets of 64 KiB.
constexpr std::int64_t quantum = 16 * 1024;
/// What the bookkeeping of a packet takes, about.
constexpr std::size_t overhead_bytes = 64;

std::size_t cost(std::size_t packet_bytes) {
  return packet_bytes + overhead_bytes;
}

}  // namespace

std::vector<std::uint8_t> FairQueue::take_first(Line& line) {
  std::vector<std::uint8_t> packet = std::move(line.packets.front());
  line.packets.pop_front();
  line.bytes -= cost(packet.size());
  bytes_ -= cost(packet.size());
  return packet;
}

std::size_t FairQueue::push(std::uint32_t flow, std::span<const std::uint8_t> packet) {
  const auto number = static_cast<std::uint8_t>(flow % lines_.size());
  Line& line = lines_[number];
  line.packets.emplace_back(packet.begin(), packet.end());
  line.bytes += cost(packet.size());
  bytes_ += cost(packet.size());
  if (!line.listed) {
    line.listed = true;
    line.credit = quantum;
    fresh_.push_back(number);
  }
  std::size_t dropped = 0;
  for (; bytes_ > max_bytes_; ++dropped)
    take_first(*std::ranges::max_element(lines_, {}, &Line::bytes));
  full_ = dropped > 0;
  return dropped;
}

std::vector<std::uint8_t> FairQueue::pop() {
  for (;;) {
    std::deque<std::uint8_t>& list = fresh_.empty() ? turns_ : fresh_;
    const std::uint8_t number = list.front();
    Line& line = lines_[number];
    if (line.packets.empty() && &list == &turns_) {
      line.listed = false;
      turns_.pop_front();
    } else if (line.packets.empty() || line.credit <= 0) {
      // A fresh line that empties waits for a turn too: else it could begin anew each time.
      list.pop_front();
      turns_.push_back(number);
      if (line.credit <= 0) line.credit += quantum;
    } else {
      std::vector<std::uint8_t> packet = take_first(line);
      line.credit -= static_cast<std::int64_t>(packet.size());
      return packet;
    }
  }
}

}  // namespace tunorch::worker
