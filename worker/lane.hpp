// One thread of the worker: one TUN queue and the live streams whose number, modulo the number of
// lanes, is this lane's. Lanes share nothing but what they post to each other and the packets in
// their relays.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "worker/buffer.hpp"
#include "worker/data_path.hpp"
#include "worker/handshake.hpp"
#include "worker/mailbox.hpp"
#include "worker/poller.hpp"
#include "worker/stream.hpp"

namespace tunorch::worker {

/// What a lane knows of one of its streams since the report before.
struct StreamReport {
  StreamId id;
  std::uint32_t rtt_us = 0;
  std::vector<bool> decisions;  // PINGs, in order: answered or lost
  Counters counters;            // since the stream began
  std::uint32_t cwnd_segments = 0;
  std::uint64_t queued_bytes = 0;  // that its socket has not sent yet, or not taken
};

struct LaneReport {
  std::vector<StreamReport> streams;
  Drops drops;                      // since the lane began
  std::uint64_t waiting_bytes = 0;  // of packets that find no room in their connection
};

class Lane final : public Connection::Owner {
 public:
  using Clock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  /// Called on the worker's own thread.
  class Owner {
   public:
    virtual void on_stream_up(StreamId stream) = 0;
    virtual void on_stream_down(StreamId stream, const Counters& last,
                                const std::string& reason) = 0;
    virtual void on_first_ping(StreamId stream) = 0;
    virtual void on_state(StreamId stream, const std::string& text) = 0;
    /// PINGs were lost: a report is due.
    virtual void on_lost_pings() = 0;
    virtual void on_report(const LaneReport& report) = 0;
    virtual void on_carried(DataPath::Carried carried) = 0;
    virtual void on_device_gone() = 0;

   protected:
    ~Owner() = default;
  };

  Lane(int number, const Fd& queue, const std::vector<std::unique_ptr<Lane>>& lanes,
       Mailbox& worker, Owner& owner);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  /// Once, when all lanes are made.
  void start();
  /// Its thread ends; before any lane is destroyed, all are stopped.
  void stop();

  // From the worker's thread. All but busy() happen some time later, in the order of the calls.
  void set_rules(std::shared_ptr<const PathRules> rules);
  void set_session(int peer, const SessionView& view, std::size_t sessions);
  void adopt(std::unique_ptr<Connection> connection);
  void send(StreamId stream, FrameType type, std::string text);
  /// Nothing happens where it is gone already; on_stream_down() is not called.
  void close(StreamId stream, std::string reason);
  void close_all(std::string reason);
  /// PINGs go out; each counts as lost after `timeout`.
  void ping(milliseconds timeout);
  void report();
  void carry(Fd queue, milliseconds limit);
  /// Whether connections of it are left, farewells included.
  bool busy() const { return connections_left_ > 0; }

  // Connection::Owner, on its own thread.
  void on_secured(Connection&) override {}
  void on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                std::size_t size) override;
  void on_frames_done(Connection&) override { path_.finish_delivery(); }
  void on_progress(Connection& connection) override;
  void on_drained(Connection&) override { path_.resume(); }
  void on_closed(Connection& connection, const std::string& reason) override;

 private:
  void run();
  void rest(Clock::time_point now);
  void serve(std::unique_ptr<Connection> connection);
  Stream* find(const StreamId& id);
  void let_go(Stream& stream, const std::string& reason);
  Stream& stream_of(const Connection& connection);
  void on_ping(Stream& stream, const std::uint8_t* payload);
  void on_state(Stream& stream, std::string_view text);
  void ping_all(milliseconds timeout);
  void watch_silence(Stream& stream, Clock::time_point now);
  void keep_queues_short(Stream& stream, Clock::time_point now);
  void expire_pings(Clock::time_point now);
  void make_report();
  void finish_carrying();
  void sweep(Clock::time_point now);
  Clock::time_point next_due() const;
  /// Posts a call of the owner's.
  template <class Call>
  void tell(Call call) {
    worker_.post([&owner = owner_, call = std::move(call)] { call(owner); });
  }

  int number_;
  const std::vector<std::unique_ptr<Lane>>& lanes_;
  Mailbox& worker_;
  Owner& owner_;
  Poller poller_;
  Mailbox mailbox_;
  Relay relay_;
  BlockPool pool_;
  std::vector<Relay*> relays_;  // of all lanes
  DataPath path_;
  std::vector<std::unique_ptr<Stream>> streams_;  // closing ones too
  std::deque<Clock::time_point> expiries_;        // when the PINGs of a beat count as lost
  milliseconds timeout_{};
  Clock::time_point last_beat_ = Clock::now();
  std::chrono::nanoseconds beats_apart_{};
  Clock::time_point carry_until_ = Clock::time_point::max();
  Clock::time_point next_sweep_ = Clock::time_point::max();
  Clock::time_point window_;  // of a millisecond,
  int turns_ = 0;             // the turns in it,
  bool wakes_often_ = false;  // and whether the one before had too many
  bool device_gone_told_ = false;
  bool stopping_ = false;
  std::atomic<std::size_t> connections_left_ = 0;
  std::thread thread_;
};

}  // namespace tunorch::worker
