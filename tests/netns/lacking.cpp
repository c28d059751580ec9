// A kernel that lacks things, as the programs it is preloaded into see it (LD_PRELOAD). What they
// ask of it becomes something that no kernel has, so that the answer is the kernel's own words for
// "not here". LACKING names what is missing, separated by commas:
//
//   nexthops   nexthop objects (before Linux 5.3): their message types are unknown to rtnetlink
//   resilient  resilient groups (before 5.13): an unknown type of group
//   ecmp       CONFIG_IP_ROUTE_MULTIPATH: its settings are not there
//   ipv6       ipv6.disable=1: no settings, and an address family that nobody serves
//   nftables   CONFIG_NF_TABLES: a subsystem of netfilter netlink that nobody serves
//   netfilter  CONFIG_NETFILTER_NETLINK: no such socket
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>

namespace {

constexpr std::uint16_t unknown_type = 0xffc, unknown_group = 99, unknown_subsystem = 99;
constexpr unsigned char unknown_family = 99;

bool lacks(const char* what) {
  static const std::string all =
      "," + std::string(std::getenv("LACKING") ? std::getenv("LACKING") : "") + ",";
  return all.find("," + std::string(what) + ",") != std::string::npos;
}

bool hidden(const char* path) {
  const std::string name = path;
  return (lacks("ipv6") && name.rfind("/proc/sys/net/ipv6", 0) == 0) ||
         (lacks("ecmp") && name.find("fib_multipath") != std::string::npos);
}

bool is_one_of(int type, std::initializer_list<int> types) {
  for (const int one : types)
    if (type == one) return true;
  return false;
}

/// Attributes of `type`, from `data` on; nested ones of AF_INET6 in IFLA_AF_SPEC too.
template <class Do>
void each_attribute(char* data, std::size_t size, Do act) {
  while (size >= sizeof(nlattr)) {
    auto* one = reinterpret_cast<nlattr*>(data);
    if (one->nla_len < sizeof(nlattr) || one->nla_len > size) return;
    act(one);
    const std::size_t step = NLA_ALIGN(one->nla_len);
    if (step >= size) return;
    data += step;
    size -= step;
  }
}

void change_route_message(nlmsghdr* header) {
  char* body = static_cast<char*>(NLMSG_DATA(header));
  const auto attributes = [&](std::size_t fixed, auto act) {
    const std::size_t skip = NLMSG_ALIGN(fixed);
    if (header->nlmsg_len >= NLMSG_HDRLEN + skip)
      each_attribute(body + skip, header->nlmsg_len - NLMSG_HDRLEN - skip, act);
  };
  const int type = header->nlmsg_type;
  if (lacks("nexthops") &&
      is_one_of(type, {RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP, RTM_GETNEXTHOPBUCKET}))
    header->nlmsg_type = unknown_type;
  if (lacks("resilient") && type == RTM_NEWNEXTHOP)
    attributes(sizeof(nhmsg), [](nlattr* one) {
      if (one->nla_type == NHA_GROUP_TYPE)
        std::memcpy(reinterpret_cast<char*>(one) + NLA_HDRLEN, &unknown_group, 2);
    });
  if (!lacks("ipv6")) return;
  if (is_one_of(type, {RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE,
                       RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE, RTM_NEWNEXTHOP}) &&
      body[0] == AF_INET6)
    body[0] = unknown_family;
  if (is_one_of(type, {RTM_SETLINK, RTM_NEWLINK}))
    attributes(sizeof(ifinfomsg), [](nlattr* one) {
      if ((one->nla_type & NLA_TYPE_MASK) != IFLA_AF_SPEC) return;
      each_attribute(reinterpret_cast<char*>(one) + NLA_HDRLEN, one->nla_len - NLA_HDRLEN,
                     [](nlattr* family) {
                       if ((family->nla_type & NLA_TYPE_MASK) == AF_INET6)
                         family->nla_type = NLA_F_NESTED | unknown_family;
                     });
    });
}

int netlink_protocol(int fd) {
  int domain = 0, protocol = -1;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK)
    return -1;
  size = sizeof protocol;
  ::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
  return protocol;
}

/// In the sender's own buffer: it sends each message once, or makes it anew.
void change(int fd, void* data, std::size_t size) {
  const int protocol = netlink_protocol(fd);
  auto* header = static_cast<nlmsghdr*>(data);
  for (auto left = static_cast<int>(size); NLMSG_OK(header, static_cast<unsigned>(left));
       header = NLMSG_NEXT(header, left)) {
    if (protocol == NETLINK_ROUTE) change_route_message(header);
    if (protocol != NETLINK_NETFILTER || !lacks("nftables")) continue;
    if (header->nlmsg_type == NFNL_MSG_BATCH_BEGIN) {
      auto* batch = static_cast<nfgenmsg*>(NLMSG_DATA(header));
      batch->res_id = static_cast<std::uint16_t>(unknown_subsystem << 8);
    } else if (header->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES) {
      header->nlmsg_type =
          static_cast<std::uint16_t>(unknown_subsystem << 8 | (header->nlmsg_type & 0xff));
    }
  }
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

int open_unless_hidden(const char* path, int flags, mode_t mode) {
  static auto* const next = real<int(const char*, int, ...)>("open64");
  if (!hidden(path)) return next(path, flags, mode);
  errno = ENOENT;
  return -1;
}

mode_t mode_of(int flags, va_list& more) {
  return (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
}

}  // namespace

extern "C" {

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static auto* const next = real<ssize_t(int, const msghdr*, int)>("sendmsg");
  for (std::size_t i = 0; i < message->msg_iovlen; ++i)
    change(fd, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
  return next(fd, message, flags);
}

ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to,
               socklen_t to_size) {
  static auto* const next =
      real<ssize_t(int, const void*, size_t, int, const sockaddr*, socklen_t)>("sendto");
  change(fd, const_cast<void*>(data), size);
  return next(fd, data, size, flags, to, to_size);
}

int socket(int domain, int type, int protocol) {
  static auto* const next = real<int(int, int, int)>("socket");
  if (domain != AF_NETLINK || protocol != NETLINK_NETFILTER || !lacks("netfilter"))
    return next(domain, type, protocol);
  errno = EPROTONOSUPPORT;
  return -1;
}

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = mode_of(flags, more);
  va_end(more);
  return open_unless_hidden(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = mode_of(flags, more);
  va_end(more);
  return open_unless_hidden(path, flags, mode);
}

int access(const char* path, int mode) {
  static auto* const next = real<int(const char*, int)>("access");
  if (!hidden(path)) return next(path, mode);
  errno = ENOENT;
  return -1;
}

int faccessat(int dir, const char* path, int mode, int flags) {
  static auto* const next = real<int(int, const char*, int, int)>("faccessat");
  if (!hidden(path)) return next(dir, path, mode, flags);
  errno = ENOENT;
  return -1;
}
}
