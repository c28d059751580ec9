#include "orchestrator/config.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "orchestrator/config_bundles.hpp"
#include "orchestrator/config_keys.hpp"
#include "orchestrator/config_links.hpp"
#include "orchestrator/config_nodes.hpp"
#include "orchestrator/config_section.hpp"
#include "orchestrator/config_values.hpp"
#include "orchestrator/config_yaml.hpp"
#include "routing/fd.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

struct KnownProtocol {
  int number;
  std::string_view owner;
};

// linux/rtnetlink.h, RTPROT_*: with one of these, another daemon would take our routes for its own
// and flush them at its start.
constexpr std::array known_protocols = {
    KnownProtocol{8, "GateD"},       KnownProtocol{9, "router advertisements"},
    KnownProtocol{10, "MRT"},        KnownProtocol{11, "Zebra (FRR)"},
    KnownProtocol{12, "BIRD"},       KnownProtocol{13, "DECnet"},
    KnownProtocol{14, "XORP"},       KnownProtocol{15, "Netsukuku"},
    KnownProtocol{16, "DHCP"},       KnownProtocol{17, "mrouted"},
    KnownProtocol{18, "keepalived"}, KnownProtocol{42, "Babel"},
    KnownProtocol{84, "OVN"},        KnownProtocol{99, "Open/R"},
    KnownProtocol{186, "BGP"},       KnownProtocol{187, "IS-IS"},
    KnownProtocol{188, "OSPF"},      KnownProtocol{189, "RIP"},
    KnownProtocol{192, "EIGRP"},
};

std::uint8_t read_protocol(const Section& file, Report& report) {
  const auto number = static_cast<std::uint8_t>(file.integer("protocol").value());
  for (const KnownProtocol& known : known_protocols)
    if (known.number == number)
      report.add("protocol", fmt::format("protocol {} marks the routes of {}; allowed: a number "
                                         "that no other daemon uses, such as 116",
                                         number, known.owner));
  return number;
}

Prefix read_link_net(const Section& file, Report& report) {
  const Key& key = *find_key("", "link_net");
  const std::string text = file.text("link_net");
  const std::optional<Prefix> net = Prefix::parse(text);
  if (net && !net->v6 && net->length >= key.min && net->length <= key.max && !net->has_host_bits())
    return *net;
  report.add("link_net", fmt::format("link_net {} is not valid; allowed: {}, without host bits",
                                     shown(text), allowed(key)));
  return *Prefix::parse(key.initial);
}

std::optional<std::chrono::seconds> read_seconds(const Section& section, std::string_view name,
                                                 Report& report) {
  const auto given = section.duration(name);
  if (!given) return std::nullopt;
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(*given);
  if (whole != *given)
    report.add(section.pointer_to(name),
               fmt::format("{} {} is not whole seconds, and the kernel counts in seconds", name,
                           duration_text(given->count())));
  return whole;
}

Tuning read_tuning(const Section& section, Report& report) {
  Tuning tuning;
  tuning.profile = section.text("profile");
  for (const Section::Item& item : section.settings("sysctl")) {
    constexpr std::size_t longest = 256;
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\t'; };
    if (item.text.empty() || item.text.size() > longest ||
        std::any_of(item.text.begin(), item.text.end(), control))
      report.add(item.pointer, fmt::format("{} {} is no value; allowed: 1 to {} bytes on one line",
                                           item.name, shown(item.text), longest));
    tuning.sysctl[item.name] = item.text;
  }
  const Section conntrack = section.section("conntrack");
  tuning.conntrack_udp_timeout = read_seconds(conntrack, "udp_timeout", report);
  tuning.conntrack_tcp_time_wait = read_seconds(conntrack, "tcp_time_wait", report);
  return tuning;
}

/// Without a slash at its end, so that its parent_path() is the folder it stands in.
std::string absolute_folder(const fs::path& base_dir, const std::string& text) {
  const fs::path path = (fs::absolute(base_dir) / text).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).string();
}

std::string join_lines(const std::vector<Problem>& problems) {
  std::string lines;
  for (const Problem& problem : problems) lines += (lines.empty() ? "" : "\n") + problem.text();
  return lines;
}

ConfigError unreadable(const fs::path& path, int error) {
  return ConfigError({Problem{
      path.string(), 0, 0,
      fmt::format("cannot read the cluster file: {}", std::generic_category().message(error))}});
}

}  // namespace

std::string Problem::text() const {
  return line == 0 ? fmt::format("{}: {}", file, message)
                   : fmt::format("{}:{}:{}: {}", file, line, column, message);
}

ConfigError::ConfigError(std::vector<Problem> problems)
    : std::runtime_error(join_lines(problems)), problems_(std::move(problems)) {}

std::string read_cluster_file(const fs::path& path) {
  const routing::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) throw unreadable(path, errno);
  std::string text;
  std::array<char, 64 * 1024> chunk;
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw unreadable(path, errno);
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > max_yaml_bytes)  // not by fstat: a pipe has no size
      throw ConfigError({Problem{
          path.string(), 0, 0,
          fmt::format("cannot read the cluster file: larger than {}", size_text(max_yaml_bytes))}});
  }
}

Cluster parse_cluster(const std::string& text, const std::string& name, const fs::path& base_dir) {
  const YamlNode root = read_yaml(text, name);
  if (root.kind != YamlNode::Kind::map)
    throw ConfigError(
        {Problem{name, root.line, root.column,
                 root.kind == YamlNode::Kind::null
                     ? "the file is empty; it needs the keys cluster, nodes and bundles"
                     : "the file is not a map; it needs the keys cluster, nodes and bundles"}});
  Report report(root);
  const Section file(&root, "", "", report);

  Cluster cluster;
  cluster.name = file.text("cluster");
  cluster.protocol = read_protocol(file, report);
  cluster.link_net = read_link_net(file, report);
  read_nodes(file, cluster, report);
  read_bundles(file, cluster, report);
  assign_slots(cluster, report);
  assign_link_hosts(cluster, report);
  cluster.tuning = read_tuning(file.section("tuning"), report);
  for (Bundle& bundle : cluster.bundles)
    for (auto& [name, path] : bundle.command.copies)
      if (!path.starts_with('/')) path = (fs::absolute(base_dir) / path).string();
  cluster.pki_dir = absolute_folder(base_dir, file.section("pki").text("dir"));

  if (!report.empty()) throw ConfigError(report.sorted(name));
  return cluster;
}

Cluster load_cluster(const fs::path& path) {
  return parse_cluster(read_cluster_file(path), path.string(), fs::absolute(path).parent_path());
}

}  // namespace tunorch
