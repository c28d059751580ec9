// Prefixes as text, and whose an address is: the worker's table against a plain look at every
// prefix. The input is lines of prefixes; addresses to ask for are cut out of them too.
#include <array>
#include <string>
#include <vector>

#include "routing/prefix.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "worker/prefix_table.hpp"

namespace {

using tunorch::require;
using tunorch::routing::Prefix;
using tunorch::worker::PrefixTable;

constexpr std::size_t most_lines = 64;

/// The last of the longest that hold it.
int owner_of(const std::vector<Prefix>& prefixes, const Prefix& address) {
  int owner = -1, longest = -1;
  for (std::size_t i = 0; i < prefixes.size(); ++i)
    if (prefixes[i].length >= longest && prefixes[i].network().contains(address)) {
      longest = prefixes[i].length;
      owner = static_cast<int>(i);
    }
  return owner;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = tunorch::text_of(data, size);
  std::vector<Prefix> prefixes;
  PrefixTable table;
  for (std::size_t lines = 0; !text.empty() && lines < most_lines; ++lines) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    const auto prefix = Prefix::parse(line);
    if (!prefix) continue;
    require(Prefix::parse(prefix->text()) == prefix);
    require(!prefix->network().has_host_bits() && prefix->network().contains(*prefix));
    require(table.add(prefix->text(), static_cast<int>(prefixes.size())));
    prefixes.push_back(*prefix);
  }
  for (Prefix address : prefixes)
    for (const std::uint8_t flip : std::array<std::uint8_t, 3>{0, 1, 0x80}) {
      address.length = address.v6 ? 128 : 32;
      address.bytes[address.v6 ? 15 : 3] ^= flip;
      require(table.find({address.v6, address.bytes}) == owner_of(prefixes, address));
    }
  return 0;
}
