#include "worker/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "worker/gcm_provider.hpp"

namespace tunorch::worker {
namespace {

/// What OpenSSL may read from the socket at once. Prototypes from 16 to 256 KiB did not differ
/// beyond noise; 64 KiB is four full records.
constexpr std::size_t read_ahead_bytes = 64 * 1024;
/// Records that wait to be sent in one go: a batch and its last frame. Four records a system call
/// instead of one cost a fifth less processor time a byte, more of them nothing less.
constexpr long sealed_bytes = 96 * 1024;
/// A node's certificate is 600 bytes, and the CA's is known; a stranger need not send more.
constexpr long most_certificate_bytes = 8 * 1024;

constexpr const char* aes = "TLS_AES_128_GCM_SHA256";
constexpr const char* chacha = "TLS_CHACHA20_POLY1305_SHA256";

std::string last_error() {
  char text[256] = "unknown error";
  if (const unsigned long code = ERR_get_error()) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

using Bio = Owned<BIO, BIO_free>;
using Certificate = Owned<X509, X509_free>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using BigNumber = Owned<BIGNUM, BN_free>;
using Names = Owned<GENERAL_NAMES, GENERAL_NAMES_free>;

Bio bio_of(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

Certificate certificate_of(const std::string& pem) {
  return Certificate(PEM_read_bio_X509(bio_of(pem).get(), nullptr, nullptr, nullptr));
}

/// AES in hardware is the faster one, ChaCha20 without. Both ends accept both.
std::string ciphers_for(const std::string& wanted) {
  const bool chacha_first =
      wanted == "chacha20-poly1305" || (wanted == "auto" && !__builtin_cpu_supports("aes"));
  return chacha_first ? std::string(chacha) + ":" + aes : std::string(aes) + ":" + chacha;
}

/// The peer's alert names what it holds against us (RFC 8446, section 6.2).
std::string alert_words(int reason) {
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return "the peer refused our certificate: it is not from its CA";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return "the peer refused our certificate: it has expired";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
      return "the peer refused our certificate";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "the peer wants a certificate of ours";
    default:
      return "";
  }
}

std::string failure_words(const SSL* ssl) {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
    return std::string("the peer's certificate is refused: ") +
           X509_verify_cert_error_string(SSL_get_verify_result(ssl));
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return "the peer has no certificate";
  if (std::string words = alert_words(reason); !words.empty()) return words;
  const char* text = ERR_reason_error_string(code);
  return std::string("not a TLS 1.3 peer of ours: ") + (text ? text : "no further word");
}

}  // namespace

TlsContext::TlsContext(const Spec& spec)
    : context_(SSL_CTX_new_ex(nullptr, load_gcm_provider(),
                              spec.listener ? TLS_server_method() : TLS_client_method())) {
  SSL_CTX* context = context_.get();
  if (!context) throw std::runtime_error("cannot set up TLS: " + last_error());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  // No resumption: a peer's certificate is looked at each time. kTLS where the kernel has it.
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_ENABLE_KTLS | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_max_cert_list(context, most_certificate_bytes);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, read_ahead_bytes);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (SSL_CTX_set_ciphersuites(context, ciphers_for(spec.cipher).c_str()) != 1)
    throw std::runtime_error("cannot use cipher " + spec.cipher + ": " + last_error());

  const auto ca = certificate_of(spec.ca_pem);
  if (!ca || X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get()) != 1)
    throw std::runtime_error("cannot use the CA certificate: " + last_error());
  const auto certificate = certificate_of(spec.certificate_pem);
  if (!certificate || SSL_CTX_use_certificate(context, certificate.get()) != 1)
    throw std::runtime_error("cannot use the node's certificate: " + last_error());
  const auto pem = spec.secrets.find("key");
  const Key key(pem == spec.secrets.end() ? nullptr
                                          : PEM_read_bio_PrivateKey(bio_of(pem->second).get(),
                                                                    nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1)
    throw std::runtime_error("cannot use the node's key: " + last_error());
  if (spec.crl_pem.empty()) return;
  crl_.reset(PEM_read_bio_X509_CRL(bio_of(spec.crl_pem).get(), nullptr, nullptr, nullptr));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  if (!crl_ || X509_STORE_add_crl(store, crl_.get()) != 1 ||
      X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1)
    throw std::runtime_error("cannot use the list of revoked certificates: " + last_error());
}

bool TlsContext::revokes(const std::string& certificate) const {
  if (!crl_ || certificate.empty()) return false;
  BIGNUM* parsed = nullptr;
  BN_hex2bn(&parsed, certificate.c_str());
  const BigNumber number(parsed);
  ASN1_INTEGER* serial = BN_to_ASN1_INTEGER(number.get(), nullptr);
  X509_REVOKED* entry = nullptr;
  const bool revoked = serial && X509_CRL_get0_by_serial(crl_.get(), &entry, serial) == 1;
  ASN1_INTEGER_free(serial);
  return revoked;
}

Tls::Tls(const TlsContext& context, int fd, const std::string& expected_node)
    : ssl_(SSL_new(context.get())) {
  BIO* socket = BIO_new_socket(fd, BIO_NOCLOSE);
  BIO* batch = BIO_new(BIO_f_buffer());
  if (!ssl_ || !socket || !batch) throw std::runtime_error("cannot set up TLS: " + last_error());
  BIO_set_write_buffer_size(batch, sealed_bytes);
  BIO_up_ref(socket);
  SSL_set0_rbio(ssl_.get(), socket);
  SSL_set0_wbio(ssl_.get(), BIO_push(batch, socket));
  if (expected_node.empty()) {
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_connect_state(ssl_.get());
  // A name in the subject counts for nothing (RFC 6125, 6.4.4).
  SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
  if (SSL_set1_host(ssl_.get(), expected_node.c_str()) != 1)
    throw std::runtime_error("cannot set up TLS: " + last_error());
}

IoResult Tls::result_of(int code) {
  const int saved = errno;
  switch (SSL_get_error(ssl_.get(), code)) {
    case SSL_ERROR_WANT_READ:
      return IoResult::want_read;
    case SSL_ERROR_WANT_WRITE:
      return IoResult::want_write;
    case SSL_ERROR_ZERO_RETURN:
      return IoResult::closed;
    case SSL_ERROR_SYSCALL:
      if (saved == 0) return IoResult::closed;
      socket_error_ = saved;
      error_ = std::strerror(saved);
      break;
    default:
      // A peer that is killed closes without TLS's own goodbye.
      if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return IoResult::closed;
      }
      error_ = failure_words(ssl_.get());
  }
  ERR_clear_error();
  return IoResult::failed;
}

IoResult Tls::handshake() {
  errno = 0;
  const int code = SSL_do_handshake(ssl_.get());
  return code == 1 ? IoResult::done : result_of(code);
}

IoResult Tls::read(std::uint8_t* to, std::size_t size, std::size_t& got) {
  errno = 0;
  return SSL_read_ex(ssl_.get(), to, size, &got) == 1 ? IoResult::done : result_of(0);
}

IoResult Tls::write(const std::uint8_t* from, std::size_t size, std::size_t& taken) {
  errno = 0;
  return SSL_write_ex(ssl_.get(), from, size, &taken) == 1 ? IoResult::done : result_of(0);
}

IoResult Tls::flush() {
  if (!sends_pending()) return IoResult::done;
  errno = 0;
  BIO* bio = SSL_get_wbio(ssl_.get());
  if (BIO_flush(bio) == 1) return IoResult::done;
  if (BIO_should_retry(bio)) return IoResult::want_write;
  socket_error_ = errno;
  error_ = std::strerror(socket_error_);
  return IoResult::failed;
}

bool Tls::sends_pending() const {
  return BIO_wpending(SSL_get_wbio(ssl_.get())) > 0;
}

void Tls::set_lean(bool lean) {
  if (lean)
    SSL_set_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS);
  else
    SSL_clear_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS);
}

std::vector<std::string> Tls::peer_names() const {
  std::vector<std::string> names;
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (!certificate) return names;
  const Names all(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS) continue;
    names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                       static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
  }
  return names;
}

std::string Tls::certificate() const {
  const X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (!certificate) return "";
  const BigNumber number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* const text = number ? BN_bn2hex(number.get()) : nullptr;
  std::string hex = text ? text : "";
  OPENSSL_free(text);
  return hex;
}

}  // namespace tunorch::worker
