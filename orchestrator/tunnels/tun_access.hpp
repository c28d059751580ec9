// Who may open /dev/net/tun where it is root's alone: udev gives it to everybody, a container's is
// often closed. Knows libacl for all others.
#pragma once

#include <cstdint>

namespace tunorch {

/// Adds `user` to the device's access list (acl(5)) unless everybody may open it. A
/// process of tunorch with CAP_NET_ADMIN may then attach to any TUN of its network namespace, as
/// where udev opens the device. Throws std::system_error.
void allow_tun(std::uint32_t user);

/// Takes that back; where nothing was added nothing happens. Never throws.
void forbid_tun(std::uint32_t user);

}  // namespace tunorch
