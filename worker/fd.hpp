// One owner for one file descriptor. Closes it; does nothing else with it.
#pragma once

#include <unistd.h>

#include <map>
#include <string>
#include <utility>

namespace tunorch::worker {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Memory files that hold secrets, by name (Request::secrets).
using SecretFiles = std::map<std::string, Fd>;

}  // namespace tunorch::worker
