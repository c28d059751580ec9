// TUN devices through /dev/net/tun (kernel: Documentation/networking/tuntap.rst): makes persistent
// owned ones and opens queues on them. Link attributes (MTU, up, alias) are netlink's.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.hpp"

namespace tunorch::routing {

/// Makes a persistent TUN without carrier: one that takes many queues, as our worker attaches them,
/// or one, as other programs do. Refuses (EEXIST) a name that exists.
/// The caller sets the alias next; without it the device is not recognised as ours.
void create_tun(const std::string& name, std::uint32_t owner_uid, bool multi_queue = true);

/// Attaches one more queue to a multi-queue TUN: non-blocking, close-on-exec, IFF_VNET_HDR with a
/// 10-byte little-endian header, offloads CSUM|TSO4|TSO6. Attaching does not raise carrier
/// (IFF_NO_CARRIER). Throws std::system_error naming the device and the step that failed.
Fd open_tun_queue(const std::string& name);

/// Whether it is a queue of this device, in O_NONBLOCK. A device that was deleted lets go of its
/// queues.
bool is_attached(const Fd& queue, const std::string& name);

/// TUNSETCARRIER by any of the device's queues. Refused without effect where the device is gone.
void set_carrier(const Fd& queue, bool on);

}  // namespace tunorch::routing
