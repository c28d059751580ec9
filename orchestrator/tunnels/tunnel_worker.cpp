#include "orchestrator/tunnels/tunnel_worker.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <random>
#include <sstream>
#include <system_error>

#include "orchestrator/config/engines.hpp"

namespace tunorch {
namespace {

using std::chrono::seconds;

constexpr seconds stop_limit{3};

double jitter() {
  static std::mt19937 engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

}  // namespace

std::string ProcessFile::text() const {
  return fmt::format("{} {} {}\n", id.text(), to_string(engine), digest);
}

/// One that names no engine is of our own worker: others came later.
std::optional<ProcessFile> ProcessFile::parse(const std::string& text) {
  const auto id = ProcessId::parse(text);
  if (!id) return std::nullopt;
  ProcessFile file{*id, Engine::native, ""};
  std::istringstream in(text);
  std::string pid, ticks, engine;
  in >> pid >> ticks >> engine >> file.digest;
  file.engine = engine_of(engine);
  return file;
}

TunnelWorker::TunnelWorker(WorkerHost& host, std::string tunnel, Owner& owner)
    : host_(host),
      tunnel_(std::move(tunnel)),
      owner_(owner),
      output_(tunnel_, host_.paths.worker_log(tunnel_)),
      due_timer_(host.io),
      kill_timer_(host.io) {}

void TunnelWorker::configure(const DesiredTunnel& wanted) {
  lifecycle_.set_options(wanted.restart);
  health_ = wanted.health;
  failback_ = wanted.failback;
  listener_ = wanted.spec.listener;
  for (auto& [peer, path] : paths_) path.configure(health_, failback_, probe_words());
}

PathHealth& TunnelWorker::path(const std::string& peer) {
  const auto [found, fresh] = paths_.try_emplace(peer);
  if (fresh) found->second.configure(health_, failback_, probe_words());
  return found->second;
}

void TunnelWorker::on(WorkerEvent event) {
  lifecycle_.on(event, Clock::now(), jitter());
  due_timer_.cancel();
  if (lifecycle_.state() != WorkerState::backoff) return;
  due_timer_.expires_at(lifecycle_.due_at());
  due_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    on(WorkerEvent::due);
    owner_.changed(*this);
  });
}

void TunnelWorker::start(const DesiredTunnel& wanted) {
  configure(wanted);
  make_dir(host_.paths.workers());
  // Others pass to their own folders, whatever umask a unit gives us.
  std::filesystem::permissions(host_.paths.workers(), std::filesystem::perms(0711));
  try {
    launch(wanted);
  } catch (...) {
    if (process_) kill_process(*process_);
    forget_process();
    throw;
  }
  on(WorkerEvent::start);
  watch_exit();
  host_.events.add({"worker_started", tunnel_, "", "pid " + std::to_string(pid())});
}

void TunnelWorker::launched(Process process, const std::string& digest) {
  process_ = std::move(process);
  hung_ = false;
  serves(digest);
}

void TunnelWorker::serves(const std::string& digest) {
  digest_ = digest;
  write_whole(host_.paths.worker_process(tunnel_),
              ProcessFile{process_->id, engine(), digest}.text());
}

void TunnelWorker::start_failed(const std::string& reason) {
  reason_ = reason;
  on(WorkerEvent::start);
  on(WorkerEvent::exited);
  host_.events.add({"worker_ended", tunnel_, "", "it cannot start: " + reason});
}

void TunnelWorker::change(const DesiredTunnel& wanted) {
  configure(wanted);
  stop();
}

void TunnelWorker::stop() {
  on(WorkerEvent::stop);
  if (lifecycle_.state() != WorkerState::stopping) return;
  ask_to_stop();
  kill_timer_.expires_after(stop_limit);
  kill_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && process_) kill_process(*process_);
  });
}

bool TunnelWorker::adopt() {
  const auto file = ProcessFile::parse(read_text(host_.paths.worker_process(tunnel_)).value_or(""));
  if (!file) return false;
  process_ = adopt_process(file->id);
  digest_ = file->digest;
  output_.resume(process_ ? 0 : WorkerOutput::last_bytes);
  if (!process_ || !reach()) {
    if (process_) kill_process(*process_);
    forget_process();
    return false;
  }
  on(WorkerEvent::start);
  on(WorkerEvent::ready);
  watch_exit();
  host_.events.add({"worker_adopted", tunnel_, "", "pid " + std::to_string(pid())});
  return true;
}

// ---- its end ----

void TunnelWorker::watch_exit() {
  const int copy = ::fcntl(process_->pidfd.get(), F_DUPFD_CLOEXEC, 0);
  exit_watch_.emplace(host_.io, copy);
  exit_watch_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this, pid = pid()](const boost::system::error_code& error) {
                            // It may have been queued when another took that one's place.
                            if (!error && pid == this->pid()) exited();
                          });
}

void TunnelWorker::exited() {
  const auto now = Clock::now();
  const bool asked = lifecycle_.state() == WorkerState::stopping;
  std::string how = exit_reason(*process_);
  // One that was killed had no time to say anything about it.
  if (!asked && !how.starts_with("killed"))
    if (const std::string words = last_words(how); !words.empty()) how += ": " + words;
  // What the worker said last explains more than how it ended, unless it was killed by others.
  if (reason_.empty() || (how.starts_with("killed") && !killed_)) reason_ = how;
  on(WorkerEvent::exited);
  sessions_.clear();
  for (auto& [peer, path] : paths_) path.session_down(asked, now);
  const std::string ended = std::to_string(pid());
  // Traffic waits for the routes, and nothing for what is to be cleared away; a `down` does.
  if (!asked) owner_.changed(*this);
  forget_process();
  if (asked) owner_.changed(*this);
  owner_.ended(*this);
  host_.events.add({"worker_ended", tunnel_, "",
                    "pid " + ended + (asked ? ": it was asked to" : ": " + reason_)});
  if (asked) reason_.clear();
  if (lifecycle_.state() == WorkerState::quarantined)
    host_.events.add(
        {"worker_quarantined", tunnel_, "",
         std::to_string(lifecycle_.restarts()) + " restarts: apply again to try once more"});
}

void TunnelWorker::forget_process() {
  kill_timer_.cancel();
  exit_watch_.reset();
  process_.reset();
  digest_.clear();
  killed_ = false;
  passing_.clear();
  std::error_code ignored;
  std::filesystem::remove(host_.paths.worker_process(tunnel_), ignored);
  forget();
  output_.finish();
}

std::string TunnelWorker::last_words(const std::string&) {
  const std::vector<std::string> lines = output_.last_lines();
  return lines.empty() ? "" : lines.back().substr(0, max_words);
}

/// Killed first: it must not wake and send what another worker is about to send.
void TunnelWorker::hangs(const std::string& how) {
  host_.events.add({"worker_hangs", tunnel_, "", how});
  reason_ = "it hung: " + how;
  killed_ = hung_ = true;
  kill_process(*process_);
}

// ---- its health ----

void TunnelWorker::check(Clock::time_point now, bool forgive) {
  bool changed = false;
  for (auto& [peer, path] : paths_) {
    const TunnelHealth before = path.health();
    path.refresh(now);
    changed = changed || path.health() != before;
  }
  if (changed) owner_.changed(*this);
  if (process_ && !killed_) watch(now, forgive);
  output_.pass_on(now);
  // While it starts, the line that says it is ready may be anywhere in it.
  if (lifecycle_.state() != WorkerState::starting) output_.trim();
}

TunnelHealth TunnelWorker::health(const std::string& peer) const {
  const auto found = paths_.find(peer);
  if (lifecycle_.alive() && found != paths_.end()) return found->second.health();
  return {Health::down, false};
}

Outage TunnelWorker::outage(const std::string& peer) const {
  if (hung_) return Outage::worker_hangs;
  const WorkerState state = lifecycle_.state();
  if (state == WorkerState::stopping || state == WorkerState::stopped) return Outage::other;
  if (!lifecycle_.alive()) return Outage::worker_ended;
  const auto found = paths_.find(peer);
  return found == paths_.end() || found->second.blames_peer() ? Outage::peer : Outage::path;
}

std::string TunnelWorker::reason() const {
  if (!reason_.empty()) return reason_;
  if (!passing_.empty()) return passing_;
  for (const auto& [peer, path] : paths_)
    if (path.health().state != Health::up && !path.reason().empty()) return path.reason();
  return "";
}

}  // namespace tunorch
