// The UDP part of a soak run's load: numbered packets of a few flows at a steady rate, whose bytes
// both ends can make. Counts what came; asks for nothing again.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tests/soak/stream.hpp"

namespace tunorch::soak {

class Udp {
 public:
  /// Throws nothing; `bound()` tells whether `own` could be bound. `pps`: packets a second.
  Udp(const sockaddr_in& own, const sockaddr_in& peer, double pps, std::uint64_t seed)
      : peer_(peer), pps_(pps), seed_(seed), in_(make_socket()) {
    bound_ = ::bind(in_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0;
    for (std::uint32_t i = 0; i < flows; ++i) out_.push_back(make_socket());
  }

  bool bound() const { return bound_; }
  int fd() const { return in_.get(); }

  void send(double passed_seconds) {
    due_ = std::min(due_ + pps_ * passed_seconds, most_due);
    for (; due_ >= 1; due_ -= 1) {
      Packet packet{seed_, sent_ % flows, sent_ / flows, {}};
      fill(packet);
      // One that is refused is lost too: its number is used up.
      (void)::sendto(out_[packet.flow].get(), &packet, sizeof packet, 0,
                     reinterpret_cast<const sockaddr*>(&peer_), sizeof peer_);
      ++sent_;
    }
  }

  void hear() {
    Packet packet{};
    for (int i = 0; i < packets_a_turn; ++i) {
      const ssize_t size = ::recv(in_.get(), &packet, sizeof packet, 0);
      if (size < 0) return;
      Packet wanted = packet;
      fill(wanted);
      if (size != sizeof packet || wanted.payload != packet.payload || packet.flow >= flows) {
        ++wrong_;
        continue;
      }
      ++received_;
      std::uint32_t& next = next_[packet.flow];
      if (packet.number < next) ++late_;
      next = std::max(next, packet.number + 1);
    }
  }

  void report(nlohmann::json& line) const {
    std::uint64_t expected = 0;
    for (const auto& [flow, next] : next_) expected += next;
    line["udp_sent"] = sent_;
    line["udp_received"] = received_;
    line["udp_lost"] = expected - std::min(expected, received_);
    line["udp_late"] = late_;
    line["udp_wrong"] = wrong_;
  }

 private:
  static constexpr std::uint32_t flows = 20;
  static constexpr int packets_a_turn = 256;
  static constexpr double most_due = 500;

  struct Packet {
    std::uint64_t seed;
    std::uint32_t flow, number;
    std::array<std::uint8_t, 200> payload;
  };

  static Fd make_socket() { return Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)); }

  static void fill(Packet& packet) {
    Stream(packet.seed ^ (std::uint64_t{packet.flow} << 32 | packet.number))
        .next(packet.payload.data(), packet.payload.size());
  }

  sockaddr_in peer_;
  double pps_;
  std::uint64_t seed_;
  Fd in_;
  bool bound_ = false;
  std::vector<Fd> out_;
  double due_ = 0;
  std::uint32_t sent_ = 0;
  std::uint64_t received_ = 0, late_ = 0, wrong_ = 0;
  std::map<std::uint32_t, std::uint32_t> next_;  // by flow
};

}  // namespace tunorch::soak
