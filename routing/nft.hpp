// Source NAT for what leaves a bundle, as one nftables table of ours ("inet tunorch"). The only
// file pair that knows libnftables; touches no other table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "routing/prefix.hpp"

namespace tunorch::routing {

/// Packets from `sources` that leave by `dev` take that device's address.
struct Masquerade {
  std::string dev;
  std::vector<Prefix> sources;  // sorted, both families

  bool operator==(const Masquerade&) const = default;
  std::string text() const;
};

/// What our table holds now; nothing where there is no such table. A table that does not look as
/// write_masquerade() makes it reads as an empty Masquerade, which equals none that is wanted.
/// Throws std::system_error where nftables cannot be read (not permitted: EPERM).
std::optional<Masquerade> read_masquerade();
/// Replaces our table as one transaction, or makes it.
void write_masquerade(const Masquerade& masquerade);
/// Deletes our table, if it is there.
void delete_masquerade();

}  // namespace tunorch::routing
