// The frames two workers exchange inside TLS: the four-byte header, the types, and how long each
// may be. Pure; it moves no bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunorch::worker {

/// What this end speaks. A peer is accepted when the ranges overlap; the highest common is used.
/// 2: STATE. 3: offloads in HELLO and CONFIG, sessions of several streams.
inline constexpr int wire_version = 3;
inline constexpr int min_wire_version = 2;

enum class FrameType : std::uint8_t {
  hello = 1,   // dialer → listener, once, first: who I am and what I run (JSON)
  config = 2,  // listener → dialer, once, the answer: accepted, and these settings (JSON)
  data = 3,    // virtio_net_hdr and one packet, perhaps a GSO packet
  ping = 4,    // sequence number and the sender's clock
  pong = 5,    // the same, sent back
  state = 6,   // which tunnels of the bundle live and drain, as the sender sees it (JSON)
  close = 7,   // the last frame: why (JSON)
};

/// {u8 type, u24 length of what follows, big-endian}
inline constexpr std::size_t frame_header_bytes = 4;

inline constexpr std::size_t vnet_header_bytes = 10;
inline constexpr std::size_t max_packet_bytes = 65535;
inline constexpr std::size_t max_data_bytes = vnet_header_bytes + max_packet_bytes;
inline constexpr std::size_t max_text_bytes = 8192;  // of HELLO, CONFIG and CLOSE
inline constexpr std::size_t ping_bytes = 12;        // {u32 sequence, u64 clock}, big-endian

struct FrameHeader {
  FrameType type{};
  std::uint32_t length = 0;  // bytes
};

void write_frame_header(std::uint8_t* to, FrameHeader header);

/// Nothing where the type is unknown or the length is not one this type may have: the stream can
/// not be read on.
std::optional<FrameHeader> read_frame_header(const std::uint8_t* from);

struct Ping {
  std::uint32_t sequence = 0;
  std::uint64_t clock_ns = 0;
};

void write_ping(std::uint8_t* to, Ping ping);
Ping read_ping(const std::uint8_t* from);

}  // namespace tunorch::worker
