// One tunnel's worker: sessions with its peers, and the loop that serves them. The two roles differ
// in how connections come about (door.hpp, dialer.hpp); from the greeting on they are the same.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/connection.hpp"
#include "worker/control.hpp"
#include "worker/data_path.hpp"
#include "worker/dialer.hpp"
#include "worker/door.hpp"
#include "worker/handshake.hpp"
#include "worker/peer.hpp"
#include "worker/poller.hpp"

namespace tunorch::worker {

class Worker final : public Control::Owner, public Connection::Owner, public ConnectionMaker {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Worker(Fd control_socket);
  /// Serves until it is asked to stop; returns the exit status.
  int run();

  // Control::Owner
  void on_request(const Request& request, std::vector<Fd> fds) override;
  std::vector<Report> replay() const override;
  Report hello() const override;

  // Connection::Owner
  void on_secured(Connection& connection) override;
  void on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                std::size_t size) override;
  void on_drained(Connection&) override { path_->resume(); }
  void on_closed(Connection& connection, const std::string& reason) override;

  // ConnectionMaker
  Connection* make_connection(Fd socket, const std::string& address, int stream,
                              ConnectionState state) override;
  void refused(const std::string& peer, const std::string& address,
               const std::string& reason) override;
  std::size_t half_open() const override;
  std::size_t half_open_from(const std::string& host) const override;

 private:
  void start(const Request& request, std::vector<Fd> fds);
  void update(const Spec& spec);
  void hand_over_fds();
  void tell(const Request& request);
  void carry(std::vector<Fd> queues);
  void stop(const std::string& reason);
  void give_up(const std::string& reason);

  void on_hello(Connection& connection, std::string_view text);
  void on_config(Connection& connection, std::string_view text);
  void on_state(Connection& connection, std::string_view text);
  void on_ping(Connection& connection, const std::uint8_t* payload);
  void begin_stream(Connection& connection, Peer& peer);
  void end_stream(Connection& connection, const std::string& reason);
  void let_go(Connection& connection, const std::string& reason);
  void announce(Peer& peer);
  Report report(const std::string& event, const Peer& peer, const std::string& reason = "") const;

  void beat(Clock::time_point now);
  void expire_pings(Clock::time_point now);
  void tell_heartbeat();
  void check_deadlines(Clock::time_point now);
  void sweep();
  Clock::time_point next_due() const;

  Poller poller_;
  Control control_;
  Clock::time_point started_ = Clock::now();
  std::optional<Spec> spec_;
  std::optional<TlsContext> tls_;
  std::optional<DataPath> path_;
  std::vector<Fd> listening_;
  std::vector<Peer> peers_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::optional<Door> door_;
  std::optional<Dialer> dialer_;
  Clock::time_point next_beat_{};
  std::deque<Clock::time_point> expiries_;  // when the PINGs of a beat count as lost
  int refusals_this_second_ = 0;
  Clock::time_point refusals_since_{};
  std::optional<int> exit_status_;
  std::optional<Clock::time_point> stop_at_;
  Clock::time_point carry_until_{};
};

}  // namespace tunorch::worker
