// What a DATA frame's payload can get past the checks before the kernel sees it. The input is a
// virtio header and a packet.
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/vnet_bounds.hpp"
#include "worker/flow_hash.hpp"
#include "worker/frame.hpp"
#include "worker/packet.hpp"
#include "worker/udp_gro.hpp"
#include "worker/vnet_header.hpp"

namespace {

using namespace tunorch::worker;
using tunorch::require;

/// Twice the packet, and what is written of that has to pass the same checks.
void run_of_two(const VnetHeader& header, const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> one(data, data + size);
  std::memcpy(one.data(), &header, sizeof header);
  std::vector<std::uint8_t> two = one, whole;
  UdpGro run;
  if (!run.add(one.data(), size)) return;
  const bool joined = run.add(two.data(), size);
  const std::size_t count = run.count();
  require(count == (joined ? 2 : 1));
  for (const iovec& part : run.finish()) {
    const auto* from = static_cast<const std::uint8_t*>(part.iov_base);
    whole.insert(whole.end(), from, from + part.iov_len);
  }
  VnetHeader written;
  std::memcpy(&written, whole.data(), sizeof written);
  const std::uint8_t* packet = whole.data() + vnet_header_bytes;
  require(whole.size() <= max_data_bytes);
  require(parse_packet(packet, whole.size() - vnet_header_bytes).has_value());
  require(check_vnet_header(written, packet, whole.size() - vnet_header_bytes));
  require((written.gso_type == vnet::gso_udp_l4) == joined);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= vnet_header_bytes || size > max_data_bytes) return 0;
  VnetHeader header;
  std::memcpy(&header, data, sizeof header);
  const std::uint8_t* packet = data + vnet_header_bytes;
  const std::size_t bytes = size - vnet_header_bytes;
  require(flow_hash(packet, bytes) <= 0xffff);
  if (!parse_packet(packet, bytes) || !check_vnet_header(header, packet, bytes)) return 0;
  require_bounds(header, bytes);
  if (header.gso_type == vnet::gso_none) {
    run_of_two(header, data, size);
    return 0;
  }
  const bool udp = header.gso_type == vnet::gso_udp_l4;
  require(header.csum_offset == (udp ? 6 : 16));
  const std::uint8_t tcp_type = header.gso_type & static_cast<std::uint8_t>(~vnet::gso_ecn);
  require(udp || tcp_type == (packet[0] >> 4 == 4 ? vnet::gso_tcpv4 : vnet::gso_tcpv6));
  return 0;
}
