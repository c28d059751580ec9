#include "routing/prefix.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace tunorch::routing {

namespace {

std::optional<std::uint8_t> parse_length(std::string_view text, unsigned most) {
  // "08" and "+8" are refused: a length has one spelling, so that text() gives back what was read.
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  unsigned length = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, length);
  if (error != std::errc() || stopped != end || length > most) return std::nullopt;
  return static_cast<std::uint8_t>(length);
}

std::uint8_t mask_of_byte(std::size_t index, unsigned length) {
  if (length >= 8 * (index + 1)) return 0xff;
  if (length <= 8 * index) return 0;
  return static_cast<std::uint8_t>(0xff << (8 * (index + 1) - length));
}

}  // namespace

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  const std::string address(text.substr(0, slash));
  // inet_pton() would stop at an embedded NUL and take what stands before it.
  if (address.find('\0') != std::string::npos) return std::nullopt;

  Prefix prefix;
  prefix.v6 = address.find(':') != std::string::npos;
  if (inet_pton(prefix.v6 ? AF_INET6 : AF_INET, address.c_str(), prefix.bytes.data()) != 1)
    return std::nullopt;

  const unsigned most = prefix.v6 ? 128 : 32;
  prefix.length = static_cast<std::uint8_t>(most);
  if (slash == std::string_view::npos) return prefix;
  const auto length = parse_length(text.substr(slash + 1), most);
  if (!length) return std::nullopt;
  prefix.length = *length;
  return prefix;
}

std::string Prefix::text() const {
  return address_text() + '/' + std::to_string(length);
}

std::string Prefix::address_text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer.data(), buffer.size());
  return buffer.data();
}

Prefix Prefix::network() const {
  Prefix network = *this;
  for (std::size_t i = 0; i < bytes.size(); ++i) network.bytes[i] &= mask_of_byte(i, length);
  return network;
}

bool Prefix::has_host_bits() const {
  return network().bytes != bytes;
}

bool Prefix::contains(const Prefix& inner) const {
  if (v6 != inner.v6 || inner.length < length) return false;
  Prefix shortened = inner;
  shortened.length = length;
  return shortened.network().bytes == network().bytes;
}

}  // namespace tunorch::routing
