#include "orchestrator/daemon/explain.hpp"

#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "orchestrator/plan/carriage.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
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

std::string flow_text(const json& flow) {
  std::string text =
      fmt::format("{} -> {}", flow.value("source", ""), flow.value("destination", ""));
  if (const std::string protocol = flow.value("protocol", ""); !protocol.empty())
    text += fmt::format(" {} {} -> {}", protocol, flow.value("source_port", 0),
                        flow.value("destination_port", 0));
  return text;
}

/// A peer's words go to a terminal.
std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c != '\n' && (c < ' ' || c > '~'); }, '?');
  return text;
}

void add_way(std::string& text, const json& way) {
  text += "  flow    " + flow_text(way.at("flow")) + "\n";
  if (const std::string error = way.value("error", ""); !error.empty())
    text += "  result  " + error + "\n";
  if (const std::string route = way.value("route", ""); !route.empty())
    text += "  route   " + route + "\n";
  if (const std::string mechanism = way.value("mechanism", ""); !mechanism.empty())
    text += "  group   " + mechanism + "\n";
  const std::string tunnel = way.value("tunnel", "");
  text +=
      "  device  " + way.value("dev", "-") + (tunnel.empty() ? ", which is no tunnel" : "") + "\n";
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

json to_json(const FlowKey& flow) {
  json text{{"source", flow.source.address_text()},
            {"destination", flow.destination.address_text()}};
  if (flow.protocol == 0) return text;
  text["protocol"] = protocol_name(flow.protocol);
  text["source_port"] = flow.source_port;
  text["destination_port"] = flow.destination_port;
  return text;
}

json explain(const FlowKey& flow, const Desired& desired, const Observed& observed,
             Kernel& kernel) {
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
  json way{{"flow", to_json(flow)}, {"dev", decision.dev}, {"tunnel", ""}, {"peer", ""}};
  if (decision.error != 0) way["error"] = std::strerror(decision.error);
  if (decision.route) way["route"] = decision.route->text();
  if (!desired.find_tunnel(decision.dev)) return way;
  way["tunnel"] = decision.dev;
  if (!decision.route) return way;
  for (const DesiredRoute& route : desired.routes) {
    if (route.dst != decision.route->dst || route.table != decision.route->table) continue;
    const DesiredGroup& group = *desired.find_group(route.peer);
    way["peer"] = route.peer;
    way["mechanism"] = mechanism_text(group, observed.abilities);
  }
  return way;
}

std::string explanation(const json& ours, const json& peers) {
  std::string text = "from here:\n";
  add_way(text, ours);
  const std::string tunnel = ours.value("tunnel", "");
  if (tunnel.empty()) return text;
  if (peers.is_null()) return text + "the peer did not tell how it answers\n";
  text += "the way back, as " + ours.value("peer", "the peer") + " says:\n";
  try {
    std::string theirs;
    add_way(theirs, peers);
    text += printable(std::move(theirs));
  } catch (const json::exception&) {
    return text + "  nothing that can be read: its tunorch is of another version\n";
  }
  text +=
      peers.value("tunnel", "") == tunnel
          ? "both directions take " + tunnel + "\n"
          : "the directions take different tunnels, which is as good: each end hashes by itself\n";
  return text;
}

}  // namespace tunorch
