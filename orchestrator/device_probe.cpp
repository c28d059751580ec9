#include "orchestrator/device_probe.hpp"

#include <linux/icmp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <system_error>

namespace tunorch {
namespace {

routing::Fd open_socket() {
  routing::Fd fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (!fd.valid())
    throw std::system_error(errno, std::generic_category(), "cannot make a socket for ICMP probes");
  icmp_filter filter{};
  filter.data = ~(1U << ICMP_ECHOREPLY);  // raw(7): a set bit blocks
  ::setsockopt(fd.get(), SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
  return fd;
}

/// RFC 1071.
std::uint16_t checksum(const icmphdr& header) {
  std::array<std::uint16_t, sizeof(icmphdr) / 2> words{};
  std::memcpy(words.data(), &header, sizeof header);
  std::uint32_t sum = 0;
  for (const std::uint16_t word : words) sum += word;
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~(sum + (sum >> 16)));
}

in_addr address_of(const routing::Prefix& prefix) {
  in_addr address{};
  std::memcpy(&address, prefix.bytes.data(), sizeof address);
  return address;
}

}  // namespace

DeviceProbe::DeviceProbe(boost::asio::io_context& io)
    : socket_(open_socket()),
      watch_(io, ::dup(socket_.get())),
      identifier_(static_cast<std::uint16_t>(std::random_device{}())) {
  receive();
}

std::vector<bool> DeviceProbe::next_round(const std::string& name, const std::string& dev,
                                          const routing::Prefix& source,
                                          const std::vector<routing::Prefix>& targets) {
  Round& round = rounds_[name];
  std::vector<bool> answered = std::move(round.answered);
  round = {};
  const unsigned index = if_nametoindex(dev.c_str());
  for (const routing::Prefix& target : targets) {
    round.sequences.push_back(++sequence_);
    round.answered.push_back(false);
    send(index, source, target, sequence_);
  }
  return answered;
}

/// A probe that cannot be sent is one that is not answered.
void DeviceProbe::send(unsigned index, const routing::Prefix& source, const routing::Prefix& target,
                       std::uint16_t sequence) {
  icmphdr echo{};
  echo.type = ICMP_ECHO;
  echo.un.echo.id = htons(identifier_);
  echo.un.echo.sequence = htons(sequence);
  echo.checksum = checksum(echo);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr = address_of(target);
  iovec data{&echo, sizeof echo};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = sizeof to;
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = IPPROTO_IP;
  part->cmsg_type = IP_PKTINFO;
  part->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  in_pktinfo info{};
  info.ipi_ifindex = static_cast<int>(index);
  info.ipi_spec_dst = address_of(source);
  std::memcpy(CMSG_DATA(part), &info, sizeof info);
  (void)::sendmsg(socket_.get(), &message, MSG_DONTWAIT);
}

void DeviceProbe::stop() {
  stopped_ = true;
  watch_.cancel();
}

void DeviceProbe::receive() {
  watch_.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [this](const boost::system::error_code& error) {
        if (error || stopped_) return;
        std::array<char, 2048> packet;
        for (;;) {
          const ssize_t size = ::recv(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT);
          if (size < 0) break;
          if (size < static_cast<ssize_t>(sizeof(iphdr))) continue;
          iphdr ip{};
          std::memcpy(&ip, packet.data(), sizeof ip);
          const ssize_t header = ip.ihl * 4;
          icmphdr echo{};
          if (size < header + static_cast<ssize_t>(sizeof echo)) continue;
          std::memcpy(&echo, packet.data() + header, sizeof echo);
          if (echo.type != ICMP_ECHOREPLY || ntohs(echo.un.echo.id) != identifier_) continue;
          const std::uint16_t sequence = ntohs(echo.un.echo.sequence);
          for (auto& [dev, round] : rounds_) {
            const auto found = std::ranges::find(round.sequences, sequence);
            if (found != round.sequences.end())
              round.answered[static_cast<std::size_t>(found - round.sequences.begin())] = true;
          }
        }
        receive();
      });
}

}  // namespace tunorch
