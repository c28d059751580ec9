// A node's certificate, key and CA as text, with their dates. Loaded by pki.hpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>

namespace tunorch {

using PkiTime = std::chrono::system_clock::time_point;

struct CertificateEnds {
  PkiTime node, ca;
  PkiTime first() const { return std::min(node, ca); }
};

struct NodeKeys {
  std::string ca_pem, certificate_pem, key_pem;
  std::string crl_pem = "";  // empty: nothing was revoked
  CertificateEnds ends = {};
};

}  // namespace tunorch
