// HELLO, CONFIG, STATE and CLOSE: the texts of a peer, and what each end makes of them. The first
// byte is the frame's type, the rest its payload.
#include <string>

#include "tests/fuzz/fuzz.hpp"
#include "worker/handshake.hpp"

namespace {

using namespace tunorch::worker;
using tunorch::require;

/// Bounds a log line: a reason repeats at most two words of the peer's, of 64 bytes each.
constexpr std::size_t longest_reason = 512;

Spec listener() {
  Spec spec;
  spec.cluster = "demo";
  spec.node = "gateway";
  spec.bundle = "backbone";
  spec.tunnel = "backbone-0";
  spec.listener = true;
  spec.peers = {{"edge", {"10.77.0.2/32"}, "digest"}, {"branch", {}, "other"}};
  return spec;
}

void read_hello(std::string_view text) {
  const auto hello = parse_hello(text);
  if (!hello) return;
  const auto again = parse_hello(hello_text(*hello));
  require(again && hello_text(*again) == hello_text(*hello));
  const Spec spec = listener();
  // Whoever it says it is, the certificate decides.
  for (const std::string certified : {"edge", "branch", "stranger", ""}) {
    const std::string reason = refuse_hello(spec, *hello, certified);
    require(tunorch::is_printable(reason) && reason.size() <= longest_reason);
    if (!reason.empty()) continue;
    require(hello->node == certified && (certified == "edge" || certified == "branch"));
    require(hello->cluster == "demo" && hello->bundle == "backbone" && hello->tunnel == 0);
    require(hello->digest == (certified == "edge" ? "digest" : "other"));
    require(hello->streams >= 1 && hello->streams <= max_streams);
    require(hello->stream >= 0 && hello->stream < hello->streams);
    const Config config = make_config(spec, *hello, hello->offloads);
    require(config.version >= min_wire_version && config.version <= wire_version);
    const auto answered = parse_config(config_text(config));
    require(answered && answered->version == config.version);
    require(config_text(config).size() <= max_text_bytes);
  }
}

void read_config(std::string_view text) {
  const auto config = parse_config(text);
  if (!config) return;
  const auto again = parse_config(config_text(*config));
  require(again && again->version == config->version && again->congestion == config->congestion);
}

void read_state(std::string_view text) {
  const auto word = parse_state(text);
  if (!word) return;
  require(word->states.size() <= 64);
  const auto sent = state_text(*word);
  if (!sent) return;
  require(sent->size() <= max_text_bytes);
  const auto again = parse_state(*sent);
  require(again && again->sequence == word->sequence && again->note == word->note);
}

void read_close(std::string_view text) {
  const std::string reason = parse_close(text);
  require(tunorch::is_printable(reason) && reason.size() <= 500);
  require(parse_close(close_text(reason)) == reason);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 1 + max_text_bytes) return 0;
  const std::string_view text = tunorch::text_of(data + 1, size - 1);
  switch (static_cast<FrameType>(data[0])) {
    case FrameType::hello:
      read_hello(text);
      break;
    case FrameType::config:
      read_config(text);
      break;
    case FrameType::state:
      read_state(text);
      break;
    case FrameType::close:
      read_close(text);
      break;
    default:
      break;
  }
  return 0;
}
