// The TUN queues a worker was given: reads and writes packets with their virtio header, and raises
// and drops carrier. It neither makes devices nor attaches queues.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/fd.hpp"

namespace tunorch::worker {

class Tun {
 public:
  explicit Tun(std::vector<Fd> queues) : queues_(std::move(queues)) {}

  const std::vector<Fd>& queues() const { return queues_; }
  /// From any device's queue: bytes of header and packet; -1 and errno as read(2): EAGAIN where the
  /// queue is empty, EBADFD where the device was deleted.
  static ssize_t read(const Fd& queue, std::uint8_t* to, std::size_t size);
  /// False where the kernel does not take it.
  bool write(std::size_t queue, const std::uint8_t* from, std::size_t size) const;

  /// TUNSETCARRIER: without carrier the kernel sends nothing into the device, and routes that
  /// ignore links without carrier leave it.
  void set_carrier(bool on) const;

 private:
  std::vector<Fd> queues_;
};

}  // namespace tunorch::worker
