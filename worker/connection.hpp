// One connection to a peer's worker: its channel, its two bounded buffers, and its life. Cuts the
// bytes into frames and queues frames to send; what a frame means is its owner's business. It lives
// on one thread at a time: greeted on the worker's own, then served by a lane.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "worker/buffer.hpp"
#include "worker/channel.hpp"
#include "worker/frame.hpp"
#include "worker/poller.hpp"

namespace tunorch::worker {

//  connecting ──▶ handshaking ──▶ greeting ──▶ greeted ──▶ live
//      │               │             │            │         │     any failure, EOF, close()
//      └───────────────┴─────────────┴────────────┴─────────┴────▶ closing ──▶ dead
enum class ConnectionState : std::uint8_t {
  connecting,   // dialer: TCP is under way
  handshaking,  // TLS is
  greeting,     // HELLO and CONFIG are
  greeted,      // they were well: to be handed to its lane
  live,         // packets flow
  closing,      // the last words are on their way; what still comes in is thrown away
  dead,         // to be swept up
};

class Connection final : public EventHandler {
 public:
  using Clock = std::chrono::steady_clock;

  class Owner {
   public:
    virtual void on_secured(Connection& connection) = 0;
    /// The payload may be changed in place; it stays until on_frames_done().
    virtual void on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                          std::size_t size) = 0;
    /// After one or some of them. The connection may have ended meanwhile.
    virtual void on_frames_done(Connection& connection) = 0;
    /// A full out-buffer has been sent.
    virtual void on_drained(Connection& connection) = 0;
    /// The socket took some of what it had no room for.
    virtual void on_progress(Connection&) {}
    /// Once, when it leaves the other states; not after close().
    virtual void on_closed(Connection& connection, const std::string& reason) = 0;

   protected:
    ~Owner() = default;
  };

  /// `channel` is over `socket`. `address` is for words only.
  Connection(Poller& poller, Fd socket, std::unique_ptr<Channel> channel, std::string address,
             ConnectionState state, Owner& owner);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void on_events(std::uint32_t events) override;

  /// The peer is verified. No frame is read until go_live().
  void greeted() { enter(ConnectionState::greeted); }
  /// Leaves its thread's loop, not from within a handler; the next call is go_live(), on another
  /// thread.
  void detach();
  /// Packets flow from now on, on this thread; its buffers come from the pool. What came in behind
  /// the greeting is read at once.
  void go_live(Poller& poller, BlockPool& pool, Owner& owner);
  /// Tells the peer why, and lets go. `on_closed` is not called.
  void close(const std::string& reason);
  /// Lets go without a word to the peer; `on_closed` is called with the reason.
  void fail(const std::string& reason);
  /// No longer waits for the peer's farewell.
  void abandon() { enter(ConnectionState::dead); }

  /// Queues a control frame and sends what can be sent; false where there is no room for it.
  bool send(FrameType type, std::string_view payload);

  /// Where max_data_bytes of a DATA payload can be put, or null until on_drained(): the socket has
  /// not taken all there was.
  std::uint8_t* landing();
  /// Makes a DATA frame of what was put there.
  void commit(std::size_t size);
  /// False if there is no room.
  bool append_data(const std::uint8_t* payload, std::size_t size);
  /// Enough is queued that sending pays.
  bool batch_is_full() const;
  /// Sends what the socket takes.
  void flush();

  /// Reads and hands over frames until the socket is empty, or for a bounded while: then
  /// `has_more` holds and it is to be called again soon.
  void read();
  bool has_more() const { return has_more_; }

  ConnectionState state() const { return state_; }
  bool is_live() const { return state_ == ConnectionState::live; }
  bool sends_pending() const { return !out_.empty() || channel_->sends_pending(); }
  /// What waits to be sent, here and in the socket.
  std::size_t queued_bytes() const;
  /// Bytes moved since the last call, either way.
  std::uint64_t take_moved() { return std::exchange(moved_, 0); }
  /// Whether anything came since the last call.
  bool take_heard() { return std::exchange(heard_, false); }
  /// Keeps the channel's own buffers only while they are in use: for a connection that moves
  /// little.
  void set_lean(bool lean) { channel_->set_lean(lean); }
  /// So much may lie unsent in the socket; what is more waits here, and data has no room.
  void set_unsent_limit(std::size_t bytes);
  int fd() const { return socket_.get(); }
  const std::string& address() const { return address_; }
  Clock::time_point since() const { return since_; }  // of its present state
  std::vector<std::string> peer_names() const { return channel_->peer_names(); }
  std::string certificate() const { return channel_->certificate(); }

  int peer = -1;             // index of the owner's; -1 until HELLO
  int stream = 0;            // of the peer's session
  std::uint64_t serial = 0;  // the worker's number of it
  int version = 1;           // of the wire, as agreed

 private:
  void enter(ConnectionState state);
  void finish_connecting();
  void step_handshake();
  void step_closing();
  bool queue(FrameType type, std::string_view payload);
  bool reads() const {
    return state_ == ConnectionState::greeting || state_ == ConnectionState::live;
  }
  void read_records();
  bool consume();
  bool hand_over_frames();
  bool write_out();
  bool socket_is_full() const;
  void on_end(IoResult result, const char* doing);
  void update_interest();

  Poller* poller_;
  Owner* owner_;
  Fd socket_;
  std::unique_ptr<Channel> channel_;
  std::string address_;
  ConnectionState state_;
  Clock::time_point since_;
  Buffer in_, out_;
  std::uint64_t moved_ = 0;
  std::size_t batch_bytes_;
  std::uint32_t interest_;
  bool wants_write_ = false;
  bool has_more_ = false;
  bool reading_ = false;
  bool heard_ = false;
  bool blocked_ = false;   // the socket did not take all
  bool was_full_ = false;  // and its owner waits for room
  bool took_some_ = false;
};

}  // namespace tunorch::worker
