// TLS 1.3 between two workers, both ends with certificates of the cluster's CA. Knows OpenSSL for
// all others; it moves bytes on a non-blocking socket and turns failures into words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/spec.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace tunorch::worker {

/// Keys and settings, shared by a worker's connections.
class TlsContext {
 public:
  /// Throws std::runtime_error where the spec's PEM or cipher cannot be used.
  explicit TlsContext(const Spec& spec);
  ssl_ctx_st* get() const { return context_.get(); }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
};

/// What a call needs before it can go on.
enum class TlsResult : std::uint8_t { done, want_read, want_write, closed, failed };

class Tls {
 public:
  /// On a connected non-blocking socket, which the caller owns. A dialer gives the node name that
  /// the listener's certificate must have as dNSName; a listener gives nothing.
  Tls(const TlsContext& context, int fd, const std::string& expected_node);

  TlsResult handshake();
  /// `done`: at least one byte. `closed`: the peer said so. After `want_read` nothing is left in
  /// OpenSSL's own buffers either.
  TlsResult read(std::uint8_t* to, std::size_t size, std::size_t& got);
  /// May take a part; the rest can be offered from another address (moving buffer). What it takes
  /// is sent by flush() at the latest.
  TlsResult write(const std::uint8_t* from, std::size_t size, std::size_t& taken);

  /// `done`: the socket has all that was written.
  TlsResult flush();
  /// Whether there is something to flush.
  bool sends_pending() const;

  /// Whether OpenSSL frees its buffers whenever they are empty.
  void set_lean(bool lean);

  /// dNSNames of the peer's certificate.
  std::vector<std::string> peer_names() const;
  /// After `failed`: what went wrong, in words, whichever end refused.
  const std::string& error() const { return error_; }
  /// After `failed`: the socket's errno where it was the socket, else 0.
  int socket_error() const { return socket_error_; }

 private:
  TlsResult result_of(int code);

  struct Free {
    void operator()(ssl_st* ssl) const;
  };
  std::unique_ptr<ssl_st, Free> ssl_;
  std::string error_;
  int socket_error_ = 0;
};

}  // namespace tunorch::worker
