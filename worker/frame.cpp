#include "worker/frame.hpp"

namespace tunorch::worker {
namespace {

template <class T>
void write_big_endian(std::uint8_t* to, T value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    to[i] = static_cast<std::uint8_t>(value >> (8 * (bytes - 1 - i)));
}

std::uint64_t read_big_endian(const std::uint8_t* from, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | from[i];
  return value;
}

bool length_fits(FrameType type, std::uint32_t length) {
  switch (type) {
    case FrameType::hello:
    case FrameType::config:
    case FrameType::state:
    case FrameType::close:
      return length <= max_text_bytes;
    case FrameType::data:
      return length > vnet_header_bytes && length <= max_data_bytes;
    case FrameType::ping:
    case FrameType::pong:
      return length == ping_bytes;
  }
  return false;
}

}  // namespace

void write_frame_header(std::uint8_t* to, FrameHeader header) {
  to[0] = static_cast<std::uint8_t>(header.type);
  write_big_endian(to + 1, header.length, 3);
}

std::optional<FrameHeader> read_frame_header(const std::uint8_t* from) {
  const FrameHeader header{static_cast<FrameType>(from[0]),
                           static_cast<std::uint32_t>(read_big_endian(from + 1, 3))};
  if (!length_fits(header.type, header.length)) return std::nullopt;
  return header;
}

void write_ping(std::uint8_t* to, Ping ping) {
  write_big_endian(to, ping.sequence, 4);
  write_big_endian(to + 4, ping.clock_ns, 8);
}

Ping read_ping(const std::uint8_t* from) {
  return {static_cast<std::uint32_t>(read_big_endian(from, 4)), read_big_endian(from + 4, 8)};
}

}  // namespace tunorch::worker
