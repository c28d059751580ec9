// Certificates, keys and lists of revoked certificates as OpenSSL has them: read, made, checked and
// written as PEM. Knows no folder: paths are for its errors, std::runtime_error as pki_fail() words
// them.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <filesystem>
#include <string>

#include "base/owned.hpp"
#include "orchestrator/pki/pki.hpp"

namespace tunorch {

using Certificate = Owned<X509, X509_free>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using RevokedList = Owned<X509_CRL, X509_CRL_free>;

struct Authority {
  Certificate certificate;
  Key key;
};

Certificate parse_certificate(const std::string& pem, const std::filesystem::path& path);
Key parse_key(const std::string& pem, const std::filesystem::path& path);
/// Refuses one that is not the CA's.
RevokedList parse_crl(const std::string& pem, const std::filesystem::path& path, X509* ca);

std::string to_pem(X509* certificate);
std::string to_pem(X509_CRL* list);
std::string to_pem(EVP_PKEY* key);

Key make_key();
Certificate make_ca_certificate(const std::string& cluster, EVP_PKEY* key, PkiTime now);
Certificate make_node_certificate(const std::string& node, EVP_PKEY* key, const Authority& ca,
                                  PkiTime now);

/// The judgement of the worker's TLS handshake, made here to say it in words before a worker
/// starts.
void verify(X509* certificate, const std::filesystem::path& path, X509* ca,
            const std::filesystem::path& ca_path, PkiTime now);
void check_name_and_use(X509* certificate, const std::filesystem::path& path,
                        const std::string& node);
void check_pair(X509* certificate, const std::filesystem::path& path, EVP_PKEY* key,
                const std::filesystem::path& key_path);
/// Signed by this CA, and none itself; whatever its dates are.
bool is_of_a_node(X509* certificate, X509* ca);
PkiTime end_of(X509* certificate);

RevokedList make_crl();
bool is_revoked(X509_CRL* list, X509* certificate);
/// Signed again, and valid as long as the CA: an older list only contains less.
void add_revoked(X509_CRL* list, X509* certificate, const Authority& ca, PkiTime now);

}  // namespace tunorch
