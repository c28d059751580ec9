// One stream: the log its frames are written to, and the one they are read from, each by a
// thread with a connection of its own. Goes on where it was when the database was away.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "worker/postgres_connection.hpp"

namespace tunorch::worker {

struct StreamLog {
  std::int64_t id = 0;
  bool dialer = false;
  std::string tunnel, node;  // the tunnel's name with its cluster, and the dialer's
  int number = 0;            // in its session
  std::uint32_t keep_s = 0;
  bool sync = false;
  DatabaseSpec up, down;
};

/// Directions, as the tables have them.
inline constexpr int direction_up = 0, direction_down = 1;

/// What a NOTIFY of a log, or of a tunnel's new streams, is called.
std::string log_channel(std::int64_t stream, int direction);
std::string acceptor_channel(const std::string& tunnel);

class PostgresStream {
 public:
  using Trouble = std::function<void(const std::string& reason)>;

  /// `socket` is our end: frames of the worker come in, and those of the peer go out.
  PostgresStream(StreamLog spec, const ConnectionFiles& files, Fd socket, Trouble trouble);
  ~PostgresStream();
  PostgresStream(const PostgresStream&) = delete;
  PostgresStream& operator=(const PostgresStream&) = delete;

  /// Both directions have ended.
  bool is_over() const { return running_ == 0; }

 private:
  /// Rows on their way into the log: one transaction.
  struct Batch {
    std::int64_t first = 0;  // number of its first row
    std::vector<std::int16_t> kinds;
    std::string kinds_parameter, rows_parameter;  // as the wire has arrays
  };

  void write_all();
  void open_log(DatabaseConnection& database);
  void write_on(DatabaseConnection& database);
  bool take_frames();
  void cut_batch();
  void send(DatabaseConnection& database, const Batch& batch);
  void collect(DatabaseConnection& database);
  void end_log(DatabaseConnection& database);
  void close_stream(DatabaseConnection& database);

  void read_all();
  void read_on(DatabaseConnection& database);
  std::size_t read_rows(DatabaseConnection& database);
  bool hand_over(const std::string& frames);

  void guard(void (PostgresStream::*part)());
  bool rest();

  StreamLog spec_;
  const ConnectionFiles& files_;
  Fd socket_, bell_;
  Trouble trouble_;
  std::string pending_;        // frames, or a part of one, that are in no batch yet
  std::deque<Batch> batches_;  // not known to be committed; the first `under_way_` were sent
  std::size_t under_way_ = 0;
  std::int64_t next_row_ = 1;
  bool ended_ = false;     // no more comes from the worker
  bool opened_ = false;    // the stream is known to the database
  bool in_doubt_ = false;  // rows wait that it did not take before
  std::int64_t last_read_ = 0;
  std::atomic<int> running_ = 2;
  std::thread writer_, reader_;
};

}  // namespace tunorch::worker
