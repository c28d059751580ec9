#include "orchestrator/daemon/web_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <system_error>

#include "orchestrator/config/reserved.hpp"
#include "version.hpp"

namespace tunorch {
namespace {

constexpr int backlog = 64;
constexpr std::chrono::seconds end_limit{1};

/// Also at an address that is not there yet: apply makes it, or another program does (IP_FREEBIND,
/// ip(7), works for IPv6 too).
Fd listen_at(const SocketAddress& where) {
  const auto fail = [&](int error) {
    throw std::system_error(
        error, std::generic_category(),
        fmt::format("cannot listen on {}; give another address under metrics", where.text()));
  };
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(where.address.c_str(), std::to_string(where.port).c_str(), &hints, &found) != 0)
    fail(EINVAL);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> holder(found, ::freeaddrinfo);
  Fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) fail(errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0)
    fail(errno);
  return fd;
}

std::optional<ProcessFile> process_file(const Paths& paths) {
  return ProcessFile::parse(read_text(paths.web_process()).value_or(""));
}

/// As digest() begins: "ADDRESS|PORT|".
std::optional<SocketAddress> listens_at(const std::string& digest) {
  std::istringstream parts(digest);
  SocketAddress listens;
  std::string port;
  if (!std::getline(parts, listens.address, '|') || !std::getline(parts, port, '|'))
    return std::nullopt;
  listens.port = static_cast<std::uint16_t>(std::atoi(port.c_str()));
  return listens;
}

}  // namespace

std::optional<SocketAddress> running_page(const Paths& paths) {
  const auto file = process_file(paths);
  return file && adopt_process(file->id) ? listens_at(file->digest) : std::nullopt;
}

void WebProcess::want(const std::optional<SocketAddress>& listen) {
  wanted_ = listen;
  retry_.cancel();
  lifecycle_.on(WorkerEvent::reset, TunnelWorker::Clock::now());
  settle();
}

std::optional<PageState> WebProcess::status() const {
  if (!wanted_) return std::nullopt;
  return PageState{wanted_->text(), process_ ? process_->id.pid : 0, reason_};
}

void WebProcess::settle() {
  if (process_ && (!wanted_ || digest_ != digest())) end();
  if (wanted_ && lifecycle_.state() == WorkerState::stopped) start();
}

void WebProcess::start() {
  lifecycle_.on(WorkerEvent::start, TunnelWorker::Clock::now());
  try {
    const Fd listening = listen_at(*wanted_);
    process_ = launch_web(host_.io.get_executor(), host_.executable.parent_path() / "tunorch-web",
                          host_.paths.control_socket(), web_uid, group(), listening.get());
    digest_ = digest();
    write_whole(host_.paths.web_process(),
                ProcessFile{process_->id, Engine::native, digest_}.text());
    watch();
  } catch (const std::exception& error) {
    if (process_) end();
    return failed(error.what());
  }
  lifecycle_.on(WorkerEvent::ready, TunnelWorker::Clock::now());
  reason_.clear();
  host_.events.add({"web_started", "", "", "http://" + wanted_->text() + "/"});
}

void WebProcess::adopt() {
  const auto file = process_file(host_.paths);
  process_ = file ? adopt_process(file->id) : std::nullopt;
  if (!process_) return remove_whole(host_.paths.web_process());
  digest_ = file->digest;
  wanted_ = listens_at(digest_);
  lifecycle_.on(WorkerEvent::start, TunnelWorker::Clock::now());
  lifecycle_.on(WorkerEvent::ready, TunnelWorker::Clock::now());
  try {
    watch();
  } catch (const std::exception&) {
    end();  // out of descriptors: another is started
  }
  settle();
}

/// It keeps nothing that would have to be saved.
void WebProcess::end() {
  exit_watch_.reset();
  kill_process(*process_);
  (void)ended_within(*process_, end_limit);  // its port is to be free
  (void)exit_reason(*process_);              // and its parent has to ask
  process_.reset();
  remove_whole(host_.paths.web_process());
  lifecycle_.on(WorkerEvent::stop, TunnelWorker::Clock::now());
  lifecycle_.on(WorkerEvent::exited, TunnelWorker::Clock::now());
}

void WebProcess::watch() {
  exit_watch_.emplace(host_.io, ::fcntl(process_->pidfd.get(), F_DUPFD_CLOEXEC, 0));
  exit_watch_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this, pid = process_->id.pid](const boost::system::error_code& error) {
                            // It may have been queued when another took that one's place.
                            if (error || !process_ || process_->id.pid != pid) return;
                            const std::string how = exit_reason(*process_);
                            process_.reset();
                            remove_whole(host_.paths.web_process());
                            failed("tunorch-web " + how);
                          });
}

void WebProcess::failed(const std::string& reason) {
  if (reason_ != reason) host_.events.add({"web_failed", "", "", reason});
  reason_ = reason;
  lifecycle_.on(WorkerEvent::exited, TunnelWorker::Clock::now());
  retry_.expires_at(lifecycle_.due_at());
  retry_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    lifecycle_.on(WorkerEvent::due, TunnelWorker::Clock::now());
    settle();
  });
}

/// What it was started with: another is started where that differs.
std::string WebProcess::digest() const {
  return fmt::format("{}|{}|{}|{}", wanted_->address, wanted_->port, group(), TUNORCH_VERSION);
}

/// Of the control socket: who may ask for the status.
std::uint32_t WebProcess::group() const {
  struct stat socket {};
  return ::stat(host_.paths.control_socket().c_str(), &socket) == 0 && socket.st_gid != 0
             ? socket.st_gid
             : web_uid;
}

}  // namespace tunorch
