// ICMP echoes (RFC 792) through given devices: to a peer's link address, and to targets behind it.
// They take the way packets take, through the device and its worker. Sends rounds and tells which
// were answered; what that means is path_health.hpp's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "routing/prefix.hpp"

namespace tunorch {

class DeviceProbe {
 public:
  /// Throws std::system_error without the right to raw sockets.
  explicit DeviceProbe(boost::asio::io_context& io);

  struct Echo {
    routing::Prefix target;  // an IPv4 host prefix
    unsigned bytes = 0;      // of the whole IP packet, not to be fragmented; 0: the least there is
  };
  struct Answer {
    Echo echo;
    bool answered = false;
    std::chrono::microseconds rtt{};
  };

  /// Sends a round of echoes from `source` by `dev`; one of that name before it is forgotten.
  void begin_round(const std::string& name, const std::string& dev, const routing::Prefix& source,
                   const std::vector<Echo>& echoes);
  /// What became of each echo of the round, so far.
  std::vector<Answer> answers(const std::string& name) const;
  /// No more: nothing is waited for.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Sent {
    std::uint16_t sequence;
    Clock::time_point at;
    Answer answer;
  };
  void send(unsigned index, const routing::Prefix& source, const Echo& echo,
            std::uint16_t sequence);
  void note(std::uint16_t sequence);
  void receive();

  Fd socket_;
  boost::asio::posix::stream_descriptor watch_;
  bool stopped_ = false;
  std::uint16_t identifier_;
  std::uint16_t sequence_ = 0;
  std::map<std::string, std::vector<Sent>> rounds_;  // by name
};

}  // namespace tunorch
