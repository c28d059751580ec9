// A tunnel's streams through a PostgreSQL database: each stream is an ordered log of rows a
// direction, one row a frame. Threads of its own keep the rows; to the rest of the worker it is a
// local socket, with frames on it as TLS would carry them. The only file pair that knows libpq.
//
// Ids commit out of order across connections, so each log has one connection that writes it and
// counts its rows itself; the other end reads what is above the last number it had. A batch is one
// transaction, with one NOTIFY.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "protocol/worker.hpp"
#include "worker/secret_files.hpp"

namespace tunorch::worker {

class PostgresStream;
class PostgresAcceptor;

class Postgres {
 public:
  struct Events {
    /// A dialer opened a stream (listener only). Called on a thread of this class.
    std::function<void(Fd socket, const std::string& dialer)> on_stream;
    /// The database cannot be used, and why; empty: it can again. Called on threads of this class.
    std::function<void(const std::string& reason)> on_trouble;
  };

  /// With the files for libpq, by parameter. Throws std::runtime_error where the URL is none.
  Postgres(const Spec& spec, SecretFiles files, Events events);
  ~Postgres();
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  /// A dialer's stream of that number; the socket carries its frames.
  Fd open_stream(int number);
  /// For words: "the database HOST/NAME".
  const std::string& text() const { return text_; }

 private:
  friend class PostgresAcceptor;
  void accept_stream(std::int64_t id, const std::string& dialer);
  Fd add_stream(std::int64_t id, const std::string& dialer, int number);
  void trouble(const std::string& reason);

  Spec spec_;
  Events events_;
  std::string text_;
  SecretFiles files_;                                       // in memory, for libpq to open
  std::vector<std::pair<std::string, std::string>> paths_;  // of them, by parameter
  std::mutex trouble_mutex_;
  std::optional<std::string> trouble_;  // nothing: not known yet
  std::mutex mutex_;                    // over the streams
  std::vector<std::unique_ptr<PostgresStream>> streams_;
  std::unique_ptr<PostgresAcceptor> acceptor_;
};

/// Makes the tables, functions and views of a schema, or brings an older one up to date. Prints
/// what it did; returns the exit status. For `tunorch-worker postgres-init URL [SCHEMA]`.
int init_database(const std::string& url, const std::string& schema);

}  // namespace tunorch::worker
