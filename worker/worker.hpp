// One tunnel's worker: greets its peers, hands their connections to its lanes, and keeps account of
// the sessions. The two roles differ in how connections come about (acceptor.hpp, dialer.hpp); from
// the greeting on they are the same.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/acceptor.hpp"
#include "worker/connection.hpp"
#include "worker/control.hpp"
#include "worker/dialer.hpp"
#include "worker/handshake.hpp"
#include "worker/lane.hpp"
#include "worker/mailbox.hpp"
#include "worker/peer.hpp"
#include "worker/poller.hpp"
#include "worker/postgres.hpp"
#include "worker/tls.hpp"

namespace tunorch::worker {

class Worker final : public Control::Owner,
                     public Connection::Owner,
                     public ConnectionMaker,
                     public Lane::Owner {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Worker(Fd control_socket);
  ~Worker();
  /// Serves until it is asked to stop; returns the exit status.
  int run();

  // Control::Owner
  void on_request(const Request& request, std::vector<Fd> fds) override;
  std::vector<Report> replay() const override;
  Report hello() const override;

  // Connection::Owner, until a lane has it
  void on_secured(Connection& connection) override;
  void on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                std::size_t size) override;
  void on_frames_done(Connection&) override {}
  void on_drained(Connection&) override {}
  void on_closed(Connection& connection, const std::string& reason) override;

  // ConnectionMaker
  Fd open_way(int stream) override;
  std::string way_text() const override;
  Connection* make_connection(Fd socket, const std::string& address, int stream,
                              ConnectionState state) override;
  void refused(const std::string& peer, const std::string& address,
               const std::string& reason) override;
  std::size_t half_open() const override;
  std::size_t half_open_from(const std::string& host) const override;
  void end_oldest_half_open(const std::string& host) override;

  // Lane::Owner
  void on_stream_up(StreamId id) override;
  void on_stream_down(StreamId id, const Counters& last, const std::string& reason) override;
  void on_first_ping(StreamId id) override;
  void on_state(StreamId id, const std::string& text) override;
  void on_lost_pings() override;
  void on_report(const LaneReport& report) override;
  void on_carried(DataPath::Carried carried) override;
  void on_device_gone() override { give_up("the device was deleted"); }

 private:
  void start(const Request& request, std::vector<Fd> fds, SecretFiles secrets);
  void open_database(SecretFiles files);
  void make_lanes();
  void update(const Request& request, const SecretFiles& secrets);
  void hand_over_fds();
  void tell(const Request& request);
  void carry(std::vector<Fd> queues);
  void stop(const std::string& reason);
  void give_up(const std::string& reason);

  Connection* add_connection(Fd socket, std::unique_ptr<Channel> channel,
                             const std::string& address, int stream, ConnectionState state);
  void on_database_stream(Fd socket, const std::string& dialer);
  void on_database_trouble(const std::string& reason);
  Report trouble_report() const;
  void take_keys(Spec spec, const SecretFiles& secrets);
  void drop_revoked();
  void tell_ready();
  void on_hello(Connection& connection, std::string_view text);
  void on_config(Connection& connection, std::string_view text);
  void greet(Connection& connection, Peer& peer, int streams, const Offloads& offloads);
  void hand_over();
  void drop_stream(Peer& peer, int stream, const std::string& reason);
  void end_stream(Peer& peer, int stream, const Counters& last, const std::string& reason);
  void publish(Peer& peer);
  void publish_rules();
  void agree_on_offloads();
  void announce(Peer& peer);
  Peer& peer_of(const StreamId& id) { return peers_[static_cast<std::size_t>(id.peer)]; }
  int number_of(const Peer& peer) const { return static_cast<int>(&peer - peers_.data()); }
  Peer* find_peer(const std::string& node);
  PeerStream* find_stream(const StreamId& id);
  Lane& lane_of(int stream);
  std::size_t sessions() const;
  bool lanes_busy() const;
  Report report(ReportKind event, const Peer& peer, const std::string& reason = "") const;

  void beat(Clock::time_point now);
  void gather();
  void gathered();
  void give_up_silent_streams(Peer& peer);
  void tell_heartbeat();
  void check_deadlines(Clock::time_point now);
  Clock::time_point next_due() const;

  Poller poller_;
  Control control_;
  Clock::time_point started_ = Clock::now();
  std::optional<Spec> spec_;
  std::optional<TlsContext> tls_;
  std::vector<Fd> queues_, listening_;
  Offloads offloads_, wanted_offloads_;  // in force; the most there can be
  bool carrier_ = false;
  std::vector<Peer> peers_;                               // by number; numbers are not used again
  std::vector<std::unique_ptr<Connection>> connections_;  // that no lane has yet
  std::uint64_t last_serial_ = 0;
  Mailbox mailbox_{poller_};
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<Postgres> postgres_;
  std::string trouble_;  // of the database; empty: it answers
  bool ready_ = false;
  std::optional<Acceptor> acceptor_;
  std::optional<Dialer> dialer_;
  Clock::time_point next_beat_{};
  int reports_due_ = 0;        // of lanes, before the heartbeat is sent
  bool gather_again_ = false;  // a loss was reported since they were asked
  Drops drops_;                // as the reports so far add up
  std::uint64_t waiting_bytes_ = 0;
  int refusals_this_second_ = 0;
  Clock::time_point refusals_since_{};
  std::optional<int> exit_status_;
  std::optional<Clock::time_point> stop_at_;
  int carriers_ = 0;  // lanes that carry for a dead worker
  DataPath::Carried carried_;
};

}  // namespace tunorch::worker
