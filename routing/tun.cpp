#include "routing/tun.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace tunorch::routing {

namespace {

// Every queue must be attached with the same IFF_MULTI_QUEUE as the device was made with
// (EINVAL otherwise; drivers/net/tun.c, tun_set_iff). Kernels before IFF_NO_CARRIER (6.1) ignore
// the bit: there carrier rises with the first attach.
constexpr int queue_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_NO_CARRIER;
constexpr int single_queue_flags = IFF_TUN | IFF_NO_PI | IFF_NO_CARRIER;

constexpr int vnet_header_bytes = 10;  // struct virtio_net_hdr without num_buffers

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), "cannot " + what);
}

ifreq request_for(const std::string& name, int flags) {
  // A % would be a template to the kernel: it would make another name of it (dev_alloc_name).
  if (name.empty() || name.size() >= IFNAMSIZ || name.find('%') != std::string::npos)
    fail(EINVAL, "use TUN name \"" + name + '"');
  ifreq request{};
  std::memcpy(request.ifr_name, name.c_str(), name.size() + 1);
  request.ifr_flags = static_cast<short>(flags);
  return request;
}

// The device belongs to the network namespace of this open(), not of the attach (tun_chr_open).
Fd open_clone_device() {
  Fd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid())
    fail(
        errno,
        "open /dev/net/tun (`modprobe tun` loads the driver, CONFIG_TUN of the kernel; a container "
        "must be given the device)");
  return fd;
}

// TUNSETIFF makes a device where there is none. Only a device that create_tun() made is persistent;
// one that this very attach made is not, and goes away with the descriptor.
bool is_persistent(const Fd& queue) {
  ifreq request{};
  return ::ioctl(queue.get(), TUNGETIFF, &request) == 0 &&
         (static_cast<unsigned short>(request.ifr_flags) & IFF_PERSIST) != 0;
}

// Little-endian is what a x86 or ARM kernel does anyway; only a big-endian one has to be told.
void set_header_layout(const Fd& queue, const std::string& name) {
  int bytes = vnet_header_bytes;
  if (::ioctl(queue.get(), TUNSETVNETHDRSZ, &bytes) < 0)
    fail(errno, "set the header size of TUN " + name);
  int little = 1;
  if (std::endian::native != std::endian::little && ::ioctl(queue.get(), TUNSETVNETLE, &little) < 0)
    fail(errno, "set the byte order of TUN " + name);
}

}  // namespace

void create_tun(const std::string& name, std::uint32_t owner_uid, bool multi_queue) {
  const std::string what = "create TUN " + name;
  const int flags = multi_queue ? queue_flags : single_queue_flags;
  ifreq request = request_for(name, flags | IFF_TUN_EXCL);
  const Fd fd = open_clone_device();
  // IFF_TUN_EXCL: EBUSY for a name that exists, whatever kind of device it is (tun_set_iff).
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) fail(errno == EBUSY ? EEXIST : errno, what);
  // The owner first: a persistent TUN without one may be attached by any uid (tun_not_capable).
  if (::ioctl(fd.get(), TUNSETOWNER, static_cast<unsigned long>(owner_uid)) < 0)
    fail(errno, "set the owner of TUN " + name);
  if (::ioctl(fd.get(), TUNSETPERSIST, 1UL) < 0) fail(errno, "make persistent TUN " + name);
}

Fd open_tun_queue(const std::string& name) {
  const std::string what = "attach a queue to TUN " + name;
  ifreq request = request_for(name, queue_flags);
  // Spares the host the sight of a device that comes and goes; is_persistent() is what decides.
  if (if_nametoindex(name.c_str()) == 0) fail(ENODEV, what);

  Fd queue = open_clone_device();
  if (::ioctl(queue.get(), TUNSETIFF, &request) < 0) fail(errno, what);
  if (!is_persistent(queue)) fail(ENODEV, what);
  set_header_layout(queue, name);
  if (::ioctl(queue.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0)
    fail(errno, "set the offloads of TUN " + name);
  return queue;
}

bool is_attached(const Fd& queue, const std::string& name) {
  ifreq request{};
  return queue.valid() && ::ioctl(queue.get(), TUNGETIFF, &request) == 0 &&
         name == request.ifr_name && (::fcntl(queue.get(), F_GETFL) & O_NONBLOCK) != 0;
}

void set_carrier(const Fd& queue, bool on) {
  int carrier = on ? 1 : 0;
  ::ioctl(queue.get(), TUNSETCARRIER, &carrier);
}

}  // namespace tunorch::routing
