#include "orchestrator/pki/pki.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "orchestrator/pki/files.hpp"
#include "orchestrator/pki/wireguard.hpp"
#include "orchestrator/pki/x509.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

Authority load_authority(const fs::path& dir, PkiTime now) {
  const fs::path certificate_path = PkiFiles::ca_certificate(dir), key_path = PkiFiles::ca_key(dir);
  if (!fs::exists(key_path))
    pki_fail("sign with", key_path, "it is not here; run this where `tunorch pki init` was run");
  Authority ca{parse_certificate(read_pki_file(certificate_path, Secret::no), certificate_path),
               parse_key(read_pki_file(key_path, Secret::yes), key_path)};
  check_pair(ca.certificate.get(), certificate_path, ca.key.get(), key_path);
  verify(ca.certificate.get(), certificate_path, ca.certificate.get(), certificate_path, now);
  return ca;
}

void make_authority(const Cluster& cluster, const fs::path& certificate_path,
                    const fs::path& key_path, PkiTime now) {
  const Key key = make_key();
  const Certificate certificate = make_ca_certificate(cluster.name, key.get(), now);
  write_pki_file(key_path, to_pem(key.get()), 0600);
  write_pki_file(certificate_path, to_pem(certificate.get()), 0644);
}

Authority ensure_authority(const Cluster& cluster, PkiTime now, std::vector<std::string>& lines) {
  const fs::path certificate_path = PkiFiles::ca_certificate(cluster.pki_dir);
  const fs::path key_path = PkiFiles::ca_key(cluster.pki_dir);
  const bool has_certificate = fs::exists(certificate_path);
  const bool has_key = fs::exists(key_path);
  if (has_certificate && !has_key)
    pki_fail("sign with", certificate_path,
             "ca.key is missing; run `tunorch pki init` where the CA's key is kept");
  if (has_key && !has_certificate)
    pki_fail("sign with", key_path,
             "ca.crt is missing; copy it here, or remove ca.key to begin with a new CA");
  if (!has_key) make_authority(cluster, certificate_path, key_path, now);
  for (const fs::path& path : {certificate_path, key_path})
    lines.push_back(fmt::format("{} {}", has_key ? "kept" : "made", path.string()));
  return load_authority(cluster.pki_dir, now);
}

void ensure_node(const fs::path& dir, const std::string& node, const Authority& ca, PkiTime now,
                 std::vector<std::string>& lines) {
  const fs::path certificate_path = PkiFiles::certificate(dir, node);
  const fs::path key_path = PkiFiles::key(dir, node);
  const bool has_certificate = fs::exists(certificate_path);
  const bool has_key = fs::exists(key_path);
  if (has_certificate && !has_key)
    pki_fail("use", certificate_path,
             fmt::format("{} is missing; copy it here, or remove the certificate to make both anew",
                         key_path.string()));
  if (!has_key) write_pki_file(key_path, to_pem(make_key().get()), 0600);
  if (!has_certificate) {
    const Key key = parse_key(read_pki_file(key_path, Secret::yes), key_path);
    const Certificate certificate = make_node_certificate(node, key.get(), ca, now);
    write_pki_file(certificate_path, to_pem(certificate.get()), 0644);
  }
  load_keys(dir, node, now);
  lines.push_back(
      fmt::format("{} {}", has_certificate ? "kept" : "made", certificate_path.string()));
  lines.push_back(fmt::format("{} {}", has_key ? "kept" : "made", key_path.string()));
}

[[noreturn]] void fail_unknown(const char* verb, const std::string& node, const Cluster& cluster) {
  std::string names;
  for (const Node& one : cluster.nodes) names += (names.empty() ? "" : ", ") + one.name;
  throw std::runtime_error(fmt::format("cannot {} {}: cluster '{}' has no such node; it has {}",
                                       verb, node, cluster.name, names));
}

struct RevokedFile {
  fs::path path;
  Certificate certificate;
};

/// One of this CA's, whatever its dates are.
Certificate certificate_to_revoke(const fs::path& path, const Authority& ca) {
  if (!fs::exists(path))
    pki_fail("revoke", path,
             "it is not there; give a copy of the certificate with --certificate FILE");
  Certificate certificate = parse_certificate(read_pki_file(path, Secret::no), path);
  if (!is_of_a_node(certificate.get(), ca.certificate.get()))
    pki_fail("revoke", path, "it is no node's certificate of this cluster's CA");
  return certificate;
}

std::vector<std::string> revoke(const fs::path& dir, const std::vector<RevokedFile>& files,
                                const Authority& ca, PkiTime now) {
  const fs::path path = PkiFiles::crl(dir);
  const bool has_list = fs::exists(path);
  const RevokedList list =
      has_list ? parse_crl(read_pki_file(path, Secret::no), path, ca.certificate.get())
               : make_crl();
  std::vector<std::string> lines;
  for (const RevokedFile& file : files) {
    add_revoked(list.get(), file.certificate.get(), ca, now);
    lines.push_back(fmt::format("revoked {}", file.path.string()));
  }
  write_pki_file(path, to_pem(list.get()), 0644);
  lines.push_back(fmt::format("{} {}", has_list ? "changed" : "made", path.string()));
  return lines;
}

}  // namespace

fs::path PkiFiles::ca_certificate(const fs::path& dir) {
  return dir / "ca.crt";
}
fs::path PkiFiles::ca_key(const fs::path& dir) {
  return dir / "ca.key";
}
fs::path PkiFiles::certificate(const fs::path& dir, const std::string& node) {
  return dir / (node + ".crt");
}
fs::path PkiFiles::key(const fs::path& dir, const std::string& node) {
  return dir / (node + ".key");
}

fs::path PkiFiles::crl(const fs::path& dir) {
  return dir / "ca.crl";
}

std::vector<std::string> init_pki(const Cluster& cluster, PkiTime now) {
  std::vector<std::string> lines;
  make_pki_folder(cluster.pki_dir);
  const Authority ca = ensure_authority(cluster, now, lines);
  for (const Node& node : cluster.nodes) ensure_node(cluster.pki_dir, node.name, ca, now, lines);
  std::ranges::move(init_wireguard_keys(cluster), std::back_inserter(lines));
  return lines;
}

std::vector<std::string> renew_pki(const Cluster& cluster, const std::vector<std::string>& nodes,
                                   PkiTime now) {
  const fs::path& dir = cluster.pki_dir;
  const Authority ca = load_authority(dir, now);
  const auto has_one = [&](const std::string& node) {
    return fs::exists(PkiFiles::certificate(dir, node));
  };
  for (const std::string& node : nodes) {
    if (!cluster.find_node(node)) fail_unknown("renew", node, cluster);
    if (!has_one(node))
      pki_fail("renew", PkiFiles::certificate(dir, node),
               "it is not there; `tunorch pki init` makes it");
  }
  std::vector<std::string> lines;
  for (const Node& node : cluster.nodes) {
    if (!nodes.empty() && std::ranges::find(nodes, node.name) == nodes.end()) continue;
    if (!has_one(node.name)) {
      lines.push_back(fmt::format("left {}: it is not there; `tunorch pki init` makes it",
                                  PkiFiles::certificate(dir, node.name).string()));
      continue;
    }
    // The certificate first: a key without one is completed by init_pki().
    fs::remove(PkiFiles::certificate(dir, node.name));
    fs::remove(PkiFiles::key(dir, node.name));
    ensure_node(dir, node.name, ca, now, lines);
  }
  return lines;
}

std::vector<std::string> revoke_pki(const Cluster& cluster, const std::vector<std::string>& nodes,
                                    PkiTime now) {
  const fs::path& dir = cluster.pki_dir;
  const Authority ca = load_authority(dir, now);
  std::vector<RevokedFile> files;
  for (const std::string& node : nodes) {
    const fs::path path = PkiFiles::certificate(dir, node);
    if (!fs::exists(path) && !cluster.find_node(node)) fail_unknown("revoke", node, cluster);
    files.push_back({path, certificate_to_revoke(path, ca)});
    check_name_and_use(files.back().certificate.get(), path, node);
  }
  auto lines = revoke(dir, files, ca, now);
  // The list first: what is not on it yet must not be lost.
  for (const std::string& node : nodes)
    for (const fs::path& path : {PkiFiles::certificate(dir, node), PkiFiles::key(dir, node),
                                 dir / (node + ".wg.key"), dir / (node + ".wg.pub")})
      if (fs::remove(path)) lines.push_back(fmt::format("removed {}", path.string()));
  return lines;
}

std::vector<std::string> revoke_certificate(const Cluster& cluster, const fs::path& path,
                                            PkiTime now) {
  const Authority ca = load_authority(cluster.pki_dir, now);
  std::vector<RevokedFile> files;
  files.push_back({path, certificate_to_revoke(path, ca)});
  return revoke(cluster.pki_dir, files, ca, now);
}

NodeKeys load_keys(const fs::path& dir, const std::string& node, PkiTime now) {
  const fs::path ca_path = PkiFiles::ca_certificate(dir);
  const fs::path certificate_path = PkiFiles::certificate(dir, node);
  const fs::path key_path = PkiFiles::key(dir, node);
  NodeKeys keys{read_pki_file(ca_path, Secret::no), read_pki_file(certificate_path, Secret::no),
                read_pki_file(key_path, Secret::yes)};
  const Certificate ca = parse_certificate(keys.ca_pem, ca_path);
  RevokedList list;
  if (const fs::path path = PkiFiles::crl(dir); fs::exists(path)) {
    keys.crl_pem = read_pki_file(path, Secret::no);
    list = parse_crl(keys.crl_pem, path, ca.get());
  }
  const Certificate certificate = parse_certificate(keys.certificate_pem, certificate_path);
  const Key key = parse_key(keys.key_pem, key_path);
  check_pair(certificate.get(), certificate_path, key.get(), key_path);
  verify(certificate.get(), certificate_path, ca.get(), ca_path, now);
  check_name_and_use(certificate.get(), certificate_path, node);
  if (list && is_revoked(list.get(), certificate.get()))
    pki_fail("use", certificate_path,
             "it was revoked; where this node is to come back, run `tunorch pki init` where the "
             "CA's key is kept");
  keys.ends = {end_of(certificate.get()), end_of(ca.get())};
  return keys;
}

std::string expiry_words(const std::string& node, const CertificateEnds& ends, PkiTime now) {
  const PkiTime end = ends.first();
  if (end - now > expiry_warning) return "";
  const auto days = std::chrono::floor<std::chrono::days>(end - now).count();
  const std::string when = end <= now
                               ? "has expired: peers refuse new connections"
                               : fmt::format("expires in {} {}", days, days == 1 ? "day" : "days");
  if (ends.ca <= ends.node)
    return fmt::format("the cluster's CA {}; a new one means new files on every node (SECURITY.md)",
                       when);
  return fmt::format(
      "the certificate of {} {}; run `tunorch pki renew` where the CA's key is kept, copy the new "
      "files here and apply",
      node, when);
}

}  // namespace tunorch
