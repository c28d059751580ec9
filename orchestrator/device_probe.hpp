// ICMP echoes (RFC 792) through given devices: to a peer's link address, and to targets behind it.
// They take the way packets take, through the device and its worker. Sends rounds and tells which
// were answered; what that means is path_health.hpp's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "routing/fd.hpp"
#include "routing/prefix.hpp"

namespace tunorch {

class DeviceProbe {
 public:
  /// Throws std::system_error without the right to raw sockets.
  explicit DeviceProbe(boost::asio::io_context& io);

  /// Ends the round before of this name and says for each of its targets whether it was answered;
  /// then begins one: an echo from `source` to each of `targets` by `dev`. All are IPv4 host
  /// prefixes.
  std::vector<bool> next_round(const std::string& name, const std::string& dev,
                               const routing::Prefix& source,
                               const std::vector<routing::Prefix>& targets);
  /// No more: nothing is waited for.
  void stop();

 private:
  struct Round {
    std::vector<std::uint16_t> sequences;
    std::vector<bool> answered;
  };
  void send(unsigned index, const routing::Prefix& source, const routing::Prefix& target,
            std::uint16_t sequence);
  void receive();

  routing::Fd socket_;
  boost::asio::posix::stream_descriptor watch_;
  bool stopped_ = false;
  std::uint16_t identifier_;
  std::uint16_t sequence_ = 0;
  std::map<std::string, Round> rounds_;  // by name
};

}  // namespace tunorch
