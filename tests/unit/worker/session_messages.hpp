// What is said in sessions by a peer that means no good: every kind of message there is, and some
// that are none. And what the tests of both roles share.
#pragma once

#include <cstdlib>
#include <map>

#include "tests/unit/worker/packets.hpp"
#include "tests/unit/worker/session_lab.hpp"

namespace tunorch {

using worker::Hello;
using worker::Spec;

inline constexpr const char* edge_address = "10.77.0.2";
inline constexpr const char* branch_address = "10.77.0.3";

inline Spec listener_spec(const NodeKeys& keys) {
  Spec spec;
  spec.cluster = "demo";
  spec.node = "gateway";
  spec.bundle = "backbone";
  spec.tunnel = "backbone-0";
  spec.listener = true;
  spec.digest = "a-b";
  spec.ca_pem = keys.ca_pem;
  spec.certificate_pem = keys.certificate_pem;
  spec.crl_pem = keys.crl_pem;
  spec.secrets["key"] = keys.key_pem;
  spec.interval_ms = 100;
  spec.timeout_ms = 2000;
  spec.backoff_ms = spec.max_backoff_ms = 10;
  spec.peers = {{"edge", {"10.77.0.2/32"}, "same"}, {"branch", {"10.77.0.3/32"}, "same"}};
  return spec;
}

inline Hello hello_of(const std::string& node, int stream = 0, int streams = 1) {
  Hello hello;
  hello.cluster = "demo";
  hello.node = node;
  hello.bundle = "backbone";
  hello.stream = stream;
  hello.streams = streams;
  hello.digest = "same";
  return hello;
}

/// A DATA payload: a plain packet.
inline std::string packet_from(const char* source) {
  auto packet = worker::tcp4(20);
  std::memcpy(&packet[12], worker::ip(source).bytes.data(), 4);
  return std::string(worker::vnet_header_bytes, '\0') + std::string(packet.begin(), packet.end());
}

inline std::string ping_payload() {
  return std::string(worker::ping_bytes, '\1');
}

/// Every kind of message there is, and some that are none, as bytes of the stream.
inline std::map<std::string, std::string> messages() {
  const auto hello = [](const Hello& one) {
    return frame_bytes(FrameType::hello, worker::hello_text(one));
  };
  Hello other_tunnel = hello_of("edge"), other_file = hello_of("edge"),
        no_version = hello_of("edge");
  other_tunnel.tunnel = 3;
  other_file.digest = "another";
  no_version.version = no_version.min_version = 99;
  const std::string text = "{\"version\":3}";
  return {
      {"hello", hello(hello_of("edge"))},
      {"hello of branch", hello(hello_of("branch"))},
      {"hello of nobody", hello(hello_of("nobody"))},
      {"hello of another tunnel", hello(other_tunnel)},
      {"hello of another file", hello(other_file)},
      {"hello of another version", hello(no_version)},
      {"hello of stream 16", hello(hello_of("edge", 16, 17))},
      {"hello of stream -1", hello(hello_of("edge", -1, 1))},
      {"hello without sense", frame_bytes(FrameType::hello, "[[[[{}")},
      {"empty hello", frame_bytes(FrameType::hello, "")},
      {"config", frame_bytes(FrameType::config, text)},
      {"config without sense", frame_bytes(FrameType::config, "{\"version\":\"x\"}")},
      {"data", frame_bytes(FrameType::data, packet_from(edge_address))},
      {"data of branch", frame_bytes(FrameType::data, packet_from(branch_address))},
      {"data without sense", frame_bytes(FrameType::data, std::string(64, '\x45'))},
      {"data of no packet", frame_bytes(3, std::string(worker::vnet_header_bytes, '\0'))},
      {"ping", frame_bytes(FrameType::ping, ping_payload())},
      {"pong", frame_bytes(FrameType::pong, ping_payload())},
      {"short ping", frame_bytes(4, std::string(worker::ping_bytes - 1, '\0'))},
      {"long pong", frame_bytes(5, std::string(worker::ping_bytes + 1, '\0'))},
      {"state", frame_bytes(FrameType::state, *worker::state_text({"boot", 1, {}, ""}))},
      {"state without sense", frame_bytes(FrameType::state, "{\"states\":7}")},
      {"close", frame_bytes(FrameType::close, worker::close_text("enough"))},
      {"close without sense", frame_bytes(FrameType::close, "\x1b[2J\xff")},
      {"type 0", frame_bytes(0, "x")},
      {"type 8", frame_bytes(8, "x")},
      {"type 255", frame_bytes(255, "")},
      {"oversize hello", frame_bytes(1, "", worker::max_text_bytes + 1)},
      {"oversize state", frame_bytes(6, "", 0xffffff)},
      {"oversize data", frame_bytes(3, "", worker::max_data_bytes + 1)},
      {"large data", frame_bytes(3, std::string(worker::max_text_bytes + 1, '\x45'))},
  };
}

/// What a connection must come to by each message once it is greeted.
inline bool ends_a_session(const std::string& name) {
  return !(name == "data" || name == "data of branch" || name == "data without sense" ||
           name == "large data" || name == "ping" || name == "pong" || name == "state");
}

class Sessions : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() == 0) return;
    const char* ci = std::getenv("CI");
    if (ci && std::string(ci) == "true") FAIL() << "needs root: a worker obeys nobody else";
    GTEST_SKIP() << "needs root: a worker obeys nobody else";
  }
  Keys keys_;
};

}  // namespace tunorch
