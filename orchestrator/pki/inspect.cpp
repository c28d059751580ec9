#include "orchestrator/pki/inspect.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <ctime>
#include <memory>
#include <stdexcept>

#include "base/owned.hpp"

namespace tunorch {
namespace {

using Bio = Owned<BIO, BIO_free_all>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Certificate = Owned<X509, X509_free>;

Bio reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Without this OpenSSL asks the terminal for the passphrase of an encrypted key.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

std::string fingerprint(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  if (size > 0)
    EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), &length, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  std::string text;
  for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

PemFacts facts_of(EVP_PKEY* key) {
  const char* name = EVP_PKEY_get0_type_name(key);
  return {name ? name : "unknown", EVP_PKEY_get_bits(key), fingerprint(key)};
}

std::int64_t seconds(const ASN1_TIME* time) {
  std::tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<std::int64_t>(::timegm(&parts)) : 0;
}

}  // namespace

PemFacts inspect_certificate(const std::string& pem) {
  const Certificate certificate(
      PEM_read_bio_X509(reader(pem).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  EVP_PKEY* key = certificate ? X509_get0_pubkey(certificate.get()) : nullptr;
  if (!key) throw std::runtime_error("it is not a certificate in PEM");
  PemFacts facts = facts_of(key);
  facts.not_before = seconds(X509_get0_notBefore(certificate.get()));
  facts.not_after = seconds(X509_get0_notAfter(certificate.get()));
  return facts;
}

PemFacts inspect_key(const std::string& pem) {
  const Key key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!key) throw std::runtime_error("it is not a private key in PEM without a passphrase");
  return facts_of(key.get());
}

}  // namespace tunorch
