// WireGuard as an engine: how wireguard-go is started, and the words of its UAPI socket
// (https://www.wireguard.com/xplatform/). Pure text both ways.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "orchestrator/engines/engine.hpp"

namespace tunorch {

const ForeignEngine& wireguard_engine();

/// What the control socket is told first makes it forget all sessions too: told again, it shakes
/// hands again.
Launch wireguard_launch(const DesiredTunnel& tunnel, const WireGuardKeys& keys);

struct WireGuardPeer {
  std::string address;                     // outer, ip:port; empty: not known yet
  std::chrono::seconds last_handshake{0};  // since the epoch; 0: none yet
  std::uint64_t rx_bytes = 0, tx_bytes = 0;
};

/// An answer: by public key as hexadecimal digits. `error` is not 0 where it did not do as told.
struct WireGuardState {
  int error = 0;
  std::map<std::string, WireGuardPeer> peers;
};
WireGuardState read_wireguard(std::string_view answer);

}  // namespace tunorch
