// The TCP sockets between two workers: their options, and their addresses as text. Makes no
// connection and knows no TLS.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include "protocol/worker.hpp"
#include "worker/bbr_control.hpp"

namespace tunorch::worker {

/// Best effort: what the kernel caps or lacks leaves its own value (tcp(7), socket(7)).
void tune_socket(int fd, const SocketOptions& options);

/// What the kernel made of it: sizes are capped by net.core.wmem_max and rmem_max, and doubled for
/// its own bookkeeping (socket(7)).
SocketReport read_socket(int fd);

/// How its TCP stands (TCP_INFO, tcp(7)); zeros where it is none.
struct TcpState {
  std::uint32_t retransmits = 0;    // segments, since the connection began (tcpi_total_retrans)
  std::uint32_t cwnd_segments = 0;  // tcpi_snd_cwnd
};
TcpState read_tcp(int fd);

/// Segments the peer's kernel has acknowledged so far, selectively or not (tcpi_delivered of
/// TCP_INFO, tcp(7)); wraps.
std::uint32_t delivered_segments(int fd);

/// Nothing where BBR does not control the socket (TCP_CC_INFO, kernel linux/inet_diag.h).
std::optional<PathSample> read_path(int fd);
/// SO_MAX_PACING_RATE and TCP_CONGESTION: setting it again restarts it.
void control_bbr(int fd, const BbrOrders& orders);

/// How much is to lie unsent in the socket: what a path of that bandwidth, bytes a second, takes in
/// a short while.
std::size_t unsent_limit(std::uint64_t bandwidth);
/// TCP_NOTSENT_LOWAT.
void limit_unsent(int fd, std::size_t bytes);
/// What lies there (SIOCOUTQNSD, kernel linux/sockios.h).
std::size_t unsent_bytes(int fd);

/// After close() the kernel gives up what the peer has not taken within 5 s (TCP_USER_TIMEOUT,
/// tcp(7)). While a connection lives its PINGs decide: the kernel may end one at the first
/// retransmission of a second outage, as if the first had lasted until then (seen with 6.18).
void limit_farewell(int fd);

/// "192.0.2.1:4430" or "[2001:db8::1]:4430"; an IPv4 peer of a dual-stack socket as IPv4.
std::string address_text(const sockaddr_storage& address);
/// The same without the port.
std::string host_text(const sockaddr_storage& address);

/// A non-blocking connect under way to an IP literal, from `bind` (an IP literal or a device;
/// empty: any). Throws std::system_error.
Fd begin_connect(const std::string& address, std::uint16_t port, const std::string& bind);

}  // namespace tunorch::worker
