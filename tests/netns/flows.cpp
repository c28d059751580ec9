// Numbered traffic for tests: sends UDP packets of many flows at a steady rate, and counts at the
// other end which came, by which device, and how long nothing came. Bounded in count and time. It
// counts what its own sockets had no room for, and how late it sent: such a run says nothing about
// what it measures.
//
//   flows send ADDRESS PORT FLOWS PACKETS_A_SECOND SECONDS   sends; counts the echoes
//   flows recv ADDRESS PORT SECONDS [echo]                   counts; ends when nothing comes
//   flows tcp-serve ADDRESS PORT SECONDS                     echoes on TCP connections
//   flows tcp ADDRESS PORT CONNECTIONS SECONDS               small messages on each; counts resets
//
// Both print one JSON object. All clocks are CLOCK_MONOTONIC of one machine.
#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration;
using std::chrono::nanoseconds;

constexpr std::uint32_t max_flows = 4000;
constexpr double max_seconds = 300;
constexpr std::size_t max_missing = 20000;
constexpr double quiet_end_seconds = 2;  // a receiver that has heard something waits no longer

struct Numbered {
  std::uint32_t flow;
  std::uint32_t sequence;
  std::int64_t sent_ns;  // CLOCK_MONOTONIC
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "flows: cannot %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  Address(const char* text, int port) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(static_cast<std::uint16_t>(port));
      size = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(static_cast<std::uint16_t>(port));
      size = sizeof *v6;
    } else {
      errno = EINVAL;
      fail("read the address");
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// What came of numbered flows, and the longest time nothing came of one of them (its own pace
/// included).
struct Count {
  std::map<std::uint32_t, std::uint32_t> next;  // by flow: the sequence expected
  std::map<std::string, std::map<std::uint32_t, bool>> devices;
  std::uint64_t packets = 0, reordered = 0;
  Clock::time_point last{};
  std::map<std::uint32_t, Clock::time_point> last_of;  // by flow
  nanoseconds longest_gap{0};
  std::map<std::uint32_t, Numbered> newest;                                 // by flow
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t> missing;  // when it was sent
  std::map<std::uint32_t, std::string> first_device;                        // by flow
  std::map<std::uint32_t, bool> moved;  // flows that came by another one too

  void add(const Numbered& packet, const std::string& device) {
    const auto now = Clock::now();
    ++packets;
    last = now;
    // Of each flow by itself: three healthy tunnels must not hide a dark fourth.
    const auto [heard, is_new] = last_of.try_emplace(packet.flow, now);
    if (!is_new) longest_gap = std::max<nanoseconds>(longest_gap, now - heard->second);
    heard->second = now;
    auto& expected = next[packet.flow];
    if (packet.sequence < expected) ++reordered;
    note_missing(packet, expected);
    expected = std::max(expected, packet.sequence + 1);
    devices[device][packet.flow] = true;
    if (first_device.try_emplace(packet.flow, device).first->second != device)
      moved[packet.flow] = true;
  }

  /// When a packet that did not come was sent follows from those before and after it.
  void note_missing(const Numbered& packet, std::uint32_t expected) {
    missing.erase({packet.flow, packet.sequence});
    Numbered& before = newest[packet.flow];
    for (std::uint32_t lost = expected; lost < packet.sequence && missing.size() < max_missing;
         ++lost) {
      const std::int64_t pace =
          expected == 0 ? 0 : (packet.sent_ns - before.sent_ns) / (packet.sequence - expected + 1);
      missing[{packet.flow, lost}] = packet.sent_ns - pace * (packet.sequence - lost);
    }
    if (packet.sequence >= expected) before = packet;
  }

  nlohmann::json report() const {
    nlohmann::json by_device = nlohmann::json::object();
    for (const auto& [device, flows] : devices) by_device[device] = flows.size();
    nlohmann::json gone = nlohmann::json::array(), moved_from = nlohmann::json::object();
    for (const auto& [which, sent_ns] : missing)
      gone.push_back({which.first, which.second, sent_ns});
    for (const auto& [flow, yes] : moved) {
      auto& count = moved_from[first_device.at(flow)];
      count = count.is_null() ? 1 : count.get<int>() + 1;
    }
    return {{"missing", gone},
            {"moved_from", moved_from},
            {"packets", packets},
            {"flows", next.size()},
            {"reordered", reordered},
            {"longest_gap_ms", duration<double, std::milli>(longest_gap).count()},
            {"flows_by_device", by_device}};
  }
};

/// Packets that the kernel dropped because this socket's own buffer was full (SO_MEMINFO): the
/// generator's doing, and not that of what it measures.
std::uint32_t overflowed(int fd) {
  std::uint32_t memory[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof memory;
  getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size);
  return memory[SK_MEMINFO_DROPS];
}

void big_buffers(int fd) {
  const int bytes = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
}

/// A name is asked for once: that takes three system calls.
const std::string& device_name(unsigned index) {
  static std::map<unsigned, std::string> names;
  const auto [found, is_new] = names.try_emplace(index, "?");
  char name[IF_NAMESIZE];
  if (is_new && index != 0 && if_indextoname(index, name)) found->second = name;
  return found->second;
}

const std::string& arriving_device(msghdr& message) {
  unsigned index = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO)
      index = static_cast<unsigned>(reinterpret_cast<in_pktinfo*>(CMSG_DATA(part))->ipi_ifindex);
    if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO)
      index = reinterpret_cast<in6_pktinfo*>(CMSG_DATA(part))->ipi6_ifindex;
  }
  return device_name(index);
}

/// Takes one packet, and echoes it. False if there is none.
bool take_one(int fd, bool echo, Count& count) {
  Numbered packet{};
  iovec data{&packet, sizeof packet};
  sockaddr_storage from{};
  alignas(cmsghdr) char control[256];
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(fd, &message, MSG_DONTWAIT) != sizeof packet) return false;
  count.add(packet, arriving_device(message));
  if (echo)
    (void)sendto(fd, &packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from),
                 message.msg_namelen);
  return true;
}

int run_recv(const Address& address, double seconds, bool echo) {
  const int fd = socket(address.storage.ss_family, SOCK_DGRAM, 0);
  if (fd < 0 || bind(fd, address.get(), address.size) != 0) fail("bind");
  big_buffers(fd);
  const int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
  Count count;
  const auto end = Clock::now() + duration<double>(seconds);
  while (Clock::now() < end) {
    if (count.packets > 0 && Clock::now() - count.last > duration<double>(quiet_end_seconds)) break;
    pollfd wait{fd, POLLIN, 0};
    if (poll(&wait, 1, 100) <= 0) continue;
    constexpr int batch = 64;  // then the clock is looked at
    for (int i = 0; i < batch && take_one(fd, echo, count); ++i) continue;
  }
  auto report = count.report();
  report["overflowed"] = overflowed(fd);
  std::printf("%s\n", report.dump().c_str());
  return 0;
}

int run_send(const Address& address, std::uint32_t flows, double rate, double seconds) {
  std::vector<pollfd> sockets;
  for (std::uint32_t i = 0; i < flows; ++i) {
    const int fd = socket(address.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("make a socket");
    big_buffers(fd);
    sockets.push_back({fd, POLLIN, 0});
  }
  Count echoes;
  std::uint64_t sent = 0, not_sent = 0;
  nanoseconds latest{0};
  const auto start = Clock::now();
  const auto total = static_cast<std::uint64_t>(rate * seconds);
  // A thread of its own: a sender that falls behind its schedule must not delay the counting.
  std::atomic<bool> sending{true};
  std::thread listener([&] {
    const int poller = epoll_create1(0);
    for (const pollfd& one : sockets) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = one.fd;
      epoll_ctl(poller, EPOLL_CTL_ADD, one.fd, &event);
    }
    auto end = Clock::time_point::max();
    while (Clock::now() < end) {
      if (end == Clock::time_point::max() && !sending)
        end = Clock::now() + std::chrono::milliseconds(400);  // the last echoes
      epoll_event ready[256];
      const int count = epoll_wait(poller, ready, 256, 1);
      for (int i = 0; i < count; ++i) {
        Numbered packet{};
        while (recv(ready[i].data.fd, &packet, sizeof packet, 0) == sizeof packet)
          echoes.add(packet, "echo");
      }
      usleep(200);  // a few together: the counting should not take a core from what is measured
    }
    close(poller);
  });
  for (std::uint64_t i = 0; i < total; ++i) {
    const auto due = start + duration<double>(static_cast<double>(i) / rate);
    while (Clock::now() < due) usleep(50);
    latest = std::max(latest, std::chrono::duration_cast<nanoseconds>(Clock::now() - due));
    const Numbered packet{static_cast<std::uint32_t>(i % flows),
                          static_cast<std::uint32_t>(i / flows),
                          Clock::now().time_since_epoch().count()};
    // Not connected, so that each packet is routed by itself, as a forwarded one is: the kernel
    // keeps the route of a connected socket, and a nexthop group's buckets then look idle.
    if (sendto(sockets[packet.flow].fd, &packet, sizeof packet, 0, address.get(), address.size) ==
        sizeof packet)
      ++sent;
    else
      ++not_sent;
  }
  sending = false;
  listener.join();
  auto report = echoes.report();
  std::uint64_t lost_here = 0;
  for (const pollfd& one : sockets) lost_here += overflowed(one.fd);
  report["overflowed"] = lost_here;
  report["latest_ms"] = duration<double, std::milli>(latest).count();
  report["sent"] = sent;
  report["not_sent"] = not_sent;
  std::printf("%s\n", report.dump().c_str());
  return 0;
}

int run_tcp_serve(const Address& address, double seconds) {
  const int listening = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listening, address.get(), address.size) != 0 || listen(listening, max_flows) != 0)
    fail("listen");
  std::vector<pollfd> sockets{{listening, POLLIN, 0}};
  const auto end = Clock::now() + duration<double>(seconds);
  while (Clock::now() < end) {
    if (poll(sockets.data(), sockets.size(), 100) <= 0) continue;
    for (std::size_t i = 1; i < sockets.size(); ++i) {
      char bytes[256];
      if (!sockets[i].revents) continue;
      const ssize_t size = recv(sockets[i].fd, bytes, sizeof bytes, MSG_DONTWAIT);
      if (size > 0) (void)send(sockets[i].fd, bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
      if (size == 0 || (size < 0 && errno != EAGAIN)) {
        close(sockets[i].fd);
        sockets[i].fd = -1;
      }
    }
    if (!sockets[0].revents) continue;
    for (int fd = 0; (fd = accept(listening, nullptr, nullptr)) >= 0;)
      sockets.push_back({fd, POLLIN, 0});
  }
  return 0;
}

int run_tcp(const Address& address, std::uint32_t connections, double seconds) {
  std::vector<pollfd> sockets;
  const int on = 1;
  for (std::uint32_t i = 0; i < connections; ++i) {
    const int fd = socket(address.storage.ss_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, address.get(), address.size) != 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockets.push_back({fd, POLLIN, 0});
  }
  std::uint64_t broken = 0, messages = 0;
  std::vector<Clock::time_point> last(connections, Clock::now());
  nanoseconds longest_stall{0};
  for (const pollfd& one : sockets) (void)send(one.fd, "ping", 4, MSG_NOSIGNAL);
  const auto end = Clock::now() + duration<double>(seconds);
  while (Clock::now() < end) {
    if (poll(sockets.data(), sockets.size(), 100) > 0)
      for (std::size_t i = 0; i < sockets.size(); ++i) {
        char bytes[256];
        if (!sockets[i].revents) continue;
        if (recv(sockets[i].fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0) {
          ++broken;
          sockets[i].fd = -1;
          continue;
        }
        ++messages;
        longest_stall = std::max<nanoseconds>(longest_stall, Clock::now() - last[i]);
        last[i] = Clock::now();
        (void)send(sockets[i].fd, "ping", 4, MSG_NOSIGNAL);
      }
    usleep(20000);
  }
  std::uint64_t silent = 0;
  for (std::size_t i = 0; i < sockets.size(); ++i)
    if (sockets[i].fd >= 0 && Clock::now() - last[i] > std::chrono::seconds(2)) ++silent;
  const nlohmann::json report{
      {"connections", connections},
      {"messages", messages},
      {"broken", broken},
      {"silent_at_end", silent},
      {"longest_stall_ms", duration<double, std::milli>(longest_stall).count()}};
  std::printf("%s\n", report.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) { return i < argc ? std::atof(argv[i]) : 0; };
  const auto flows = static_cast<std::uint32_t>(number(4));
  const int seconds_at = verb == "send" ? 6 : verb == "tcp" ? 5 : 4;
  if (argc <= seconds_at || flows > max_flows || number(seconds_at) > max_seconds) {
    std::fprintf(stderr, "usage: see the top of flows.cpp\n");
    return 2;
  }
  const Address address(argv[2], std::atoi(argv[3]));
  if (verb == "recv") return run_recv(address, number(4), argc > 5);
  if (verb == "send") return run_send(address, flows, number(5), number(6));
  if (verb == "tcp-serve") return run_tcp_serve(address, number(4));
  if (verb == "tcp") return run_tcp(address, flows, number(5));
  return 2;
}
