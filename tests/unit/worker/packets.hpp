// Packets for tests: TCP from 10.77.0.2 to 10.77.0.1, and from fd77::2 to fd77::1.
#pragma once

#include <arpa/inet.h>

#include <cstring>
#include <string>
#include <vector>

#include "worker/packet.hpp"

namespace tunorch::worker {

inline IpAddress ip(const char* text) {
  IpAddress address;
  address.v6 = std::string(text).find(':') != std::string::npos;
  inet_pton(address.v6 ? AF_INET6 : AF_INET, text, address.bytes.data());
  return address;
}

/// `payload` bytes behind the IP header; the first twenty are TCP's header.
inline std::vector<std::uint8_t> tcp4(std::size_t payload) {
  std::vector<std::uint8_t> packet(20 + payload);
  packet[0] = 0x45;
  packet[2] = static_cast<std::uint8_t>(packet.size() >> 8);
  packet[3] = static_cast<std::uint8_t>(packet.size());
  packet[9] = 6;
  std::memcpy(&packet[12], ip("10.77.0.2").bytes.data(), 4);
  std::memcpy(&packet[16], ip("10.77.0.1").bytes.data(), 4);
  packet[32] = 0x50;
  return packet;
}

inline std::vector<std::uint8_t> tcp6(std::size_t payload) {
  std::vector<std::uint8_t> packet(40 + payload);
  packet[0] = 0x60;
  packet[4] = static_cast<std::uint8_t>(payload >> 8);
  packet[5] = static_cast<std::uint8_t>(payload);
  packet[6] = 6;
  std::memcpy(&packet[8], ip("fd77::2").bytes.data(), 16);
  std::memcpy(&packet[24], ip("fd77::1").bytes.data(), 16);
  packet[52] = 0x50;
  return packet;
}

}  // namespace tunorch::worker
