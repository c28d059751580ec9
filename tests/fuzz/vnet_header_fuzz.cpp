// DATA frames as the data path takes them: a run of payloads, each checked, told whose it is, and
// put behind the others of its flow; what then would be written to the TUN has to pass the same
// checks. The input is payloads, each behind a length of two bytes.
#include <cstring>
#include <optional>
#include <vector>

#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/vnet_bounds.hpp"
#include "worker/flow_hash.hpp"
#include "worker/frame.hpp"
#include "worker/packet.hpp"
#include "worker/prefix_table.hpp"
#include "worker/udp_gro.hpp"
#include "worker/vnet_header.hpp"

namespace {

using namespace tunorch::worker;
using tunorch::require;

using Payload = std::vector<std::uint8_t>;

const PrefixTable& table() {
  static const PrefixTable made = [] {
    PrefixTable table;
    int owner = 0;
    for (const char* prefix : {"0.0.0.0/0", "10.77.0.0/24", "::/0", "fd77::/64"})
      require(table.add(prefix, owner++));
    return table;
  }();
  return made;
}

VnetHeader header_of(const Payload& payload) {
  VnetHeader header;
  std::memcpy(&header, payload.data(), sizeof header);
  return header;
}

/// Nothing where it is refused. A second look must find nothing to correct.
std::optional<Payload> checked(Payload payload) {
  std::uint8_t* packet = payload.data() + vnet_header_bytes;
  const std::size_t bytes = payload.size() - vnet_header_bytes;
  const auto parsed = parse_packet(packet, bytes);
  VnetHeader header = header_of(payload);
  if (!parsed || !check_vnet_header(header, packet, bytes)) return std::nullopt;
  require_bounds(header, bytes);
  VnetHeader again = header;
  require(check_vnet_header(again, packet, bytes));
  require(std::memcmp(&again, &header, sizeof header) == 0);
  require(flow_hash(packet, bytes) <= 0xffff);
  const int owner = table().find(parsed->source);
  require(owner >= -1 && owner <= 3);
  std::memcpy(payload.data(), &header, sizeof header);
  const Offloads none{}, all{.tso = true, .ecn = true, .uso = true};
  require(can_take(payload.data(), none) == (header.gso_type == vnet::gso_none));
  require(can_take(payload.data(), all));
  return payload;
}

void write_run(UdpGro& run, std::size_t packets, std::size_t payload_bytes) {
  if (run.empty()) return;
  require(run.count() == packets && packets <= max_udp_segments);
  Payload whole;
  for (const iovec& part : run.finish()) {
    const auto* from = static_cast<const std::uint8_t*>(part.iov_base);
    whole.insert(whole.end(), from, from + part.iov_len);
  }
  require(run.empty());
  require(whole.size() > vnet_header_bytes && whole.size() <= max_data_bytes);
  const std::uint8_t* packet = whole.data() + vnet_header_bytes;
  const std::size_t bytes = whole.size() - vnet_header_bytes;
  VnetHeader header = header_of(whole);
  require(parse_packet(packet, bytes).has_value());
  require(check_vnet_header(header, packet, bytes));
  require((header.gso_type == vnet::gso_udp_l4) == (packets > 1));
  if (packets == 1) return;
  const std::size_t payload = bytes - header.hdr_len;
  require(payload == payload_bytes);  // no byte lost, none added
  require((payload + header.gso_size - 1) / header.gso_size == packets);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<Payload> payloads;
  while (size >= 2) {
    const std::size_t length = read16(data);
    data += 2;
    size -= 2;
    if (length <= vnet_header_bytes || length > size) break;
    if (auto payload = checked({data, data + length})) payloads.push_back(std::move(*payload));
    data += length;
    size -= length;
  }
  UdpGro run;
  std::size_t count = 0, bytes = 0;
  for (Payload& payload : payloads) {
    const bool v4 = is_v4(payload.data() + vnet_header_bytes);
    const std::size_t headers =
        vnet_header_bytes + (v4 ? ipv4_header_bytes : ipv6_header_bytes) + udp_header_bytes;
    bool added = run.add(payload.data(), payload.size());
    if (!added) {
      write_run(run, count, bytes);
      count = bytes = 0;
      added = run.add(payload.data(), payload.size());
    }
    if (!added) {
      require(run.empty());
      continue;
    }
    ++count;
    bytes += payload.size() - headers;
  }
  write_run(run, count, bytes);
  return 0;
}
