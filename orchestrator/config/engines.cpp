#include "orchestrator/config/engines.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "orchestrator/config/template.hpp"
#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

/// TCP cuts a tunnel's bytes as the path wants them.
constexpr unsigned stream_mtu = 1500;
/// What fits a path of 1500 with IPv6, UDP and WireGuard's 32 bytes around it (1500 - 40 - 8 - 32);
/// OpenVPN's header is shorter.
constexpr unsigned datagram_mtu = 1420;

constexpr std::pair<const char*, Engine> engines[] = {{"native", Engine::native},
                                                      {"openvpn", Engine::openvpn},
                                                      {"wireguard", Engine::wireguard},
                                                      {"command", Engine::command}};

std::vector<std::string> words(const Section& section, const char* name) {
  std::vector<std::string> all;
  for (const Section::Item& item : section.list(name)) all.push_back(item.text);
  return all;
}

OpenVpnOptions read_openvpn(const Section& section) {
  return {.binary = section.text("binary"),
          .tcp = section.text("proto") == "tcp",
          .ciphers = section.text("ciphers"),
          .extra_args = words(section, "extra_args")};
}

WireGuardOptions read_wireguard(const Section& section) {
  return {.binary = section.text("binary"),
          .keepalive = std::chrono::floor<std::chrono::seconds>(*section.duration("keepalive"))};
}

CommandOptions read_command(const Section& section) {
  CommandOptions command;
  command.listen = words(section, "listen");
  command.dial = words(section, "dial");
  for (const Section::Item& file : section.settings("files")) command.files[file.name] = file.text;
  for (const Section::Item& copy : section.settings("copy")) command.copies[copy.name] = copy.text;
  command.ready = section.text("ready");
  command.stop_signal = section.text("stop");
  command.health = words(section, "health");
  command.as_root = section.text("user") == "root";
  return command;
}

/// Whether a URL has a password in it: "user:secret@", or as a parameter.
bool has_password(const std::string& url) {
  if (url.empty()) return false;
  const auto authority = url.find("://") + 3;
  const auto at = url.find('@', authority);
  const bool before_at = at != url.npos && url.find(':', authority) < at;
  return before_at || url.find("password=") != url.npos;
}

PostgresOptions read_postgres(const Section& section, Report& report) {
  const Section down = section.section("down");
  PostgresOptions postgres;
  postgres.up = {section.text("url"), section.text("schema")};
  const Database other{down.text("url"), down.text("schema")};
  postgres.down.url = other.url.empty() ? postgres.up.url : other.url;
  postgres.down.schema = other.schema.empty() ? postgres.up.schema : other.schema;
  postgres.keep = std::chrono::floor<std::chrono::seconds>(*section.duration("keep"));
  postgres.sync = section.text("sync") == "on";
  constexpr const char* words =
      "a password does not belong here: write it into ~/.pgpass of root, mode 0600";
  if (has_password(postgres.up.url)) report.add(section.pointer_to("url"), words);
  if (has_password(other.url)) report.add(down.pointer_to("url"), words);
  return postgres;
}

bool serves(const Bundle& bundle, Engine engine) {
  return std::ranges::find(bundle.tunnels, engine, &Tunnel::engine) != bundle.tunnels.end();
}

unsigned default_mtu(const Bundle& bundle, Engine engine) {
  const bool stream =
      engine == Engine::native || (engine == Engine::openvpn && bundle.engines.openvpn.tcp);
  return stream ? stream_mtu : datagram_mtu;
}

void check_words(const std::string& place, const std::vector<std::string>& texts,
                 const Bundle& bundle, bool listener, Report& report) {
  for (const std::string& text : texts)
    if (const std::string fault = template_fault(text, listener && bundle.dial.size() > 1);
        !fault.empty())
      report.add(place, fault);
}

void check_command(const Section& section, const Bundle& bundle, Report& report) {
  if (!serves(bundle, Engine::command)) return;
  for (const char* role : {"listen", "dial"})
    if (!section.has(role))
      report.add(section.pointer(),
                 fmt::format("a tunnel of bundle '{}' has the engine command, and the key '{}' is "
                             "missing: the command line that serves it",
                             bundle.name, role));
  const CommandOptions& command = bundle.engines.command;
  check_words(section.pointer_to("listen"), command.listen, bundle, true, report);
  check_words(section.pointer_to("dial"), command.dial, bundle, false, report);
  check_words(section.pointer_to("health"), command.health, bundle, true, report);
  for (const auto& [name, text] : command.files)
    check_words(section.pointer_to("files"), {text}, bundle, true, report);
  for (const auto& [name, path] : command.copies)
    check_words(section.pointer_to("copy"), {path}, bundle, true, report);
}

void check_transports(const Section& section, const Bundle& bundle, Report& report) {
  const bool by_database = std::ranges::any_of(bundle.tunnels, [](const Tunnel& tunnel) {
    return tunnel.engine == Engine::native && tunnel.transport == "postgres";
  });
  if (by_database && !section.section("postgres").has("url"))
    report.add(section.pointer(),
               fmt::format("a tunnel of bundle '{}' has the transport postgres, and the key "
                           "'postgres/url' is missing: the database, as in "
                           "postgresql://user@host:5432/db",
                           bundle.name));
  // Options of an engine that serves nothing are only unused; this one says where packets go.
  if (section.text("transport") == "postgres" && !serves(bundle, Engine::native))
    report.add(section.pointer_to("transport"),
               "the transport postgres is the native engine's, and no tunnel of this bundle has "
               "it; remove one of the two");
}

}  // namespace

const char* to_string(Engine engine) {
  for (const auto& [word, value] : engines)
    if (engine == value) return word;
  return "?";
}

Engine engine_of(const std::string& name) {
  for (const auto& [word, value] : engines)
    if (name == word) return value;
  return Engine::native;
}

Protocols protocols_of(Engine engine, const EngineOptions& options) {
  switch (engine) {
    case Engine::native:
      return {.tcp = true};
    case Engine::openvpn:
      return options.openvpn.tcp ? Protocols{.tcp = true} : Protocols{.udp = true};
    case Engine::wireguard:
      return {.udp = true};
    case Engine::command:
      break;  // what such a program listens with is its own matter
  }
  return {true, true};
}

std::string program_of(Engine engine, const EngineOptions& options, bool listener) {
  const auto& words = listener ? options.command.listen : options.command.dial;
  switch (engine) {
    case Engine::native:
      return "";
    case Engine::openvpn:
      return options.openvpn.binary;
    case Engine::wireguard:
      return options.wireguard.binary;
    case Engine::command:
      break;
  }
  return words.empty() ? "" : words.front();
}

void read_engines(const Section& section, Bundle& bundle, Report& report) {
  bundle.engines.openvpn = read_openvpn(section.section("openvpn"));
  bundle.engines.wireguard = read_wireguard(section.section("wireguard"));
  bundle.engines.command = read_command(section.section("command"));
  check_command(section.section("command"), bundle, report);
  bundle.postgres = read_postgres(section.section("postgres"), report);
  check_transports(section, bundle, report);
  for (std::size_t i = 0; i < bundle.tunnels.size(); ++i)
    if (bundle.tunnels[i].engine == Engine::wireguard && !bundle.tunnels[i].bind.empty())
      report.add(fmt::format("{}/{}/bind", section.pointer_to("tunnels"), i),
                 "the wireguard engine cannot dial from a chosen address or device; remove bind");
  const auto given = static_cast<unsigned>(section.section("link").integer("mtu").value_or(0));
  for (Tunnel& tunnel : bundle.tunnels) {
    if (tunnel.mtu == 0) tunnel.mtu = given;
    if (tunnel.mtu == 0) tunnel.mtu = default_mtu(bundle, tunnel.engine);
  }
}

}  // namespace tunorch
