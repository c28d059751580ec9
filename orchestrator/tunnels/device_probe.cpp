#include "orchestrator/tunnels/device_probe.hpp"

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

Fd open_socket() {
  Fd fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
  if (!fd.valid())
    throw std::system_error(errno, std::generic_category(), "cannot make a socket for ICMP probes");
  icmp_filter filter{};
  filter.data = ~(1U << ICMP_ECHOREPLY);  // raw(7): a set bit blocks
  ::setsockopt(fd.get(), SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
  // With the don't-fragment bit, and as large as asked whatever is known of the path (ip(7)).
  const int probe = IP_PMTUDISC_PROBE;
  ::setsockopt(fd.get(), IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
  return fd;
}

/// RFC 1071.
std::uint16_t checksum(const std::vector<char>& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 2) {
    std::uint16_t word = 0;  // an odd byte at the end counts as followed by a zero
    std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
    sum += word;
  }
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

std::vector<DeviceProbe::Answer> DeviceProbe::answers(const std::string& name) const {
  std::vector<Answer> answers;
  if (const auto round = rounds_.find(name); round != rounds_.end())
    for (const Sent& sent : round->second) answers.push_back(sent.answer);
  return answers;
}

void DeviceProbe::begin_round(const std::string& name, const std::string& dev,
                              const routing::Prefix& source, const std::vector<Echo>& echoes) {
  std::vector<Sent>& round = rounds_[name];
  round.clear();
  const unsigned index = if_nametoindex(dev.c_str());
  for (const Echo& echo : echoes) {
    round.push_back({++sequence_, Clock::now(), {echo}});
    send(index, source, echo, sequence_);
  }
}

/// A probe that cannot be sent is one that is not answered.
void DeviceProbe::send(unsigned index, const routing::Prefix& source, const Echo& echo,
                       std::uint16_t sequence) {
  constexpr unsigned least = sizeof(iphdr) + sizeof(icmphdr);
  std::vector<char> packet(std::max(echo.bytes, least) - sizeof(iphdr));
  icmphdr header{};
  header.type = ICMP_ECHO;
  header.un.echo.id = htons(identifier_);
  header.un.echo.sequence = htons(sequence);
  std::memcpy(packet.data(), &header, sizeof header);
  header.checksum = checksum(packet);
  std::memcpy(packet.data(), &header, sizeof header);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr = address_of(echo.target);
  iovec data{packet.data(), packet.size()};
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

void DeviceProbe::note(std::uint16_t sequence) {
  for (auto& [name, round] : rounds_) {
    const auto sent = std::ranges::find(round, sequence, &Sent::sequence);
    if (sent == round.end() || sent->answer.answered) continue;
    sent->answer.answered = true;
    sent->answer.rtt =
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - sent->at);
  }
}

void DeviceProbe::receive() {
  watch_.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [this](const boost::system::error_code& error) {
        if (error || stopped_) return;
        std::array<char, 128> packet;  // the headers: the rest of a large one is cut off
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
          if (echo.type == ICMP_ECHOREPLY && ntohs(echo.un.echo.id) == identifier_)
            note(ntohs(echo.un.echo.sequence));
        }
        receive();
      });
}

}  // namespace tunorch
