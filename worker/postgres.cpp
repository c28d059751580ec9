#include "worker/postgres.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <system_error>

#include "worker/mailbox.hpp"
#include "worker/postgres_stream.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;

/// A stream not accepted within this time is stale: its dialer has tried again.
constexpr int waiting_life_s = 10;
constexpr milliseconds look_interval{1000}, retry_interval{500};
/// Room between the worker and a stream's threads.
constexpr int socket_bytes = 512 * 1024;

/// Signed 64 bits and above 0, as the table has them.
std::int64_t new_stream_id() {
  std::random_device device;
  std::uniform_int_distribution<std::int64_t> any(1, INT64_MAX);
  return any(device);
}

}  // namespace

/// Sees the streams that dialers open, and has old packets dropped.
class PostgresAcceptor {
 public:
  PostgresAcceptor(Postgres& owner, const ConnectionFiles& files)
      : owner_(owner), files_(files), bell_(make_bell()), thread_([this] { run(); }) {}
  ~PostgresAcceptor() {
    const std::uint64_t ring = 1;
    (void)!::write(bell_.get(), &ring, sizeof ring);
    thread_.join();
  }

 private:
  std::string tunnel() const { return owner_.spec_.cluster + "/" + owner_.spec_.tunnel; }

  void run() {
    const Spec& spec = owner_.spec_;
    DatabaseConnection up(spec.postgres.up, spec.postgres.sync, files_, bell_.get());
    DatabaseConnection down(spec.postgres.down, spec.postgres.sync, files_, bell_.get());
    try {
      for (;;) {
        try {
          up.open();
          down.open();
          up.run("LISTEN " + quoted_name(acceptor_channel(tunnel())));
          owner_.trouble("");
          watch(up, down);
        } catch (const DatabaseError& error) {
          up.close();
          down.close();
          owner_.trouble(error.what());
        }
        pollfd bell{bell_.get(), POLLIN, 0};
        if (::poll(&bell, 1, static_cast<int>(retry_interval.count())) > 0) return;
      }
    } catch (const Stopped&) {
    }
  }

  [[noreturn]] void watch(DatabaseConnection& up, DatabaseConnection& down) {
    auto keep_due = std::chrono::steady_clock::now();
    for (;;) {
      look(up);
      if (const auto now = std::chrono::steady_clock::now(); now >= keep_due) {
        keep(up);
        keep(down);
        keep_due =
            now + std::chrono::seconds(std::clamp(owner_.spec_.postgres.keep_s / 20, 1U, 60U));
      }
      pollfd fds[] = {{bell_.get(), POLLIN, 0}, {up.socket(), POLLIN, 0}};
      ::poll(fds, 2, static_cast<int>(look_interval.count()));
      if (fds[0].revents) throw Stopped{};
      if (PQconsumeInput(up.get()) != 1) up.fail();
      while (PGnotify* notify = PQnotifies(up.get())) PQfreemem(notify);
    }
  }

  void look(DatabaseConnection& up) {
    const auto rows =
        up.run("SELECT id, dialer FROM " + quoted_name(up.spec().schema) +
                   ".stream WHERE tunnel = $1 AND closed IS NULL AND opened > now() - "
                   "make_interval(secs => $2::int)",
               {tunnel(), std::to_string(waiting_life_s)});
    std::set<std::int64_t> there;
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      const std::int64_t id = std::stoll(PQgetvalue(rows.get(), row, 0));
      there.insert(id);
      if (!known_.contains(id)) owner_.accept_stream(id, PQgetvalue(rows.get(), row, 1));
    }
    known_ = std::move(there);
  }

  void keep(DatabaseConnection& database) {
    database.run(
        "SELECT " + quoted_name(database.spec().schema) + ".keep(make_interval(secs => $1::int))",
        {std::to_string(owner_.spec_.postgres.keep_s)});
  }

  Postgres& owner_;
  const ConnectionFiles& files_;
  std::set<std::int64_t> known_;
  Fd bell_;
  std::thread thread_;
};

Postgres::Postgres(const Spec& spec, SecretFiles files, Events events)
    : spec_(spec), events_(std::move(events)), text_("the database "), files_(std::move(files)) {
  try {
    text_ += database_text(spec_.postgres.up.url);
  } catch (const DatabaseError& error) {
    throw std::runtime_error(error.what());
  }
  for (const auto& [parameter, file] : files_)
    paths_.emplace_back(parameter, "/proc/self/fd/" + std::to_string(file.get()));
  if (spec_.listener) acceptor_ = std::make_unique<PostgresAcceptor>(*this, paths_);
}

/// The acceptor first: it makes streams.
Postgres::~Postgres() {
  acceptor_.reset();
}

Fd Postgres::open_stream(int number) {
  return add_stream(new_stream_id(), spec_.node, number);
}

void Postgres::accept_stream(std::int64_t id, const std::string& dialer) {
  events_.on_stream(add_stream(id, dialer, 0), dialer);
}

Fd Postgres::add_stream(std::int64_t id, const std::string& dialer, int number) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot make a socket for a stream");
  Fd ours(ends[0]), theirs(ends[1]);
  for (const int fd : ends)
    (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &socket_bytes, sizeof socket_bytes);
  const StreamLog log{id,
                      !spec_.listener,
                      spec_.cluster + "/" + spec_.tunnel,
                      dialer,
                      number,
                      spec_.postgres.keep_s,
                      spec_.postgres.sync,
                      spec_.postgres.up,
                      spec_.postgres.down};
  const std::lock_guard lock(mutex_);
  std::erase_if(streams_, [](const auto& one) { return one->is_over(); });
  streams_.push_back(std::make_unique<PostgresStream>(
      log, paths_, std::move(ours), [this](const std::string& reason) { trouble(reason); }));
  return theirs;
}

/// Several threads see the same; it is reported once.
void Postgres::trouble(const std::string& reason) {
  {
    const std::lock_guard lock(trouble_mutex_);
    if (std::exchange(trouble_, reason) == reason) return;
  }
  events_.on_trouble(reason);
}

}  // namespace tunorch::worker
