// What the load of a soak run is made of: descriptors that close themselves, and streams of bytes
// that both ends can make. Knows no network.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace tunorch::soak {

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Bytes that both ends can make: splitmix64 (Steele and others, 2014) over a counter.
class Stream {
 public:
  explicit Stream(std::uint64_t seed) : seed_(seed) {}

  void next(std::uint8_t* to, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i, ++at_) {
      if (at_ % 8 == 0 || i == 0) word_ = word(at_ / 8);
      to[i] = static_cast<std::uint8_t>(word_ >> at_ % 8 * 8);
    }
  }
  /// What was made and not taken is made again.
  void back(std::size_t size) { at_ -= size; }
  std::uint64_t at() const { return at_; }

 private:
  std::uint64_t word(std::uint64_t number) const {
    std::uint64_t z = seed_ + (number + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }

  std::uint64_t seed_, at_ = 0, word_ = 0;
};

}  // namespace tunorch::soak
