// OpenVPN as an engine: the configuration of its process (openvpn(8), 2.6), and what it says on its
// management socket (doc/management-notes.txt of its source). Pure text both ways.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "orchestrator/engines/engine.hpp"

namespace tunorch {

const ForeignEngine& openvpn_engine();

/// `dir` is the process's folder. Devices, addresses and routes are ours: it changes none of them.
Launch openvpn_launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                      const NodeKeys& keys);

struct OpenVpnClient {
  std::string address;  // outer, ip:port
  std::uint64_t rx_bytes = 0, tx_bytes = 0;
};

/// What it says of itself on its management socket.
struct OpenVpnState {
  std::string state;   // CONNECTED, WAIT, AUTH, …
  std::string detail;  // why
  std::string remote;  // a dialer's: outer address of the listener
  std::uint64_t rx_bytes = 0, tx_bytes = 0;
  std::map<std::string, OpenVpnClient> clients;  // a listener's, by certificate name

  /// One line from the socket, without its end. True if it ends the answer to the questions.
  bool read_line(std::string_view line);
};

}  // namespace tunorch
