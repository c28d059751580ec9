#include "worker/prefix_table.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace tunorch::worker {
namespace {

IpAddress masked(IpAddress address, unsigned length) {
  for (std::size_t i = 0; i < address.bytes.size(); ++i) {
    const std::size_t bit = 8 * i;
    if (bit >= length)
      address.bytes[i] = 0;
    else if (bit + 8 > length)
      address.bytes[i] &= static_cast<std::uint8_t>(0xff << (bit + 8 - length));
  }
  return address;
}

}  // namespace

std::size_t PrefixTable::Hash::operator()(const IpAddress& address) const {
  std::uint64_t high = 0, low = 0;
  std::memcpy(&high, address.bytes.data(), 8);
  std::memcpy(&low, address.bytes.data() + 8, 8);
  // Fibonacci hashing: the multiplier spreads neighbouring addresses over the table.
  return static_cast<std::size_t>((high ^ (low * 31)) * 0x9e3779b97f4a7c15u >> 16);
}

bool PrefixTable::add(const std::string& prefix, int owner) {
  const auto slash = prefix.find('/');
  const std::string text = prefix.substr(0, slash);
  IpAddress address;
  address.v6 = text.find(':') != std::string::npos;
  if (::inet_pton(address.v6 ? AF_INET6 : AF_INET, text.c_str(), address.bytes.data()) != 1)
    return false;
  unsigned length = address.v6 ? 128 : 32;
  if (slash != std::string::npos) {
    const char* end = prefix.data() + prefix.size();
    unsigned given = 0;
    const auto parsed = std::from_chars(prefix.data() + slash + 1, end, given);
    if (parsed.ec != std::errc{} || parsed.ptr != end || given > length) return false;
    length = given;
  }
  auto& levels = levels_[address.v6];
  auto level = std::ranges::find(levels, length, &Level::length);
  if (level == levels.end()) {
    levels.push_back({length, {}});
    std::ranges::sort(levels, std::greater{}, &Level::length);
    level = std::ranges::find(levels, length, &Level::length);
  }
  level->owners[masked(address, length)] = owner;
  return true;
}

int PrefixTable::find(const IpAddress& address) const {
  for (const Level& level : levels_[address.v6]) {
    const auto found = level.owners.find(masked(address, level.length));
    if (found != level.owners.end()) return found->second;
  }
  return -1;
}

}  // namespace tunorch::worker
