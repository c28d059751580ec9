// Packets that the kernel gave to one lane and that belong to another's stream: a bounded queue
// from all lanes to one. Used where a peer has another number of streams, or one of its streams is
// dead.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "worker/poller.hpp"

namespace tunorch::worker {

/// Bytes that wait in one relay at most, and as many again that are being taken out.
inline constexpr std::size_t relay_bytes = 256 * 1024;

class Relay final : public EventHandler {
 public:
  /// `filled` is called on the poller's thread when there is something to take; `room` when lane
  /// `from`, whose packet found no room, may try again.
  Relay(Poller& poller, std::function<void()> filled, std::function<void(int from)> room);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// From any thread. A DATA payload; false where there is no room.
  bool push(int from, const std::uint8_t* payload, std::size_t size);

  /// The owner's: the oldest payload, until pop(). Empty: there is none.
  std::span<const std::uint8_t> front();
  void pop();

  void on_events(std::uint32_t events) override;

 private:
  bool refill();

  Poller& poller_;
  std::function<void()> filled_;
  std::function<void(int)> room_;
  Fd bell_;
  std::mutex mutex_;
  std::vector<std::uint8_t> filling_;  // {u32 size, payload} …
  std::uint32_t refused_ = 0;          // a bit a lane
  std::vector<std::uint8_t> taking_;
  std::size_t taken_ = 0;  // of taking_
};

}  // namespace tunorch::worker
