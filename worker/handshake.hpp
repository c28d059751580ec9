// HELLO, CONFIG and CLOSE: what two workers tell each other before packets flow, and whether a
// listener takes a dialer. Pure; who the certificate says the peer is comes in as an argument.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/worker.hpp"
#include "worker/frame.hpp"
#include "worker/vnet_header.hpp"

namespace tunorch::worker {

struct Hello {
  int version = wire_version, min_version = min_wire_version;
  std::string cluster, node, bundle;
  int tunnel = 0;
  int stream = 0, streams = 1;
  std::string digest;                                          // PeerSpec::digest
  Offloads offloads{.tso = true, .ecn = false, .uso = false};  // what it takes
};

/// The listener's values, which the dialer takes where its own file says auto.
struct Config {
  int version = wire_version;
  std::uint32_t sndbuf_bytes = 0, rcvbuf_bytes = 0;
  std::string congestion = "auto";
  Offloads offloads{.tso = true, .ecn = false, .uso = false};  // what it takes
};

Hello make_hello(const Spec& dialer, int stream, const Offloads& offloads);
Config make_config(const Spec& listener, const Hello& hello, const Offloads& offloads);

std::string hello_text(const Hello& hello);
std::string config_text(const Config& config);
std::string close_text(const std::string& reason);

/// Nothing where it is too long for a frame.
std::optional<std::string> state_text(const StateWord& word);

/// Nothing where the text is not such a message.
std::optional<Hello> parse_hello(std::string_view text);
std::optional<Config> parse_config(std::string_view text);
std::optional<StateWord> parse_state(std::string_view text);
/// The reason, cut to a printable line: it is a peer's words, and goes into logs.
std::string parse_close(std::string_view text);

/// Why the listener cannot take this dialer, in words for both ends; empty: it can.
/// `certificate_node` is who the dialer's certificate says it is.
std::string refuse_hello(const Spec& listener, const Hello& hello,
                         const std::string& certificate_node);

}  // namespace tunorch::worker
