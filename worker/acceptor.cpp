#include "worker/acceptor.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "worker/outer_socket.hpp"

namespace tunorch::worker {
namespace {

constexpr int accepts_a_turn = 16;

Fd spare_descriptor() {
  return Fd(::dup(STDIN_FILENO));
}

}  // namespace

Acceptor::Acceptor(Poller& poller, const std::vector<Fd>& listening, ConnectionMaker& maker)
    : poller_(poller), maker_(maker), spare_(spare_descriptor()) {
  for (const Fd& fd : listening) {
    sockets_.push_back(std::make_unique<Socket>(*this, fd.get()));
    poller_.add(fd.get(), EPOLLIN, *sockets_.back());
  }
}

Acceptor::~Acceptor() {
  for (const auto& socket : sockets_) poller_.remove(socket->fd());
}

void Acceptor::accept(int listening) {
  for (int i = 0; i < accepts_a_turn; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    Fd socket(::accept4(listening, reinterpret_cast<sockaddr*>(&address), &size,
                        SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      if (errno != EMFILE && errno != ENFILE) return;
      // Out of descriptors the connection would stay in the queue and wake us for ever: with the
      // spare one it is taken and let go.
      spare_ = Fd();
      Fd refused(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
      refused = Fd();
      spare_ = spare_descriptor();
      return;
    }
    // Whoever only holds connections open has the oldest ones, so a real node still gets in.
    const std::string host = host_text(address);
    if (maker_.half_open_from(host) >= max_half_open_from_one)
      maker_.end_oldest_half_open(host);
    else if (maker_.half_open() >= max_half_open)
      maker_.end_oldest_half_open("");
    maker_.make_connection(std::move(socket), address_text(address), 0,
                           ConnectionState::handshaking);
  }
}

}  // namespace tunorch::worker
