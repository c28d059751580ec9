// What a peer's bytes can do to the frame decoder and to the messages inside control frames. The
// input is a stream of frames.
#include <string_view>

#include "tests/fuzz/fuzz.hpp"
#include "worker/frame.hpp"
#include "worker/handshake.hpp"

namespace {

using namespace tunorch::worker;
using tunorch::require;

void read_text(FrameType type, std::string_view text) {
  if (type == FrameType::hello) parse_hello(text);
  if (type == FrameType::config) parse_config(text);
  if (type == FrameType::state) parse_state(text);
  if (type == FrameType::close) parse_close(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  while (size >= frame_header_bytes) {
    const auto header = read_frame_header(data);
    if (!header) return 0;
    std::uint8_t written[frame_header_bytes];
    write_frame_header(written, *header);
    for (std::size_t i = 0; i < frame_header_bytes; ++i) require(written[i] == data[i]);
    data += frame_header_bytes;
    size -= frame_header_bytes;
    require(header->length <= max_data_bytes);
    if (header->length > size) return 0;
    if (header->type == FrameType::ping) {
      std::uint8_t again[ping_bytes];
      write_ping(again, read_ping(data));
      for (std::size_t i = 0; i < ping_bytes; ++i) require(again[i] == data[i]);
    }
    read_text(header->type, {reinterpret_cast<const char*>(data), header->length});
    data += header->length;
    size -= header->length;
  }
  return 0;
}
