#include "orchestrator/daemon/load.hpp"

#include <stdexcept>

#include "orchestrator/config/load.hpp"
#include "orchestrator/engines/registry.hpp"
#include "orchestrator/pki/pki.hpp"
#include "orchestrator/pki/wireguard.hpp"
#include "orchestrator/plan/digest.hpp"
#include "orchestrator/tunnels/database_files.hpp"

namespace tunorch {
namespace {

std::map<std::string, std::string> read_all(const std::map<std::string, std::string>& paths) {
  std::map<std::string, std::string> texts;
  std::string missing;
  for (const auto& [name, path] : paths) {
    const auto text = read_text(path);
    if (!text) missing += (missing.empty() ? "" : ", ") + path;
    texts[name] = text.value_or("");
  }
  if (!missing.empty())
    throw std::runtime_error("cannot read what the cluster file names: " + missing);
  return texts;
}

void add_keys(const Cluster& cluster, const NodeKeys& keys, const Paths& paths,
              DesiredTunnel& tunnel) {
  if (tunnel.engine == Engine::native) {
    if (tunnel.spec.transport == "postgres")
      tunnel.spec.secrets = read_database_files(tunnel.spec.postgres);
    tunnel.spec = with_keys(tunnel.spec, keys);
    return;
  }
  const Materials materials{keys,
                            [&](const std::vector<std::string>& peers) {
                              return load_wireguard_keys(cluster.pki_dir, paths.node, peers);
                            },
                            read_all};
  tunnel.launch =
      foreign_engine(tunnel.engine).launch(tunnel, paths.tunnel_dir(tunnel.name), materials);
  tunnel.spec.digest = digest_of(tunnel.launch);
}

}  // namespace

Desired load_without_keys(const FileText& file, const Paths& paths) {
  return desired_for(parse_cluster(file.text, file.name, file.base_dir), paths.node);
}

Desired load_with_keys(const FileText& file, const Paths& paths) {
  const Cluster cluster = parse_cluster(file.text, file.name, file.base_dir);
  Desired desired = desired_for(cluster, paths.node);
  const NodeKeys keys = load_keys(cluster.pki_dir, paths.node);
  desired.certificate_ends = keys.ends;
  for (DesiredTunnel& tunnel : desired.tunnels) add_keys(cluster, keys, paths, tunnel);
  return desired;
}

}  // namespace tunorch
