// How a connection moves its bytes: as TLS over TCP (tls.hpp), or plainly to a thread of this
// process that keeps them in a database (postgres.hpp). Non-blocking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tunorch::worker {

/// What a call needs before it can go on.
enum class IoResult : std::uint8_t { done, want_read, want_write, closed, failed };

class Channel {
 public:
  virtual ~Channel() = default;

  virtual IoResult handshake() = 0;
  /// `done`: at least one byte. `closed`: the peer said so.
  virtual IoResult read(std::uint8_t* to, std::size_t size, std::size_t& got) = 0;
  /// May take a part; the rest can be offered from another address (moving buffer). What it takes
  /// is sent by flush() at the latest.
  virtual IoResult write(const std::uint8_t* from, std::size_t size, std::size_t& taken) = 0;
  /// `done`: the socket has all that was written.
  virtual IoResult flush() = 0;
  /// Whether there is something to flush.
  virtual bool sends_pending() const = 0;
  /// Whether to do with little memory: it moves little.
  virtual void set_lean(bool) {}
  /// Who the peer is, as it has shown.
  virtual std::vector<std::string> peer_names() const = 0;
  /// The serial number of the certificate it showed, in hexadecimal; empty: it showed none.
  virtual std::string certificate() const { return ""; }
  /// After `failed`: what went wrong, in words, whichever end refused.
  virtual const std::string& error() const = 0;
  /// After `failed`: the socket's errno where it was the socket, else 0.
  virtual int socket_error() const = 0;
};

/// Bytes as they are, over a local socket, which the caller owns.
class PlainChannel final : public Channel {
 public:
  PlainChannel(int fd, std::vector<std::string> peer_names)
      : fd_(fd), peer_names_(std::move(peer_names)) {}

  IoResult handshake() override { return IoResult::done; }
  IoResult read(std::uint8_t* to, std::size_t size, std::size_t& got) override;
  IoResult write(const std::uint8_t* from, std::size_t size, std::size_t& taken) override;
  IoResult flush() override { return IoResult::done; }
  bool sends_pending() const override { return false; }
  std::vector<std::string> peer_names() const override { return peer_names_; }
  const std::string& error() const override { return error_; }
  int socket_error() const override { return socket_error_; }

 private:
  IoResult waits_or_fails(IoResult wait);

  int fd_;
  std::vector<std::string> peer_names_;
  std::string error_;
  int socket_error_ = 0;
};

}  // namespace tunorch::worker
