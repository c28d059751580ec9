#include "orchestrator/daemon/explain.hpp"

#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "orchestrator/plan/multipath.hpp"

namespace tunorch {
namespace {

using routing::FlowKey;

Prefix address_of(const std::string& text, const char* what) {
  const auto prefix = Prefix::parse(text);
  if (!prefix || prefix->length != (prefix->v6 ? 128 : 32))
    throw std::runtime_error(fmt::format("{} '{}' is not an IP address", what, text));
  return *prefix;
}

std::uint8_t protocol_of(const std::string& name) {
  if (name.empty()) return 0;
  if (const protoent* entry = ::getprotobyname(name.c_str()))
    return static_cast<std::uint8_t>(entry->p_proto);
  if (name == "tcp") return 6;
  if (name == "udp") return 17;
  if (name == "icmp") return 1;
  throw std::runtime_error("protocol '" + name + "' is not known: tcp, udp, icmp, …");
}

std::string protocol_name(std::uint8_t number) {
  return number == 6 ? "tcp" : number == 17 ? "udp" : number == 1 ? "icmp" : std::to_string(number);
}

std::string flow_text(const Flow& flow) {
  std::string text = flow.source + " -> " + flow.destination;
  if (!flow.protocol.empty())
    text += fmt::format(" {} {} -> {}", flow.protocol, flow.source_port, flow.destination_port);
  return text;
}

/// A peer's words go to a terminal.
std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c != '\n' && (c < ' ' || c > '~'); }, '?');
  return text;
}

std::string way_text(const Way& way) {
  std::string text = "  flow    " + flow_text(way.flow) + "\n";
  if (way.error) text += "  result  " + *way.error + "\n";
  if (way.route) text += "  route   " + *way.route + "\n";
  if (way.mechanism) text += "  group   " + *way.mechanism + "\n";
  return text + "  device  " + (way.dev.empty() ? "-" : way.dev) +
         (way.tunnel.empty() ? ", which is no tunnel" : "") + "\n";
}

}  // namespace

FlowKey flow_of(const Flow& given) {
  FlowKey flow;
  flow.source = address_of(given.source, "source");
  flow.destination = address_of(given.destination, "destination");
  if (flow.source.v6 != flow.destination.v6)
    throw std::runtime_error("source and destination are of different families");
  flow.protocol = protocol_of(given.protocol);
  flow.source_port = given.source_port;
  flow.destination_port = given.destination_port;
  return flow;
}

FlowKey reversed(const FlowKey& flow) {
  FlowKey back = flow;
  std::swap(back.source, back.destination);
  std::swap(back.source_port, back.destination_port);
  return back;
}

Flow flow_of(const FlowKey& flow) {
  Flow text{flow.source.address_text(), flow.destination.address_text()};
  if (flow.protocol == 0) return text;
  text.protocol = protocol_name(flow.protocol);
  text.source_port = flow.source_port;
  text.destination_port = flow.destination_port;
  return text;
}

Way explain(const FlowKey& flow, const Desired& desired, const Observed& observed, Kernel& kernel) {
  FlowKey key = flow;
  // With a source that is not on this host the packet only passes through: it comes in by where
  // its source is.
  const auto here = [&](const routing::Address& address) {
    return address.prefix.address_text() == flow.source.address_text();
  };
  if (std::ranges::none_of(observed.addresses, here) &&
      std::ranges::none_of(observed.foreign_addresses, here))
    key.in_dev = kernel.netlink().decide(reversed(flow)).dev;
  const routing::Decision decision = kernel.netlink().decide(key);
  Way way;
  way.flow = flow_of(flow);
  way.dev = decision.dev;
  if (decision.error != 0) way.error = std::strerror(decision.error);
  if (decision.route) way.route = decision.route->text();
  if (!desired.find_tunnel(decision.dev)) return way;
  way.tunnel = decision.dev;
  if (!decision.route) return way;
  for (const DesiredRoute& route : desired.routes) {
    if (route.dst != decision.route->dst || route.table != decision.route->table) continue;
    const DesiredGroup& group = *desired.find_group(route.peer);
    way.peer = route.peer;
    way.mechanism = mechanism_text(group, observed.abilities);
  }
  return way;
}

std::string explanation_text(const Explanation& explanation) {
  const auto& [ours, peers] = explanation;
  std::string text = "from here:\n" + way_text(ours);
  if (ours.tunnel.empty()) return text;
  if (!peers) return text + "the peer did not tell how it answers\n";
  text += "the way back, as " + (ours.peer.empty() ? "the peer" : ours.peer) + " says:\n" +
          printable(way_text(*peers));
  return text + (peers->tunnel == ours.tunnel ? "both directions take " + ours.tunnel + "\n"
                                              : "the directions take different tunnels, which is "
                                                "as good: each end hashes by itself\n");
}

}  // namespace tunorch
