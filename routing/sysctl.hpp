// Kernel settings below /proc/sys. Reads, writes, and lists what a write fans out to; keeps no
// journal (the orchestrator does, before it writes).
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace tunorch::routing {

struct Sysctl {
  std::string key;    // dotted, with device names' dots as slashes: net.ipv4.conf.eth0/1.forwarding
  std::string value;  // as the kernel prints it, tabs as single spaces, no newline

  bool operator==(const Sysctl&) const = default;
};

/// Nothing where the key does not exist here (kernel without it, or hidden in a namespace).
std::optional<std::string> read_sysctl(const std::string& key);
/// Throws std::system_error: "cannot write sysctl <key> = <value>: …".
void write_sysctl(const Sysctl& sysctl);
/// Whether this process could write it here (read-only in a namespace: false).
bool sysctl_writable(const std::string& key);
/// Every other existing key whose value a write to `key` can change. ip_forward (and its other
/// name, ipv4 conf.all.forwarding) sets forwarding of `default` and of every device and
/// conf.all.accept_redirects; five keys of ipv6 conf.all set every device's; an ipv4 `default` sets
/// the devices' that were never written. Sorted; without `key` itself. To undo, write `key` first.
std::vector<std::string> sysctl_fan_out(const std::string& key);

}  // namespace tunorch::routing
