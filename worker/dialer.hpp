// The dialer's role: keeps one connection a stream, and connects again after a growing pause. Each
// stream does so alone.
#pragma once

#include <chrono>
#include <random>
#include <vector>

#include "protocol/worker.hpp"
#include "worker/connection_maker.hpp"

namespace tunorch::worker {

class Dialer {
 public:
  using Clock = std::chrono::steady_clock;

  Dialer(const Spec& spec, ConnectionMaker& maker);

  /// Takes over new timings.
  void configure(const Spec& spec);
  /// Connects what is due.
  void dial(Clock::time_point now);
  /// When dial() has something to do next.
  Clock::time_point next_due() const;

  void on_live(int stream);
  void on_closed(int stream, Clock::time_point now);

 private:
  struct Stream {
    bool busy = false;        // a connection is under way or lives
    bool lived = false;       // the present connection became a session
    int failures = 0;         // in a row
    Clock::time_point due{};  // when not busy
  };

  std::chrono::milliseconds pause_after(int failures);

  ConnectionMaker& maker_;
  Spec spec_;
  std::vector<Stream> streams_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace tunorch::worker
