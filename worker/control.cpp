#include "worker/control.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace tunorch::worker {
namespace {

constexpr std::size_t max_daemons = 4;
constexpr std::size_t max_fds = 64;
constexpr int requests_a_turn = 16;

/// Root in our user namespace; nobody else has business here.
bool is_root(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

std::vector<Fd> fds_of(msghdr& message) {
  std::vector<Fd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

std::optional<Request> parse_request(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  try {
    return json.get<Request>();
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

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
  for (const auto& daemon : daemons_) daemon->send(report, fds, report.event == "heartbeat");
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

/// False where there is nothing more.
bool Control::Daemon::receive() {
  const ssize_t size = ::recv(socket_.get(), nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (size <= 0 || static_cast<std::size_t>(size) > max_control_packet) {
    ended = true;
    return false;
  }
  std::vector<char> text(static_cast<std::size_t>(size));
  iovec data{text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(max_fds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != size) {
    ended = true;
    return false;
  }
  std::vector<Fd> fds = fds_of(message);
  if (const auto request = parse_request({text.data(), text.size()}))
    control_.owner_.on_request(*request, std::move(fds));
  else
    ended = true;  // no daemon of ours
  return true;
}

bool Control::Daemon::send(const Report& report, const std::vector<int>& fds, bool droppable) {
  if (ended) return false;
  const std::string text =
      nlohmann::json(report).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  iovec data{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(max_fds * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return true;
  if (!(droppable && errno == EAGAIN)) ended = true;
  return false;
}

}  // namespace tunorch::worker
