#include "orchestrator/tunnels/worker_link.hpp"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <system_error>

namespace tunorch {
namespace {

constexpr int send_buffer_bytes = 2 * worker::max_control_packet;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    fail("cannot use socket " + text + ": choose a shorter --runtime-dir");
  }
  std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  return address;
}

Fd new_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) fail("cannot make a unix socket");
  return fd;
}

/// They go into logs and to terminals; a worker that was taken over says what it likes.
std::string one_line(std::string words) {
  constexpr std::size_t most = 1000;
  if (words.size() > most) words.resize(most);
  std::ranges::replace_if(
      words, [](unsigned char c) { return c < ' ' || c == 127; }, '?');
  return words;
}

Fd connect_to(const std::filesystem::path& path) {
  Fd fd = new_socket();
  // A listener's spec grows with its dialers; one packet must hold it.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer_bytes, sizeof(int));
  const sockaddr_un address = address_of(path);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("cannot reach the worker at " + path.string());
  return fd;
}

}  // namespace

Fd listen_for_daemons(const std::filesystem::path& path) {
  Fd fd = new_socket();
  const sockaddr_un address = address_of(path);
  ::unlink(path.c_str());
  const mode_t old_mask = ::umask(0077);
  const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(old_mask);
  if (bound != 0 || ::listen(fd.get(), 4) != 0) fail("cannot listen on " + path.string());
  return fd;
}

std::optional<worker::Report> read_report(std::string_view text) {
  try {
    worker::Report report = worker::parse_report(text);
    for (std::string* words : {&report.peer, &report.address, &report.reason})
      *words = one_line(std::move(*words));
    return report;
  } catch (const BadMessage& error) {
    spdlog::warn("cannot parse a worker's report: {}", error.what());
    return std::nullopt;
  }
}

WorkerLink::WorkerLink(boost::asio::io_context& io, const std::filesystem::path& path)
    : socket_(io, connect_to(path).release()) {}

void WorkerLink::send(worker::Request request, const std::vector<int>& fds) {
  request.protocol = protocol_;
  if (!send_packet(socket_.native_handle(), to_packet(request), fds))
    fail("cannot send '" + std::string(to_string(request.op)) + "' to the worker");
}

Received WorkerLink::receive(worker::Report& report, std::vector<Fd>& fds) {
  const Received received =
      receive_packet(socket_.native_handle(), worker::max_control_packet, packet_);
  if (received != Received::packet) return received;
  fds = std::move(packet_.fds);
  auto said = read_report(packet_.text());
  if (!said) return Received::closed;
  report = std::move(*said);
  return Received::packet;
}

std::optional<worker::Report> WorkerLink::receive_within(std::chrono::milliseconds limit) {
  pollfd wait{socket_.native_handle(), POLLIN, 0};
  if (::poll(&wait, 1, static_cast<int>(limit.count())) <= 0) return std::nullopt;
  worker::Report report;
  std::vector<Fd> fds;
  if (receive(report, fds) != Received::packet) return std::nullopt;
  return report;
}

void WorkerLink::watch(OnReport on_report, std::function<void()> on_closed) {
  on_report_ = std::move(on_report);
  on_closed_ = std::move(on_closed);
  wait();
}

void WorkerLink::wait() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this, alive = alive_](const boost::system::error_code& error) {
                       if (error || !*alive) return;
                       if (receive_all())
                         wait();
                       else if (*alive)
                         std::exchange(on_closed_, nullptr)();  // it may destroy this object
                     });
}

bool WorkerLink::receive_all() {
  const auto alive = alive_;
  constexpr int batch = 64;  // then other events have their turn
  for (int i = 0; i < batch; ++i) {
    worker::Report report;
    std::vector<Fd> fds;
    switch (receive(report, fds)) {
      case Received::nothing:
        return true;
      case Received::closed:
        return false;
      case Received::packet:
        on_report_(report, std::move(fds));
        if (!*alive) return false;
    }
  }
  return true;
}

}  // namespace tunorch
