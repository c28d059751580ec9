// The cluster's certificates: a CA and one EC certificate a node, made and loaded with OpenSSL.
// Does no TLS; keys leave it only as PEM text for a worker's spec.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/pki/node_keys.hpp"

namespace tunorch {

struct PkiFiles {                                                                 // in pki.dir
  static std::filesystem::path ca_certificate(const std::filesystem::path& dir);  // ca.crt
  static std::filesystem::path ca_key(const std::filesystem::path& dir);          // ca.key
  static std::filesystem::path certificate(const std::filesystem::path& dir,
                                           const std::string& node);  // NODE.crt
  static std::filesystem::path key(const std::filesystem::path& dir,
                                   const std::string& node);           // NODE.key
  static std::filesystem::path crl(const std::filesystem::path& dir);  // ca.crl, where there is one
};

/// EC P-256 throughout. The CA lives ten years: to renew it is to visit every node. A node's
/// certificate lives two, and starts an hour back for hosts whose clocks are not yet set.
inline constexpr std::chrono::days ca_life{3650};
inline constexpr std::chrono::days node_life{730};
inline constexpr std::chrono::hours backdated{1};
/// Before the end, that long there are warnings.
inline constexpr std::chrono::days expiry_warning{30};

/// Makes what is missing, WireGuard's keys where they are needed too, and returns a line for each
/// file, "made PATH" or "kept PATH". Keys are mode 0600, each file is written whole or not at all.
/// Throws std::runtime_error "cannot …: …", where only one of ca.crt and ca.key is there, or where
/// a file to be kept would not pass load_keys.
std::vector<std::string> init_pki(const Cluster& cluster,
                                  PkiTime now = std::chrono::system_clock::now());

/// Makes certificates and keys of these nodes anew, with the CA that is there; where none is named,
/// of all nodes that have a certificate: one that was revoked does not come back by the way.
/// WireGuard's keys stay. Returns and throws as init_pki(), which also completes what was cut
/// short.
std::vector<std::string> renew_pki(const Cluster& cluster, const std::vector<std::string>& nodes,
                                   PkiTime now = std::chrono::system_clock::now());

/// Revokes nodes' certificates for good: puts them on the CA's list, ca.crl, and removes the nodes'
/// certificates and keys, WireGuard's too. Where a node is to come back, init_pki() makes new ones.
/// Returns a line for each file, "revoked PATH", "made PATH" or "changed PATH" of the list,
/// "removed PATH". Throws as init_pki(), and where one of them is not this CA's or not there; then
/// nothing was changed.
std::vector<std::string> revoke_pki(const Cluster& cluster, const std::vector<std::string>& nodes,
                                    PkiTime now = std::chrono::system_clock::now());

/// The same of one certificate, and nothing is removed: an old one of a node that has a new one.
std::vector<std::string> revoke_certificate(const Cluster& cluster,
                                            const std::filesystem::path& path,
                                            PkiTime now = std::chrono::system_clock::now());

/// Throws std::runtime_error naming the file and the remedy: missing, readable by others (says
/// chmod 600), key not of this certificate, certificate not of this CA, not for this node, expired,
/// not yet valid, revoked.
NodeKeys load_keys(const std::filesystem::path& dir, const std::string& node,
                   PkiTime now = std::chrono::system_clock::now());

/// Of a certificate that is near its end or past it, and what to do; empty: more than thirty days.
std::string expiry_words(const std::string& node, const CertificateEnds& ends, PkiTime now);

}  // namespace tunorch
