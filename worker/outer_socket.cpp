#include "worker/outer_socket.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

namespace tunorch::worker {
namespace {

/// Unsent bytes in the kernel add delay and nothing else; this much keeps the fastest socket busy.
constexpr std::size_t max_unsent_bytes = 128 * 1024, min_unsent_bytes = 16 * 1024;
/// What is unsent is sent within 4 ms, or what that fraction of a second is.
constexpr std::uint64_t unsent_turns_a_second = 250;
/// BBR's gain is 2.89 while it starts, in units of 1/256 (tcp_bbr_info), and 1.25 at most later.
constexpr std::uint32_t starting_gain = 2 * 256;

void set(int fd, int level, int option, int value) {
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

void set_congestion(int fd, std::string_view name) {
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(),
                     static_cast<socklen_t>(name.size()));
}

bool parse_literal(const std::string& text, std::uint16_t port, sockaddr_storage& address,
                   socklen_t& size) {
  address = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
    return true;
  }
  if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) != 1) return false;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  size = sizeof *v6;
  return true;
}

void bind_to(int fd, const std::string& where) {
  sockaddr_storage local;
  socklen_t size = 0;
  const int result = parse_literal(where, 0, local, size)
                         ? ::bind(fd, reinterpret_cast<const sockaddr*>(&local), size)
                         : ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, where.c_str(),
                                        static_cast<socklen_t>(where.size()));
  if (result != 0)
    throw std::system_error(errno, std::generic_category(), "cannot dial from " + where);
}

tcp_info info_of(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return {};
  return info;
}

}  // namespace

void tune_socket(int fd, const SocketOptions& options) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  limit_unsent(fd, max_unsent_bytes);
  if (options.sndbuf_bytes) set(fd, SOL_SOCKET, SO_SNDBUF, static_cast<int>(options.sndbuf_bytes));
  if (options.rcvbuf_bytes) set(fd, SOL_SOCKET, SO_RCVBUF, static_cast<int>(options.rcvbuf_bytes));
  // A loss-based outer connection melts under loss when TCP runs inside it; BBR does not.
  const std::string congestion = options.congestion == "auto" ? "bbr" : options.congestion;
  set_congestion(fd, congestion);
}

SocketReport read_socket(int fd) {
  const auto size_of = [fd](int option) {
    int value = 0;
    socklen_t bytes = sizeof value;
    ::getsockopt(fd, SOL_SOCKET, option, &value, &bytes);
    return static_cast<std::uint32_t>(value);
  };
  char congestion[16] = "";  // TCP_CA_NAME_MAX
  socklen_t bytes = sizeof congestion;
  ::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, &bytes);
  return {size_of(SO_SNDBUF), size_of(SO_RCVBUF), congestion};
}

TcpState read_tcp(int fd) {
  const tcp_info info = info_of(fd);
  return {info.tcpi_total_retrans, info.tcpi_snd_cwnd};
}

std::uint32_t delivered_segments(int fd) {
  return info_of(fd).tcpi_delivered;
}

std::optional<PathSample> read_path(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return std::nullopt;
  tcp_cc_info congestion{};
  bytes = sizeof congestion;
  // Each kind of congestion control has its own size, and cubic none.
  if (::getsockopt(fd, IPPROTO_TCP, TCP_CC_INFO, &congestion, &bytes) != 0 ||
      bytes != sizeof congestion.bbr)
    return std::nullopt;
  const tcp_bbr_info& bbr = congestion.bbr;
  return PathSample{std::chrono::microseconds(info.tcpi_rtt),
                    std::chrono::microseconds(bbr.bbr_min_rtt),
                    std::uint64_t{bbr.bbr_bw_hi} << 32 | bbr.bbr_bw_lo,
                    info.tcpi_delivered,
                    info.tcpi_snd_mss,
                    bbr.bbr_pacing_gain > starting_gain};
}

void control_bbr(int fd, const BbrOrders& orders) {
  const unsigned long rate = orders.max_rate.value_or(~0UL);
  (void)::setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
  if (!orders.restart) return;
  // The one that is set already is left as it is: so by way of another, which every kernel has.
  set_congestion(fd, "reno");
  set_congestion(fd, "bbr");
}

std::size_t unsent_limit(std::uint64_t bandwidth) {
  return std::clamp(std::size_t{bandwidth / unsent_turns_a_second}, min_unsent_bytes,
                    max_unsent_bytes);
}

void limit_unsent(int fd, std::size_t bytes) {
  set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, static_cast<int>(bytes));
}

void limit_farewell(int fd) {
  set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
}

std::size_t unsent_bytes(int fd) {
  int bytes = 0;
  return ::ioctl(fd, SIOCOUTQNSD, &bytes) == 0 ? static_cast<std::size_t>(bytes) : 0;
}

std::string host_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    else
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  }
  return text;
}

std::string address_text(const sockaddr_storage& address) {
  const std::string host = host_text(address);
  // The port sits at the same place in both families.
  const auto port = ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Fd begin_connect(const std::string& address, std::uint16_t port, const std::string& bind) {
  sockaddr_storage remote;
  socklen_t size = 0;
  if (!parse_literal(address, port, remote, size))
    throw std::system_error(EINVAL, std::generic_category(), "cannot dial " + address);
  Fd fd(::socket(remote.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) throw std::system_error(errno, std::generic_category(), "cannot make a socket");
  if (!bind.empty()) bind_to(fd.get(), bind);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&remote), size) != 0 &&
      errno != EINPROGRESS)
    throw std::system_error(errno, std::generic_category(),
                            "cannot connect to " + address_text(remote));
  return fd;
}

}  // namespace tunorch::worker
