#include "worker/channel.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace tunorch::worker {

IoResult PlainChannel::waits_or_fails(IoResult wait) {
  if (errno == EAGAIN) return wait;
  socket_error_ = errno;
  return IoResult::failed;
}

IoResult PlainChannel::read(std::uint8_t* to, std::size_t size, std::size_t& got) {
  const ssize_t bytes = ::recv(fd_, to, size, MSG_DONTWAIT);
  if (bytes == 0) return IoResult::closed;
  if (bytes < 0) return waits_or_fails(IoResult::want_read);
  got = static_cast<std::size_t>(bytes);
  return IoResult::done;
}

IoResult PlainChannel::write(const std::uint8_t* from, std::size_t size, std::size_t& taken) {
  const ssize_t bytes = ::send(fd_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (bytes < 0) return waits_or_fails(IoResult::want_write);
  taken = static_cast<std::size_t>(bytes);
  return IoResult::done;
}

}  // namespace tunorch::worker
