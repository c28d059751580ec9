// The worker's end of its control socket (protocol/worker.hpp): takes requests from daemons,
// sends them reports. A daemon that disconnects is not an error; one that does not read never
// blocks the worker.
#pragma once

#include <memory>
#include <vector>

#include "base/fd.hpp"
#include "protocol/worker.hpp"
#include "worker/poller.hpp"

namespace tunorch::worker {

class Control final : public EventHandler {
 public:
  class Owner {
   public:
    virtual void on_request(const Request& request, std::vector<Fd> fds) = 0;
    /// Sent to a daemon that has just connected, after the hello.
    virtual std::vector<Report> replay() const = 0;
    virtual Report hello() const = 0;

   protected:
    ~Owner() = default;
  };

  Control(Poller& poller, Fd listening, Owner& owner);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  void on_events(std::uint32_t events) override;

  /// To every daemon. What must not be lost (not a heartbeat) ends the connection of a daemon that
  /// has no room for it: it connects again and gets the replay.
  void tell(const Report& report, const std::vector<int>& fds = {});
  bool has_daemon() const { return !daemons_.empty(); }

  /// Closes connections that ended; not from within a handler.
  void sweep();

 private:
  class Daemon final : public EventHandler {
   public:
    Daemon(Control& control, Fd socket);
    ~Daemon();
    void on_events(std::uint32_t events) override;
    bool send(const Report& report, const std::vector<int>& fds, bool droppable);
    bool ended = false;

   private:
    bool receive();

    Control& control_;
    Fd socket_;
  };

  Poller& poller_;
  Fd listening_;
  Owner& owner_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
};

}  // namespace tunorch::worker
