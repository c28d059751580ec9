// What a key or certificate is, without a judgement of it: for `tunorch doctor`. Keeps no key.
#pragma once

#include <cstdint>
#include <string>

namespace tunorch {

struct PemFacts {
  std::string algorithm;                       // as OpenSSL calls it: "EC", "RSA", "ED25519"
  int bits = 0;                                // of the field or the modulus
  std::string fingerprint;                     // SHA-256 of the public key, in hex
  std::int64_t not_before = 0, not_after = 0;  // of a certificate; seconds since 1970
};

/// Both throw std::runtime_error for what is not PEM of that kind, or needs a passphrase.
PemFacts inspect_certificate(const std::string& pem);
PemFacts inspect_key(const std::string& pem);

}  // namespace tunorch
