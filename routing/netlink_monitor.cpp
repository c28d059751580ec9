#include "routing/netlink_monitor.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "base/fd.hpp"

namespace tunorch::routing {
namespace {

constexpr std::array groups{RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                            RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
                            RTNLGRP_IPV6_RULE,  RTNLGRP_NEXTHOP};

[[noreturn]] void fail() {
  throw std::system_error(errno, std::generic_category(), "cannot watch the kernel by netlink");
}

}  // namespace

struct NetlinkMonitor::State {
  Fd socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
};

NetlinkMonitor::NetlinkMonitor() : state_(std::make_unique<State>()) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  const int fd = state_->socket.get();
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail();
  for (const int group : groups)
    // A kernel without nexthop objects has no such group, and nothing to tell of them.
    if (::setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0 &&
        group != RTNLGRP_NEXTHOP)
      fail();
}

NetlinkMonitor::~NetlinkMonitor() = default;

int NetlinkMonitor::fd() const {
  return state_->socket.get();
}

bool NetlinkMonitor::drain() {
  bool news = false;
  std::array<char, 32 * 1024> buffer;
  for (;;) {
    const ssize_t size = ::recv(fd(), buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno != ENOBUFS) return news;
    news = true;
  }
}

}  // namespace tunorch::routing
