// The policy rule noun, as ip-rule(8) uses the words. Plain data, comparable, printable.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>

#include "routing/prefix.hpp"

namespace tunorch::routing {

/// Packets that match all that is given look their route up in `table`.
struct Rule {
  bool v6 = false;
  std::uint32_t preference = 0;  // lower ones are asked first
  std::uint32_t table = 254;
  std::optional<Prefix> from = {};
  std::uint32_t fwmark = 0;  // compared whole (mask 0xffffffff); 0: any
  std::optional<std::uint32_t> uid_first = {}, uid_last = {};  // both or none
  std::optional<int> suppress_prefixlength = {};  // routes this short or shorter do not count

  auto operator<=>(const Rule&) const = default;
  /// "10.0.0.0/8 …" in ip-rule(8)'s words: "pref 11600 from 10.0.0.0/8 fwmark 0x74 lookup 116".
  std::string text() const;
};

/// Another program's rule, as far as it can affect ours.
struct OtherRule {
  bool v6 = false;
  std::uint32_t preference = 0;
  std::uint32_t table = 0;  // 0: it names none
  std::optional<Prefix> from = {}, to = {};
  bool narrow = false;  // holds for some packets or routes only, by more than from and to
  std::uint8_t protocol = 0;

  auto operator<=>(const OtherRule&) const = default;
  /// "-4 pref 100 from all to 10.0.0.0/8 … lookup 100 (protocol 3)"
  std::string text() const;
};

}  // namespace tunorch::routing
