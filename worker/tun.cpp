#include "worker/tun.hpp"

#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace tunorch::worker::tun {
namespace {

// Linux 6.2; missing from Debian 12's headers. The kernel takes both or neither.
constexpr unsigned long uso4 = 0x20, uso6 = 0x40;

}  // namespace

ssize_t read(int queue, std::uint8_t* to, std::size_t size) {
  return ::read(queue, to, size);
}

bool write(int queue, std::span<const iovec> parts) {
  return ::writev(queue, parts.data(), static_cast<int>(parts.size())) >= 0;
}

void set_carrier(int queue, bool on) {
  int value = on;
  // Fails only where the device is gone, and then the next read says so.
  (void)::ioctl(queue, TUNSETCARRIER, &value);
}

bool set_offloads(int queue, const Offloads& offloads) {
  unsigned long flags = TUN_F_CSUM;
  if (offloads.tso) flags |= TUN_F_TSO4 | TUN_F_TSO6;
  if (offloads.tso && offloads.ecn) flags |= TUN_F_TSO_ECN;
  if (offloads.uso) flags |= uso4 | uso6;
  return ::ioctl(queue, TUNSETOFFLOAD, flags) == 0;
}

Offloads probe_offloads(int queue, Offloads wanted) {
  if (wanted.uso && !set_offloads(queue, wanted)) wanted.uso = false;
  if (wanted.ecn && !set_offloads(queue, wanted)) wanted.ecn = false;
  if (!set_offloads(queue, wanted)) wanted = {};
  return wanted;
}

}  // namespace tunorch::worker::tun
