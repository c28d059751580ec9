// Datagrams of one flow that came one after the other, written to the TUN as one: the kernel takes
// them through its stack once (UDP segmentation offload, Linux 6.2; what GRO does for a network
// card, net/ipv4/udp_offload.c). Pure but for the headers it changes in place; it copies nothing.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "worker/vnet_header.hpp"

namespace tunorch::worker {

class UdpGro {
 public:
  /// A DATA payload whose virtio header is checked. True where it continues the run, or begins one
  /// where there is none; it must stay where it is until finish(). False: finish the run first, and
  /// if it still is false with none begun, it is nothing for a run.
  bool add(std::uint8_t* payload, std::size_t size);

  bool empty() const { return count_ == 0; }
  /// Datagrams in it.
  std::size_t count() const { return count_; }
  /// Bytes of their packets, as they came.
  std::size_t packet_bytes() const { return packet_bytes_; }
  /// What is to be written in one go; the run is over with the next add().
  std::span<const iovec> finish();

 private:
  bool begin(std::uint8_t* payload, std::size_t size);
  bool joins(const std::uint8_t* payload, std::size_t size) const;

  std::array<iovec, max_udp_segments> parts_;
  std::size_t count_ = 0;
  std::size_t packet_bytes_ = 0;
  std::size_t header_bytes_ = 0;  // of IP and UDP
  std::size_t segment_bytes_ = 0;
  bool closed_ = false;  // a shorter datagram ends a run
};

}  // namespace tunorch::worker
