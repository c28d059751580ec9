#include "orchestrator/config/load.hpp"

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

#include "base/fd.hpp"
#include "orchestrator/config/bundles.hpp"
#include "orchestrator/config/keys.hpp"
#include "orchestrator/config/link_slots.hpp"
#include "orchestrator/config/nodes.hpp"
#include "orchestrator/config/problem.hpp"
#include "orchestrator/config/protocols.hpp"
#include "orchestrator/config/section.hpp"
#include "orchestrator/config/values.hpp"
#include "orchestrator/config/yaml.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

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

ConfigError unreadable(const fs::path& path, int error) {
  return ConfigError({Problem{
      path.string(), 0, 0,
      fmt::format("cannot read the cluster file: {}", std::generic_category().message(error))}});
}

}  // namespace

std::string read_cluster_file(const fs::path& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
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
    for (auto& [name, path] : bundle.engines.command.copies)
      if (!path.starts_with('/')) path = (fs::absolute(base_dir) / path).string();
  cluster.pki_dir = absolute_folder(base_dir, file.section("pki").text("dir"));

  if (!report.empty()) throw ConfigError(report.sorted(name));
  return cluster;
}

Cluster load_cluster(const fs::path& path) {
  return parse_cluster(read_cluster_file(path), path.string(), fs::absolute(path).parent_path());
}

}  // namespace tunorch
