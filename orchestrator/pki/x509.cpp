#include "orchestrator/pki/x509.hpp"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "orchestrator/pki/files.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

using Bio = Owned<BIO, BIO_free_all>;
using BigNumber = Owned<BIGNUM, BN_free>;
using Extension = Owned<X509_EXTENSION, X509_EXTENSION_free>;
using Store = Owned<X509_STORE, X509_STORE_free>;
using RevokedEntry = Owned<X509_REVOKED, X509_REVOKED_free>;
using Time = Owned<ASN1_TIME, ASN1_TIME_free>;
using StoreContext = Owned<X509_STORE_CTX, X509_STORE_CTX_free>;

/// For calls that fail only for want of memory or entropy.
void require(bool done, std::string_view what) {
  if (done) return;
  std::array<char, 256> reason{};
  ERR_error_string_n(ERR_get_error(), reason.data(), reason.size());
  ERR_clear_error();
  throw std::runtime_error(fmt::format("cannot {}: {}", what, reason.data()));
}

// PEM -----------------------------------------------------------------------------------------

Bio reader(const std::string& text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  require(bio != nullptr, "read PEM");
  return bio;
}

/// Without this OpenSSL asks the terminal for the passphrase of an encrypted key.
int no_passphrase(char*, int, int, void*) {
  return 0;
}

}  // namespace

Certificate parse_certificate(const std::string& pem, const fs::path& path) {
  Certificate certificate(PEM_read_bio_X509(reader(pem).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!certificate) pki_fail("use", path, "it is not a certificate in PEM");
  return certificate;
}

Key parse_key(const std::string& pem, const fs::path& path) {
  Key key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  if (!key) pki_fail("use", path, "it is not a private key in PEM without a passphrase");
  return key;
}

RevokedList parse_crl(const std::string& pem, const fs::path& path, X509* ca) {
  RevokedList list(PEM_read_bio_X509_CRL(reader(pem).get(), nullptr, no_passphrase, nullptr));
  const bool signed_by_ca = list && X509_CRL_verify(list.get(), X509_get0_pubkey(ca)) == 1;
  ERR_clear_error();
  if (!signed_by_ca)
    pki_fail("use", path,
             "it is not the CA's list of revoked certificates; copy it from the host "
             "where `tunorch pki revoke` ran");
  return list;
}

namespace {

template <typename Write>
std::string written(Write write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  require(bio != nullptr && write(bio.get()) == 1, "write PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

std::string to_pem(X509* certificate) {
  return written([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::string to_pem(X509_CRL* list) {
  return written([&](BIO* bio) { return PEM_write_bio_X509_CRL(bio, list); });
}

std::string to_pem(EVP_PKEY* key) {
  return written([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

// Making certificates -------------------------------------------------------------------------

namespace {

struct ExtensionText {
  int nid;
  std::string value;  // in the words of x509v3_config(5)
};

struct Template {
  std::string common_name;
  std::chrono::seconds life;
  std::vector<ExtensionText> extensions;
};

Template ca_template(const std::string& cluster) {
  return {cluster + " CA",
          ca_life,
          {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
           {NID_key_usage, "critical,keyCertSign,cRLSign"},
           {NID_subject_key_identifier, "hash"}}};
}

/// Every node may listen in one bundle and dial in another, so each is a server and a client. The
/// name is a checked node name: without commas, it cannot add a SAN of its own.
Template node_template(const std::string& node) {
  return {node,
          node_life,
          {{NID_basic_constraints, "critical,CA:FALSE"},
           {NID_key_usage, "critical,digitalSignature"},
           {NID_ext_key_usage, "serverAuth,clientAuth"},
           {NID_subject_key_identifier, "hash"},
           {NID_authority_key_identifier, "keyid:always"},
           {NID_subject_alt_name, "DNS:" + node}}};
}

void set_random_serial(X509* certificate) {
  constexpr int bits = 128;  // RFC 5280, 4.1.2.2: at most 20 octets, unique without a counter file
  const BigNumber number(BN_new());
  require(number && BN_rand(number.get(), bits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr,
          "make a serial number");
}

void set_times(X509* certificate, PkiTime now, std::chrono::seconds life) {
  const std::time_t start = std::chrono::system_clock::to_time_t(now - backdated);
  const std::time_t end = std::chrono::system_clock::to_time_t(now + life);
  require(ASN1_TIME_set(X509_getm_notBefore(certificate), start) != nullptr &&
              ASN1_TIME_set(X509_getm_notAfter(certificate), end) != nullptr,
          "set a certificate's times");
}

void add_extensions(X509* certificate, X509* issuer, const std::vector<ExtensionText>& extensions) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  for (const ExtensionText& text : extensions) {
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, text.nid, text.value.c_str()));
    require(extension && X509_add_ext(certificate, extension.get(), -1) == 1,
            "add a certificate's extension");
  }
}

/// Signed by `ca`, or by itself where that is nullptr.
Certificate make_certificate(const Template& form, EVP_PKEY* key, const Authority* ca,
                             PkiTime now) {
  Certificate certificate(X509_new());
  require(certificate && X509_set_version(certificate.get(), X509_VERSION_3) == 1,
          "make a certificate");
  X509* const issuer = ca == nullptr ? certificate.get() : ca->certificate.get();
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  set_random_serial(certificate.get());
  set_times(certificate.get(), now, form.life);
  require(X509_NAME_add_entry_by_NID(
              name, NID_commonName, MBSTRING_UTF8,
              reinterpret_cast<const unsigned char*>(form.common_name.c_str()), -1, -1, 0) == 1 &&
              X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1 &&
              X509_set_pubkey(certificate.get(), key) == 1,
          "fill in a certificate");
  add_extensions(certificate.get(), issuer, form.extensions);
  require(X509_sign(certificate.get(), ca == nullptr ? key : ca->key.get(), EVP_sha256()) > 0,
          "sign a certificate");
  return certificate;
}

}  // namespace

Certificate make_ca_certificate(const std::string& cluster, EVP_PKEY* key, PkiTime now) {
  return make_certificate(ca_template(cluster), key, nullptr, now);
}

Certificate make_node_certificate(const std::string& node, EVP_PKEY* key, const Authority& ca,
                                  PkiTime now) {
  return make_certificate(node_template(node), key, &ca, now);
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"));
  require(key != nullptr, "make an EC key");
  return key;
}

// Checking certificates -----------------------------------------------------------------------

namespace {

/// `judged` is the certificate that is wrong: the node's, or the CA's above it.
[[noreturn]] void fail_verify(int error, const fs::path& judged, const fs::path& ca) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      pki_fail("use", judged,
               judged == ca ? "it has expired; remove the whole folder and run `tunorch pki init`"
                            : "it has expired; run `tunorch pki renew` where the CA's key is kept");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      pki_fail("use", judged, "it is not valid yet; set this host's clock");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      pki_fail(
          "use", judged,
          fmt::format("it is not signed by {}; copy both from the host where `tunorch pki init` "
                      "ran",
                      ca.string()));
    default:
      pki_fail("use", judged, X509_verify_cert_error_string(error));
  }
}

}  // namespace

void verify(X509* certificate, const fs::path& path, X509* ca, const fs::path& ca_path,
            PkiTime now) {
  const Store store(X509_STORE_new());
  const StoreContext context(X509_STORE_CTX_new());
  require(store && context && X509_STORE_add_cert(store.get(), ca) == 1 &&
              X509_STORE_CTX_init(context.get(), store.get(), certificate, nullptr) == 1,
          "verify a certificate");
  X509_STORE_CTX_set_time(context.get(), 0, std::chrono::system_clock::to_time_t(now));
  if (X509_verify_cert(context.get()) == 1) return;
  const bool of_ca = X509_STORE_CTX_get_error_depth(context.get()) > 0;
  fail_verify(X509_STORE_CTX_get_error(context.get()), of_ca ? ca_path : path, ca_path);
}

void check_name_and_use(X509* certificate, const fs::path& path, const std::string& node) {
  // As the worker checks its peer: a name in the subject counts for nothing (RFC 6125, 6.4.4).
  constexpr unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS;
  if (X509_check_host(certificate, node.data(), node.size(), flags, nullptr) != 1)
    pki_fail(
        "use", path,
        fmt::format("it is not for node '{}'; remove it and its key and run `tunorch pki init`",
                    node));
  for (const int purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT})
    if (X509_check_purpose(certificate, purpose, 0) != 1)
      pki_fail("use", path,
               "it is not for TLS servers and clients; remove it and its key and run "
               "`tunorch pki init`");
}

void check_pair(X509* certificate, const fs::path& path, EVP_PKEY* key, const fs::path& key_path) {
  const bool pair = X509_check_private_key(certificate, key) == 1;
  ERR_clear_error();
  if (!pair)
    pki_fail(
        "use", key_path,
        fmt::format("it is not the key of {}; copy both from the host where `tunorch pki init` ran",
                    path.string()));
}

PkiTime end_of(X509* certificate) {
  std::tm end{};
  require(ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1, "read a certificate's end");
  return std::chrono::system_clock::from_time_t(::timegm(&end));
}

bool is_of_a_node(X509* certificate, X509* ca) {
  const bool is =
      X509_verify(certificate, X509_get0_pubkey(ca)) == 1 && X509_check_ca(certificate) == 0;
  ERR_clear_error();
  return is;
}

RevokedList make_crl() {
  RevokedList list(X509_CRL_new());
  require(list != nullptr, "make a list of revoked certificates");
  return list;
}

bool is_revoked(X509_CRL* list, X509* certificate) {
  X509_REVOKED* entry = nullptr;
  return X509_CRL_get0_by_cert(list, &entry, certificate) == 1;
}

void add_revoked(X509_CRL* list, X509* certificate, const Authority& ca, PkiTime now) {
  // As the certificates are, for hosts whose clocks are behind.
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now - backdated);
  const Time time(ASN1_TIME_set(nullptr, seconds));
  RevokedEntry entry(X509_REVOKED_new());
  require(time && entry &&
              X509_REVOKED_set_serialNumber(entry.get(), X509_get_serialNumber(certificate)) == 1 &&
              X509_REVOKED_set_revocationDate(entry.get(), time.get()) == 1 &&
              X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(list, X509_get_subject_name(ca.certificate.get())) == 1 &&
              X509_CRL_set1_lastUpdate(list, time.get()) == 1 &&
              X509_CRL_set1_nextUpdate(list, X509_get0_notAfter(ca.certificate.get())) == 1,
          "make a list of revoked certificates");
  if (!is_revoked(list, certificate))
    require(X509_CRL_add0_revoked(list, entry.release()) == 1, "revoke a certificate");
  require(X509_CRL_sort(list) == 1 && X509_CRL_sign(list, ca.key.get(), EVP_sha256()) > 0,
          "sign a list of revoked certificates");
}

}  // namespace tunorch
