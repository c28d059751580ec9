#include "worker/postgres_stream.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "worker/frame.hpp"
#include "worker/mailbox.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;

/// Rows of one transaction, and transactions that wait for their commit: what is written while the
/// database is busy with those before.
constexpr std::size_t batch_bytes = 512 * 1024;
constexpr std::size_t max_under_way = 3;
/// Rows of one read: at full size 4 MiB.
constexpr int rows_a_read = 64;
/// A NOTIFY may be lost with its connection: so often it is looked without one.
constexpr milliseconds look_interval{1000};
constexpr milliseconds retry_interval{500};
constexpr std::size_t read_bytes = 256 * 1024;

constexpr unsigned int2_type = 21, bytea_type = 17;  // pg_type.oid

void put32(std::string& to, std::uint32_t value) {
  value = htonl(value);
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// The head of a one-dimensional array without nulls (array_recv() in PostgreSQL's arrayfuncs.c).
std::string array_head(unsigned type, std::size_t size) {
  std::string head;
  for (const std::uint32_t word :
       {1U, 0U, std::uint32_t{type}, static_cast<std::uint32_t>(size), 1U})
    put32(head, word);
  return head;
}

}  // namespace

std::string log_channel(std::int64_t stream, int direction) {
  return "tunorch_" + std::to_string(stream) + "_" + std::to_string(direction);
}

/// Within the 63 bytes of a name: a cluster's has at most 31, a tunnel's 14.
std::string acceptor_channel(const std::string& tunnel) {
  return "tunorch_" + tunnel;
}

PostgresStream::PostgresStream(StreamLog spec, const ConnectionFiles& files, Fd socket,
                               Trouble trouble)
    : spec_(std::move(spec)),
      files_(files),
      socket_(std::move(socket)),
      bell_(make_bell()),
      trouble_(std::move(trouble)),
      opened_(!spec_.dialer) {
  writer_ = std::thread([this] { guard(&PostgresStream::write_all); });
  reader_ = std::thread([this] { guard(&PostgresStream::read_all); });
  ::pthread_setname_np(writer_.native_handle(), "rows out");
  ::pthread_setname_np(reader_.native_handle(), "rows in");
}

PostgresStream::~PostgresStream() {
  const std::uint64_t ring = 1;
  (void)!::write(bell_.get(), &ring, sizeof ring);
  writer_.join();
  reader_.join();
}

void PostgresStream::guard(void (PostgresStream::*part)()) {
  try {
    (this->*part)();
  } catch (const Stopped&) {
  } catch (const std::exception& error) {
    trouble_(error.what());
  }
  // The worker sees that its stream has ended.
  ::shutdown(socket_.get(), SHUT_RDWR);
  --running_;
}

/// Before the next try. False where the worker has let go of the stream meanwhile.
bool PostgresStream::rest() {
  pollfd fds[] = {{bell_.get(), POLLIN, 0}, {socket_.get(), POLLRDHUP, 0}};
  ::poll(fds, 2, static_cast<int>(retry_interval.count()));
  if (fds[0].revents) throw Stopped{};
  return (fds[1].revents & (POLLRDHUP | POLLHUP)) == 0;
}

// ---- to the database ----

void PostgresStream::write_all() {
  DatabaseConnection database(spec_.dialer ? spec_.up : spec_.down, spec_.sync, files_,
                              bell_.get());
  for (;;) {
    try {
      database.open();
      open_log(database);
      // It answers; whether it also takes what it refused, its next commit tells.
      in_doubt_ = !batches_.empty();
      if (!in_doubt_) trouble_("");
      write_on(database);
      return;
    } catch (const DatabaseError& error) {
      database.close();
      trouble_(error.what());
    }
    if (!rest()) return;
  }
}

/// Makes the stream known, and finds out which of the rows under way were committed before the
/// connection was lost.
void PostgresStream::open_log(DatabaseConnection& database) {
  const std::string schema = quoted_name(database.spec().schema);
  const std::string id = std::to_string(spec_.id);
  const int direction = spec_.dialer ? direction_up : direction_down;
  database.run("SELECT " + schema + ".keep(make_interval(secs => $1::int))",
               {std::to_string(spec_.keep_s)});
  if (!opened_) {
    database.run("INSERT INTO " + schema +
                     ".stream (id, tunnel, dialer, number) VALUES ($1, $2, $3, $4) ON CONFLICT DO "
                     "NOTHING",
                 {id, spec_.tunnel, spec_.node, std::to_string(spec_.number)});
    database.run("SELECT pg_notify($1, '')", {acceptor_channel(spec_.tunnel)});
    opened_ = true;
  }
  const auto last = database.run("SELECT coalesce(max(seq), 0) FROM " + schema +
                                     ".packet WHERE stream = $1 AND direction = $2",
                                 {id, std::to_string(direction)});
  const std::int64_t committed = std::stoll(PQgetvalue(last.get(), 0, 0));
  while (!batches_.empty() && batches_.front().first <= committed) batches_.pop_front();
  under_way_ = 0;
  database.prepare("put", "INSERT INTO " + schema +
                              ".packet (stream, direction, seq, tunnel, kind, payload) SELECT " +
                              id + ", " + std::to_string(direction) +
                              ", $1::bigint + t.n - 1, $2::text, t.k, t.p FROM unnest($3::int2[], "
                              "$4::bytea[]) WITH ORDINALITY AS t(k, p, n)");
  if (PQsetnonblocking(database.get(), 1) != 0 || PQenterPipelineMode(database.get()) != 1)
    database.fail();
}

void PostgresStream::write_on(DatabaseConnection& database) {
  for (;;) {
    while (under_way_ < batches_.size() && under_way_ < max_under_way) {
      send(database, batches_[under_way_]);
      ++under_way_;
    }
    if (ended_ && pending_.empty() && batches_.empty()) return end_log(database);
    const int unsent = PQflush(database.get());
    if (unsent < 0) database.fail();
    const bool room = batches_.size() < max_under_way;
    pollfd fds[] = {{bell_.get(), POLLIN, 0},
                    {database.socket(), static_cast<short>(POLLIN | (unsent ? POLLOUT : 0)), 0},
                    {socket_.get(), static_cast<short>(room && !ended_ ? POLLIN : 0), 0}};
    ::poll(fds, ended_ || !room ? 2 : 3, -1);
    if (fds[0].revents) throw Stopped{};
    if (fds[1].revents) collect(database);
    if (room && !ended_ && fds[2].revents) {
      ended_ = !take_frames();
      cut_batch();
    }
  }
}

/// What the worker has sent; false where that was all.
bool PostgresStream::take_frames() {
  while (pending_.size() < batch_bytes) {
    const std::size_t before = pending_.size();
    pending_.resize(before + read_bytes);
    const ssize_t got = ::recv(socket_.get(), pending_.data() + before, read_bytes, MSG_DONTWAIT);
    pending_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
  }
  return true;
}

/// A batch of the whole frames there are.
void PostgresStream::cut_batch() {
  Batch batch;
  std::string rows;
  std::size_t at = 0;
  while (pending_.size() - at >= frame_header_bytes) {
    const auto header =
        read_frame_header(reinterpret_cast<const std::uint8_t*>(pending_.data()) + at);
    if (!header || pending_.size() - at < frame_header_bytes + header->length) break;
    put32(rows, header->length);
    rows.append(pending_, at + frame_header_bytes, header->length);
    batch.kinds.push_back(static_cast<std::int16_t>(header->type));
    at += frame_header_bytes + header->length;
  }
  pending_.erase(0, at);
  if (ended_) pending_.clear();  // a partial frame that will not be completed
  if (batch.kinds.empty()) return;
  batch.first = next_row_;
  next_row_ += static_cast<std::int64_t>(batch.kinds.size());
  batch.rows_parameter = array_head(bytea_type, batch.kinds.size()) + rows;
  batch.kinds_parameter = array_head(int2_type, batch.kinds.size());
  for (const std::int16_t kind : batch.kinds) {
    put32(batch.kinds_parameter, sizeof kind);
    const std::uint16_t word = htons(static_cast<std::uint16_t>(kind));
    batch.kinds_parameter.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  batches_.push_back(std::move(batch));
}

/// What is between two synchronization points is one transaction (libpq, pipeline mode).
void PostgresStream::send(DatabaseConnection& database, const Batch& batch) {
  const std::string first = std::to_string(batch.first);
  const char* values[] = {first.c_str(), spec_.tunnel.c_str(), batch.kinds_parameter.data(),
                          batch.rows_parameter.data()};
  const int lengths[] = {0, 0, static_cast<int>(batch.kinds_parameter.size()),
                         static_cast<int>(batch.rows_parameter.size())};
  const int formats[] = {0, 0, 1, 1};
  const std::string channel = log_channel(spec_.id, spec_.dialer ? direction_up : direction_down);
  const char* told[] = {channel.c_str()};
  if (PQsendQueryPrepared(database.get(), "put", 4, values, lengths, formats, 0) != 1 ||
      PQsendQueryParams(database.get(), "SELECT pg_notify($1, '')", 1, nullptr, told, nullptr,
                        nullptr, 0) != 1 ||
      PQpipelineSync(database.get()) != 1)
    database.fail();
}

/// Results of one statement end with a null; a second one means that there are no more.
void PostgresStream::collect(DatabaseConnection& database) {
  if (PQconsumeInput(database.get()) != 1) database.fail();
  for (int nulls = 0; nulls < 2 && !PQisBusy(database.get());) {
    const DatabaseResult result(PQgetResult(database.get()));
    nulls = result ? 0 : nulls + 1;
    if (!result) continue;
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_PIPELINE_SYNC) {
      batches_.pop_front();
      --under_way_;
      if (std::exchange(in_doubt_, false)) trouble_("");
    } else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      database.fail(result.get());
    }
  }
}

/// The other end learns that nothing follows.
void PostgresStream::end_log(DatabaseConnection& database) {
  PQexitPipelineMode(database.get());
  PQsetnonblocking(database.get(), 0);
  if (spec_.dialer) close_stream(database);
  database.run("SELECT pg_notify($1, 'end')",
               {log_channel(spec_.id, spec_.dialer ? direction_up : direction_down)});
}

/// The table of streams is beside the log of the way up, which the dialer writes and the listener
/// reads: either may be the one that sees the other go.
void PostgresStream::close_stream(DatabaseConnection& database) {
  database.run("UPDATE " + quoted_name(database.spec().schema) +
                   ".stream SET closed = now() WHERE id = $1 AND closed IS NULL",
               {std::to_string(spec_.id)});
}

// ---- from the database ----

void PostgresStream::read_all() {
  DatabaseConnection database(spec_.dialer ? spec_.down : spec_.up, spec_.sync, files_,
                              bell_.get());
  for (;;) {
    try {
      database.open();
      database.run("LISTEN " + quoted_name(log_channel(
                                   spec_.id, spec_.dialer ? direction_down : direction_up)));
      trouble_("");
      read_on(database);
      if (!spec_.dialer) close_stream(database);
      return;
    } catch (const DatabaseError& error) {
      database.close();
      trouble_(error.what());
    }
    if (!rest()) return;
  }
}

/// Until the other end said that it was all, or ours does not want more.
void PostgresStream::read_on(DatabaseConnection& database) {
  const std::string schema = quoted_name(database.spec().schema);
  const int direction = spec_.dialer ? direction_down : direction_up;
  database.prepare("get",
                   "SELECT seq, kind, payload FROM " + schema + ".packet WHERE stream = " +
                       std::to_string(spec_.id) + " AND direction = " + std::to_string(direction) +
                       " AND seq > $1::bigint ORDER BY seq LIMIT " + std::to_string(rows_a_read));
  bool last = false;
  for (;;) {
    std::size_t rows = 0;
    do rows = read_rows(database);
    while (rows == rows_a_read);
    if (last) return;
    pollfd fds[] = {
        {bell_.get(), POLLIN, 0}, {database.socket(), POLLIN, 0}, {socket_.get(), POLLRDHUP, 0}};
    ::poll(fds, 3, static_cast<int>(look_interval.count()));
    if (fds[0].revents) throw Stopped{};
    if (fds[2].revents & (POLLRDHUP | POLLHUP)) return;
    if (PQconsumeInput(database.get()) != 1) database.fail();
    while (PGnotify* notify = PQnotifies(database.get())) {
      last = last || std::strcmp(notify->extra, "end") == 0;
      PQfreemem(notify);
    }
  }
}

std::size_t PostgresStream::read_rows(DatabaseConnection& database) {
  const std::string after = std::to_string(last_read_);
  const char* values[] = {after.c_str()};
  const DatabaseResult result(
      PQexecPrepared(database.get(), "get", 1, values, nullptr, nullptr, 1));
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) database.fail(result.get());
  const int rows = PQntuples(result.get());
  std::string frames;
  for (int row = 0; row < rows; ++row) {
    std::uint64_t seq = 0;
    for (int i = 0; i < 8; ++i)
      seq = seq << 8 | static_cast<std::uint8_t>(PQgetvalue(result.get(), row, 0)[i]);
    if (static_cast<std::int64_t>(seq) != last_read_ + 1)
      throw std::runtime_error("the database lost rows of stream " + std::to_string(spec_.id) +
                               ": " + std::to_string(seq) + " follows " +
                               std::to_string(last_read_));
    last_read_ = static_cast<std::int64_t>(seq);
    std::uint8_t header[frame_header_bytes];
    const auto size = static_cast<std::uint32_t>(PQgetlength(result.get(), row, 2));
    write_frame_header(header, {static_cast<FrameType>(PQgetvalue(result.get(), row, 1)[1]), size});
    frames.append(reinterpret_cast<const char*>(header), sizeof header);
    frames.append(PQgetvalue(result.get(), row, 2), size);
  }
  if (!hand_over(frames)) throw Stopped{};
  return static_cast<std::size_t>(rows);
}

/// Waits for the worker to take it all; false where it has let go.
bool PostgresStream::hand_over(const std::string& frames) {
  std::size_t done = 0;
  while (done < frames.size()) {
    const ssize_t sent = ::send(socket_.get(), frames.data() + done, frames.size() - done,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      done += static_cast<std::size_t>(sent);
      continue;
    }
    if (errno != EAGAIN) return false;
    pollfd fds[] = {{bell_.get(), POLLIN, 0}, {socket_.get(), POLLOUT, 0}};
    ::poll(fds, 2, -1);
    if (fds[0].revents) return false;
  }
  return true;
}

}  // namespace tunorch::worker
