#include "base/scm_rights.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace tunorch {
namespace {

/// cmsg(3): what a cmsghdr and the most file descriptors take.
struct alignas(cmsghdr) Control {
  char bytes[CMSG_SPACE(max_packet_fds * sizeof(int))];
};

void take_fds(msghdr& message, std::vector<Fd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

bool send_packet(int socket, std::string_view text, const std::vector<int>& fds) {
  if (fds.size() > max_packet_fds) {
    errno = EINVAL;
    return false;
  }
  iovec data{const_cast<char*>(text.data()), text.size()};
  Control control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

Received receive_packet(int socket, std::size_t most, FdPacket& packet) {
  packet.fds.clear();
  const ssize_t size = ::recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Received::nothing;
  if (size <= 0 || static_cast<std::size_t>(size) > most) return Received::closed;
  packet.bytes.resize(static_cast<std::size_t>(size));
  iovec data{packet.bytes.data(), packet.bytes.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got >= 0) take_fds(message, packet.fds);
  return got == size ? Received::packet : Received::closed;
}

}  // namespace tunorch
