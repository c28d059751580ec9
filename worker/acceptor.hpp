// The listener's role: accepts connections, within limits that hold before anybody has shown a
// certificate. Who they are is found out later.
#pragma once

#include <memory>
#include <vector>

#include "worker/connection_maker.hpp"
#include "worker/poller.hpp"

namespace tunorch::worker {

/// Handshakes under way at once, in all and from one source address.
inline constexpr std::size_t max_half_open = 64, max_half_open_from_one = 16;

class Acceptor {
 public:
  Acceptor(Poller& poller, const std::vector<Fd>& listening, ConnectionMaker& maker);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

 private:
  class Socket final : public EventHandler {
   public:
    Socket(Acceptor& acceptor, int fd) : acceptor_(acceptor), fd_(fd) {}
    void on_events(std::uint32_t) override { acceptor_.accept(fd_); }
    int fd() const { return fd_; }

   private:
    Acceptor& acceptor_;
    int fd_;
  };

  void accept(int listening);

  Poller& poller_;
  ConnectionMaker& maker_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  Fd spare_;  // given up for a moment when descriptors run out
};

}  // namespace tunorch::worker
