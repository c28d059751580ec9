#include "worker/relay.hpp"

#include <sys/eventfd.h>

#include <cstring>

#include "worker/mailbox.hpp"

namespace tunorch::worker {
namespace {

using Size = std::uint32_t;

}  // namespace

Relay::Relay(Poller& poller, std::function<void()> filled, std::function<void(int)> room)
    : poller_(poller), filled_(std::move(filled)), room_(std::move(room)), bell_(make_bell()) {
  poller_.add(bell_.get(), EPOLLIN, *this);
}

Relay::~Relay() {
  poller_.remove(bell_.get());
}

bool Relay::push(int from, const std::uint8_t* payload, std::size_t size) {
  {
    const std::lock_guard lock(mutex_);
    const std::size_t at = filling_.size();
    if (at + sizeof(Size) + size > relay_bytes) {
      refused_ |= 1u << from;
      return false;
    }
    // Once, and then the memory is used again and again.
    if (filling_.capacity() < relay_bytes) filling_.reserve(relay_bytes);
    filling_.resize(at + sizeof(Size) + size);
    const auto bytes = static_cast<Size>(size);
    std::memcpy(&filling_[at], &bytes, sizeof bytes);
    std::memcpy(&filling_[at + sizeof bytes], payload, size);
    if (at > 0) return true;  // it has been rung for
  }
  ::eventfd_write(bell_.get(), 1);
  return true;
}

std::span<const std::uint8_t> Relay::front() {
  if (taken_ == taking_.size() && !refill()) return {};
  Size size = 0;
  std::memcpy(&size, &taking_[taken_], sizeof size);
  return {&taking_[taken_ + sizeof size], size};
}

void Relay::pop() {
  Size size = 0;
  std::memcpy(&size, &taking_[taken_], sizeof size);
  taken_ += sizeof size + size;
}

bool Relay::refill() {
  taking_.clear();
  taken_ = 0;
  std::uint32_t refused = 0;
  {
    const std::lock_guard lock(mutex_);
    taking_.swap(filling_);
    std::swap(refused, refused_);
  }
  for (int lane = 0; refused != 0; ++lane, refused >>= 1)
    if (refused & 1u) room_(lane);
  return !taking_.empty();
}

void Relay::on_events(std::uint32_t) {
  eventfd_t count = 0;
  ::eventfd_read(bell_.get(), &count);
  filled_();
}

}  // namespace tunorch::worker
