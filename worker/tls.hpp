// TLS 1.3 between two workers, both ends with certificates of the cluster's CA. Knows OpenSSL for
// all others; it moves bytes on a non-blocking socket and turns failures into words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/owned.hpp"
#include "protocol/worker.hpp"
#include "worker/channel.hpp"

// OpenSSL's headers would go into every file that includes this one.
struct ssl_ctx_st;
struct ssl_st;
struct X509_crl_st;
extern "C" {
void SSL_CTX_free(ssl_ctx_st* context);
void SSL_free(ssl_st* ssl);
void X509_CRL_free(X509_crl_st* list);
}

namespace tunorch::worker {

/// Keys and settings, shared by a worker's connections.
class TlsContext {
 public:
  /// Throws std::runtime_error where the spec's PEM or cipher cannot be used.
  explicit TlsContext(const Spec& spec);
  ssl_ctx_st* get() const { return context_.get(); }
  /// Whether the CA has revoked the certificate of that serial number (Channel::certificate).
  bool revokes(const std::string& certificate) const;

 private:
  Owned<X509_crl_st, X509_CRL_free> crl_;
  Owned<ssl_ctx_st, SSL_CTX_free> context_;
};

class Tls final : public Channel {
 public:
  /// On a connected non-blocking socket, which the caller owns. A dialer gives the node name that
  /// the listener's certificate must have as dNSName; a listener gives nothing.
  Tls(const TlsContext& context, int fd, const std::string& expected_node);

  IoResult handshake() override;
  /// After `want_read` nothing is left in OpenSSL's own buffers either.
  IoResult read(std::uint8_t* to, std::size_t size, std::size_t& got) override;
  IoResult write(const std::uint8_t* from, std::size_t size, std::size_t& taken) override;
  IoResult flush() override;
  bool sends_pending() const override;
  /// Whether OpenSSL frees its buffers whenever they are empty.
  void set_lean(bool lean) override;
  /// dNSNames of the peer's certificate.
  std::vector<std::string> peer_names() const override;
  std::string certificate() const override;
  const std::string& error() const override { return error_; }
  int socket_error() const override { return socket_error_; }

 private:
  IoResult result_of(int code);

  Owned<ssl_st, SSL_free> ssl_;
  std::string error_;
  int socket_error_ = 0;
};

}  // namespace tunorch::worker
