// The cluster's certificates: a CA and one EC certificate a node, made and loaded with OpenSSL.
// Does no TLS; keys leave it only as PEM text for a worker's spec.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "orchestrator/cluster.hpp"

namespace tunorch {

struct PkiFiles {  // in pki.dir
  static std::filesystem::path ca_certificate(const std::filesystem::path& dir);  // ca.crt
  static std::filesystem::path ca_key(const std::filesystem::path& dir);          // ca.key
  static std::filesystem::path certificate(const std::filesystem::path& dir,
                                           const std::string& node);  // NODE.crt
  static std::filesystem::path key(const std::filesystem::path& dir,
                                   const std::string& node);  // NODE.key
};

/// Makes what is missing and returns a line for each file made or kept. Keys are mode 0600, each
/// file is written whole or not at all. Throws std::runtime_error: "cannot …: …", e.g. where there
/// is a ca.crt but no ca.key while a node's certificate is missing.
std::vector<std::string> init_pki(const Cluster& cluster);

struct NodeKeys {
  std::string ca_pem, certificate_pem, key_pem;
};

/// Throws std::runtime_error naming the file: missing, readable by others (says chmod 600), key not
/// of this certificate, certificate not of this CA, not for this node, expired.
NodeKeys load_keys(const std::filesystem::path& dir, const std::string& node);

}  // namespace tunorch
