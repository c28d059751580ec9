// One connection to a database, for a thread that may wait: it waits for the database or for its
// bell, whichever comes first. Turns libpq's failures into words.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/owned.hpp"
#include "protocol/worker.hpp"

namespace tunorch::worker {

/// What the database said, or that it cannot be reached.
struct DatabaseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The bell rang: the thread is to end.
struct Stopped {};

using DatabaseResult = Owned<PGresult, PQclear>;

/// A libpq parameter and the path to give for it.
using ConnectionFiles = std::vector<std::pair<std::string, std::string>>;

/// What the tables of this program are; those of another version are refused.
inline constexpr int schema_version = 1;

/// "HOST:PORT/NAME" of a URL, for words. Throws DatabaseError where it is none.
std::string database_text(const std::string& url);
/// As an identifier in SQL.
std::string quoted_name(const std::string& name);

class DatabaseConnection {
 public:
  DatabaseConnection(DatabaseSpec spec, bool sync, const ConnectionFiles& files, int bell)
      : spec_(std::move(spec)), sync_(sync), files_(files), bell_(bell) {}

  /// Connects and sees that the schema is there and ours. Throws DatabaseError or Stopped.
  void open();
  void close() { connection_.reset(); }
  bool is_open() const { return connection_ != nullptr; }
  PGconn* get() const { return connection_.get(); }
  int socket() const { return PQsocket(connection_.get()); }
  const DatabaseSpec& spec() const { return spec_; }

  /// One statement, outside of a pipeline, with text parameters; all results are text, or all
  /// binary. Throws DatabaseError or Stopped.
  DatabaseResult run(const std::string& sql, const std::vector<std::string>& values = {},
                     bool binary = false);
  /// A statement to be sent by name. Throws DatabaseError.
  void prepare(const char* name, const std::string& sql);
  /// Throws DatabaseError with what the connection says, after something failed.
  [[noreturn]] void fail(const PGresult* result = nullptr) const;

 private:
  void check_schema();
  /// Until the database's socket is ready for `events`, or the time is up: false.
  bool wait(short events, std::chrono::milliseconds limit) const;

  DatabaseSpec spec_;
  bool sync_;
  const ConnectionFiles& files_;
  int bell_;
  Owned<PGconn, PQfinish> connection_;
};

}  // namespace tunorch::worker
