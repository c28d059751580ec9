// What an engine is to the daemon: how its process is launched, and what the process says of
// itself. Text in, text out; tunnels/ does the launching, the reading and the waiting.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/pki/node_keys.hpp"
#include "orchestrator/pki/wireguard.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/plan/launch.hpp"

namespace tunorch {

/// What launches are made of, besides the tunnel. The functions read files, and throw
/// std::runtime_error if that fails.
struct Materials {
  const NodeKeys& keys;
  /// This node's WireGuard key, and those of these nodes.
  std::function<WireGuardKeys(const std::vector<std::string>& peers)> wireguard_keys;
  /// Texts of files of the host, by name; the argument is their paths, by name.
  std::function<std::map<std::string, std::string>(const std::map<std::string, std::string>&)>
      read_files;
};

/// What an engine counted towards one peer.
struct PeerCount {
  bool known = true;     // false: it has not said yet; what is known stays
  bool by_peer = false;  // its own count of this peer, and not the device's of all
  std::string address;   // outer, ip:port; empty: it does not say
  bool counted = false;  // the bytes below are the engine's; else the device's are taken
  std::uint64_t rx_bytes = 0, tx_bytes = 0;
};

/// Why no peer answers.
struct Silence {
  std::string reason;   // in the engine's words; empty: it has none
  std::string passing;  // of a process that has only just begun
};

/// The conversation with one process at its control socket. An engine without one keeps the
/// defaults.
class EngineProcess {
 public:
  virtual ~EngineProcess() = default;

  /// The tunnel as it is wanted from now on.
  virtual void configure(const DesiredTunnel& /*tunnel*/) {}

  /// Below the process's folder; empty: there is none.
  virtual std::string control_socket() const { return ""; }
  /// Sent first on each connection, each second after that, and instead of a signal to end it.
  virtual std::string greeting() const { return ""; }
  virtual std::string question() const { return ""; }
  virtual std::string farewell() const { return ""; }

  /// Takes whole answers off the front of `text`. True if the question is answered.
  virtual bool receive(std::string& /*text*/) { return false; }
  /// Why the process cannot serve as it is configured; empty: it can.
  virtual std::string refusal() const { return ""; }
  /// An earlier daemon started and configured it.
  virtual void adopted() {}

  /// Whether its control socket says that it serves; nothing: see its device or its output.
  virtual std::optional<bool> ready() const { return std::nullopt; }
  virtual PeerCount count(const std::string& /*peer*/) const { return {}; }
  virtual Silence silence(std::chrono::system_clock::time_point /*now*/) const { return {}; }
  /// What a dialer sends when its listener has been silent for a while; empty: nothing.
  virtual std::string renewal() const { return ""; }
};

class ForeignEngine {
 public:
  virtual ~ForeignEngine() = default;

  /// How to start the tunnel's process, whose folder is `dir`. Throws std::runtime_error for what
  /// cannot be read.
  virtual Launch launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                        const Materials& materials) const = 0;
  virtual std::unique_ptr<EngineProcess> process(const DesiredTunnel& tunnel) const = 0;
};

}  // namespace tunorch
