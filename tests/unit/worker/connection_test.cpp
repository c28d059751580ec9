#include "worker/connection.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>

#include "worker/handshake.hpp"

namespace tunorch::worker {
namespace {

/// A peer that says everything in one go, and then takes nothing any more.
class AbruptPeer final : public Channel {
 public:
  std::string says;
  bool broken = false;
  int reads = 0;

  IoResult handshake() override { return IoResult::done; }
  IoResult read(std::uint8_t* to, std::size_t size, std::size_t& got) override {
    ++reads;
    if (says.empty()) return broken ? IoResult::closed : IoResult::want_read;
    got = std::min(size, says.size());
    std::memcpy(to, says.data(), got);
    says.erase(0, got);
    return IoResult::done;
  }
  IoResult write(const std::uint8_t*, std::size_t size, std::size_t& taken) override {
    taken = size;
    return broken ? IoResult::failed : IoResult::done;
  }
  IoResult flush() override { return broken ? IoResult::failed : IoResult::done; }
  bool sends_pending() const override { return false; }
  std::vector<std::string> peer_names() const override { return {}; }
  const std::string& error() const override { return error_; }
  int socket_error() const override { return 0; }

 private:
  std::string error_ = "broken";
};

/// Keeps DATA where it lies until it is told that the frames are done, as the data path does.
struct Keeper final : Connection::Owner {
  AbruptPeer* peer = nullptr;
  const std::uint8_t* data = nullptr;
  int reads_before = 0;
  int read_meanwhile = 0, ended = 0;

  void on_secured(Connection&) override {}
  void on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                std::size_t) override {
    if (type == FrameType::hello) connection.greeted();
    if (type == FrameType::ping) connection.send(FrameType::pong, std::string(ping_bytes, '\0'));
    if (type != FrameType::data) return;
    data = payload;
    reads_before = peer->reads;
  }
  void on_frames_done(Connection&) override {
    if (data) read_meanwhile += peer->reads - reads_before;
    data = nullptr;
  }
  void on_drained(Connection&) override {}
  void on_closed(Connection&, const std::string&) override { ++ended; }
};

std::string frame(FrameType type, std::size_t size) {
  std::string bytes(frame_header_bytes + size, '\0');
  write_frame_header(reinterpret_cast<std::uint8_t*>(bytes.data()),
                     {type, static_cast<std::uint32_t>(size)});
  return bytes;
}

TEST(Connection, KeepsTheFramesBehindAGreetingWhileTheirAnswerCannotBeSent) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  const Fd other(pair[1]);
  auto channel = std::make_unique<AbruptPeer>();
  Keeper keeper;
  AbruptPeer& peer = *(keeper.peer = channel.get());
  peer.says = frame(FrameType::hello, 2) + frame(FrameType::data, 64) +
              frame(FrameType::ping, ping_bytes) + frame(FrameType::data, 64);
  Poller greeting, living;
  BlockPool pool(192 * 1024);
  Connection connection(greeting, Fd(pair[0]), std::move(channel), "test",
                        ConnectionState::handshaking, keeper);
  connection.on_events(EPOLLIN);
  ASSERT_EQ(connection.state(), ConnectionState::greeted);
  ASSERT_EQ(keeper.data, nullptr) << "nothing before the greeting is over";
  connection.detach();
  peer.broken = true;
  connection.go_live(living, pool, keeper);
  EXPECT_EQ(keeper.read_meanwhile, 0) << "a read moves or frees what the owner still has";
  EXPECT_EQ(keeper.ended, 1);
}

}  // namespace
}  // namespace tunorch::worker
