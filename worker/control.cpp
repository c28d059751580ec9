#include "worker/control.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "base/scm_rights.hpp"

namespace tunorch::worker {
namespace {

constexpr std::size_t max_daemons = 4;
constexpr int requests_a_turn = 16;

/// Root in our user namespace; others are refused.
bool is_root(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

}  // namespace

Control::Control(Poller& poller, Fd listening, Owner& owner)
    : poller_(poller), listening_(std::move(listening)), owner_(owner) {
  poller_.add(listening_.get(), EPOLLIN, *this);
}

Control::~Control() {
  poller_.remove(listening_.get());
}

void Control::on_events(std::uint32_t) {
  Fd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid() || daemons_.size() >= max_daemons || !is_root(socket.get())) return;
  daemons_.push_back(std::make_unique<Daemon>(*this, std::move(socket)));
  Daemon& daemon = *daemons_.back();
  daemon.send(owner_.hello(), {}, false);
  for (const Report& report : owner_.replay()) daemon.send(report, {}, false);
}

void Control::tell(const Report& report, const std::vector<int>& fds) {
  for (const auto& daemon : daemons_)
    daemon->send(report, fds, report.event == ReportKind::heartbeat);
}

void Control::sweep() {
  std::erase_if(daemons_, [](const auto& daemon) { return daemon->ended; });
}

Control::Daemon::Daemon(Control& control, Fd socket)
    : control_(control), socket_(std::move(socket)) {
  control_.poller_.add(socket_.get(), EPOLLIN, *this);
}

Control::Daemon::~Daemon() {
  control_.poller_.remove(socket_.get());
}

void Control::Daemon::on_events(std::uint32_t) {
  for (int i = 0; i < requests_a_turn && !ended; ++i)
    if (!receive()) return;
}

/// False if there is nothing more.
bool Control::Daemon::receive() {
  FdPacket packet;
  switch (receive_packet(socket_.get(), max_control_packet, packet)) {
    case Received::nothing:
      return false;
    case Received::closed:
      ended = true;
      return false;
    case Received::packet:
      break;
  }
  try {
    control_.owner_.on_request(parse_request(packet.text()), std::move(packet.fds));
  } catch (const BadMessage&) {
    ended = true;  // not a tunorch daemon
  }
  return true;
}

bool Control::Daemon::send(const Report& report, const std::vector<int>& fds, bool droppable) {
  if (ended) return false;
  if (send_packet(socket_.get(), to_packet(report), fds)) return true;
  if (!(droppable && errno == EAGAIN)) ended = true;
  return false;
}

}  // namespace tunorch::worker
