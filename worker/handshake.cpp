#include "worker/handshake.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace tunorch::worker {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Offloads, tso, ecn, uso)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Hello, version, min_version, cluster, node, bundle,
                                                tunnel, stream, streams, digest, offloads)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Config, version, sndbuf_bytes, rcvbuf_bytes,
                                                congestion, offloads)

namespace {

using nlohmann::json;

constexpr std::size_t max_states = 64;  // tunnels of a bundle

template <class T>
std::optional<T> parse(std::string_view text) {
  const json message = json::parse(text, nullptr, false);
  if (!message.is_object()) return std::nullopt;
  try {
    return message.get<T>();
  } catch (const json::exception&) {
    return std::nullopt;  // a field of another type
  }
}

std::string range_text(int from, int to) {
  return from == to ? std::to_string(to) : std::to_string(from) + " to " + std::to_string(to);
}

std::string printable(std::string text, std::size_t limit) {
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text.substr(0, limit);
}

std::string quoted(const std::string& peers_word) {
  return "'" + printable(peers_word, 64) + "'";
}

}  // namespace

Hello make_hello(const Spec& dialer, int stream, const Offloads& offloads) {
  Hello hello;
  hello.cluster = dialer.cluster;
  hello.node = dialer.node;
  hello.bundle = dialer.bundle;
  hello.tunnel = dialer.id;
  hello.stream = stream;
  hello.streams = dialer.streams;
  hello.digest = dialer.peers.at(0).digest;
  hello.offloads = offloads;
  return hello;
}

Config make_config(const Spec& listener, const Hello& hello, const Offloads& offloads) {
  return {std::min(wire_version, hello.version), listener.sndbuf_bytes, listener.rcvbuf_bytes,
          listener.congestion, offloads};
}

std::string hello_text(const Hello& hello) {
  return json(hello).dump();
}
std::string config_text(const Config& config) {
  return json(config).dump();
}
std::string close_text(const std::string& reason) {
  return json{{"reason", reason}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<std::string> state_text(const StateWord& word) {
  std::string text = to_packet(word);
  return text.size() <= max_text_bytes ? std::optional(std::move(text)) : std::nullopt;
}

std::optional<Hello> parse_hello(std::string_view text) {
  return parse<Hello>(text);
}
std::optional<Config> parse_config(std::string_view text) {
  return parse<Config>(text);
}
std::optional<StateWord> parse_state(std::string_view text) {
  try {
    StateWord word = parse_state_word(text);
    return word.states.size() <= max_states ? std::optional(std::move(word)) : std::nullopt;
  } catch (const BadMessage&) {
    return std::nullopt;
  }
}

std::string parse_close(std::string_view text) {
  const json message = json::parse(text, nullptr, false);
  if (!message.is_object() || !message.contains("reason") || !message["reason"].is_string())
    return "no reason given";
  return printable(message["reason"], 500);
}

std::string refuse_hello(const Spec& listener, const Hello& hello,
                         const std::string& certificate_node) {
  if (hello.version < min_wire_version || hello.min_version > wire_version)
    return "the dialer speaks wire version " + range_text(hello.min_version, hello.version) +
           ", the listener " + range_text(min_wire_version, wire_version) +
           ": upgrade the older end";
  if (hello.node != certificate_node)
    return "the dialer says it is node " + quoted(hello.node) + ", its certificate says " +
           quoted(certificate_node);
  if (hello.cluster != listener.cluster)
    return "the dialer is of cluster " + quoted(hello.cluster) + ", the listener of '" +
           listener.cluster + "'";
  if (hello.bundle != listener.bundle || hello.tunnel != listener.id)
    return "the dialer wants tunnel " + std::to_string(hello.tunnel) + " of bundle " +
           quoted(hello.bundle) + ", and this port is " + listener.tunnel +
           "'s: the ends run different files";
  const auto peer = std::ranges::find(listener.peers, hello.node, &PeerSpec::node);
  if (peer == listener.peers.end())
    return "node " + quoted(hello.node) + " is not in bundle " + listener.bundle +
           " in the listener's file";
  if (hello.streams < 1 || hello.streams > max_streams || hello.stream < 0 ||
      hello.stream >= hello.streams)
    return "the dialer opens stream " + std::to_string(hello.stream) + " of " +
           std::to_string(hello.streams) + ", and a session has 1 to " +
           std::to_string(max_streams);
  if (hello.digest != peer->digest)
    return "the peer runs another cluster file (nodes' prefixes or link_net differ): apply the "
           "same file on both ends";
  return "";
}

}  // namespace tunorch::worker
