// Every key of a cluster file, in one table: where it stands, what it takes, its default and what
// it is for. The loader reads by it, and a test holds configs/cluster.schema.json to it.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tunorch {

enum class Kind : std::uint8_t {
  section,   // a map with the keys below it
  named,     // a map from names of one's own (`pattern`) to sections
  settings,  // a map from keys (`pattern`) to scalars
  integer,   // min…max
  boolean,
  choice,     // one of `values`
  text,       // `pattern`
  duration,   // min…max in milliseconds
  size,       // min…max in bytes, or auto
  prefix,     // a network: "198.18.0.0/15"
  addresses,  // one IP address, or a list of min…max of them
  inner,      // a list of min…max host addresses
  subnets,    // a list of min…max networks
  names,      // a list of min…max names (`pattern`)
  tunnels,    // min…max, or a list of that many sections
  command,    // a list of min…max words, the first a program's
};

struct Key {
  std::string_view path;  // "bundles/*/health/interval"; * is a name or a place in a list
  Kind kind = Kind::section;
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::string_view values = {};   // choice: "l3|l4"
  std::string_view later = {};    // choice: values known and not supported yet
  std::int64_t later_max = 0;     // integer: above max and up to this is not supported yet
  std::string_view pattern = {};  // ECMAScript, as JSON Schema has it
  std::string_view words = {};    // the pattern in words, or why a bound is where it is
  std::string_view unit = {};     // integer: what it counts
  std::string_view initial = {};  // the default as one would write it; empty: none
  bool required = false;
  std::string_view sentence = {};

  std::string_view name() const { return path.substr(path.rfind('/') + 1); }
  /// The path of the section it stands in; "" for the file's own keys.
  std::string_view parent() const {
    const std::size_t slash = path.rfind('/');
    return slash == path.npos ? std::string_view() : path.substr(0, slash);
  }
};

std::span<const Key> all_keys();
/// nullptr where the section has no such key.
const Key* find_key(std::string_view section, std::string_view name);
std::vector<const Key*> keys_of(std::string_view section);

/// "a|b|c" in its parts.
std::vector<std::string> choices(std::string_view values);
/// What a value may be, for the end of a message: "a whole number, 1 to 65535".
std::string allowed(const Key& key);

}  // namespace tunorch
