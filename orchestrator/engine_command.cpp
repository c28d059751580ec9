#include "orchestrator/engine_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace tunorch {
namespace {

constexpr const char* known[] = {
    "dev", "dir", "node", "port", "local", "peer", "mtu", "link_local_addr", "link_peer_addr"};

/// Calls `literal` with each piece of text and `name` with each name in braces. False where a brace
/// has no other.
template <class Literal, class Name>
bool walk(const std::string& text, Literal literal, Name name) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool doubled = at + 1 < text.size() && text[at + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      literal(c);
      ++at;
    } else if (c == '{') {
      const auto end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at + 1);
      if (end == text.npos || text[end] != '}') return false;
      name(text.substr(at + 1, end - at - 1));
      at = end;
    } else if (c == '}') {
      return false;
    } else {
      literal(c);
    }
  }
  return true;
}

using Values = std::map<std::string, std::string>;

std::string fill_in(const std::string& text, const Values& values) {
  std::string filled;
  walk(
      text, [&](char c) { filled += c; },
      [&](const std::string& name) {
        if (const auto value = values.find(name); value != values.end()) filled += value->second;
      });
  return filled;
}

Values values_of(const DesiredTunnel& tunnel, const std::filesystem::path& dir) {
  const auto& spec = tunnel.spec;
  const std::string any = tunnel.endpoint.find(':') == std::string::npos ? "0.0.0.0" : "::";
  Values values{{"dev", tunnel.name},
                {"dir", dir.string()},
                {"node", spec.node},
                {"port", std::to_string(spec.port)},
                {"mtu", std::to_string(tunnel.tun.mtu)},
                {"link_local_addr", tunnel.link_address.address_text()}};
  if (tunnel.link_peers.size() == 1)
    values["link_peer_addr"] = tunnel.link_peers.begin()->second.address_text();
  const bool bound = Prefix::parse(spec.bind).has_value();
  values["local"] = spec.listener ? tunnel.endpoint : bound ? spec.bind : any;
  values["peer"] = !spec.listener ? tunnel.endpoint : tunnel.dialer.empty() ? any : tunnel.dialer;
  return values;
}

}  // namespace

std::string template_fault(const std::string& text, bool many_peers) {
  std::string fault;
  const bool whole = walk(
      text, [](char) {},
      [&](const std::string& name) {
        if (std::ranges::find(known, name) == std::end(known))
          fault = fmt::format("unknown {{{}}}; allowed: {{{}}}, and {{{{ and }}}} for braces", name,
                              fmt::join(known, "}, {"));
        else if (many_peers && (name == "peer" || name == "link_peer_addr"))
          fault = fmt::format("{{{}}} means nothing on a listener of many dialers", name);
      });
  if (!whole)
    return "a brace that neither encloses a name, as {dev}, nor is doubled: {{ and }} "
           "stand for braces";
  return fault;
}

std::map<std::string, std::string> command_copies(const DesiredTunnel& tunnel,
                                                  const std::filesystem::path& dir) {
  const Values values = values_of(tunnel, dir);
  std::map<std::string, std::string> paths;
  for (const auto& [name, path] : tunnel.command.copies) paths[name] = fill_in(path, values);
  return paths;
}

Launch command_launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                      const std::map<std::string, std::string>& copies) {
  const CommandOptions& options = tunnel.command;
  const Values values = values_of(tunnel, dir);
  const auto filled = [&](const std::vector<std::string>& words) {
    std::vector<std::string> all;
    for (const std::string& word : words) all.push_back(fill_in(word, values));
    return all;
  };
  Launch launch;
  launch.argv = filled(tunnel.spec.listener ? options.listen : options.dial);
  for (const auto& [name, text] : options.files)
    launch.files.push_back({name, fill_in(text, values)});
  for (const auto& [name, text] : copies) launch.files.push_back({name, text});
  launch.ready = options.ready;
  launch.health = filled(options.health);
  launch.stop_signal = options.stop_signal;
  launch.as_root = options.as_root;
  return launch;
}

}  // namespace tunorch
