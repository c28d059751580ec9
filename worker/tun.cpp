#include "worker/tun.hpp"

#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace tunorch::worker {

ssize_t Tun::read(const Fd& queue, std::uint8_t* to, std::size_t size) {
  return ::read(queue.get(), to, size);
}

bool Tun::write(std::size_t queue, const std::uint8_t* from, std::size_t size) const {
  return ::write(queues_[queue].get(), from, size) == static_cast<ssize_t>(size);
}

void Tun::set_carrier(bool on) const {
  int value = on;
  // Fails only where the device is gone, and then the next read says so.
  (void)::ioctl(queues_.front().get(), TUNSETCARRIER, &value);
}

}  // namespace tunorch::worker
