// Source NAT for what leaves a bundle, and what may not be forwarded, as one nftables table of ours
// ("inet tunorch"). The only file pair that knows libnftables; touches no other table.
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
};

struct NftTable {
  std::optional<Masquerade> masquerade;
  /// Sorted names of devices: what comes in by one of them is not forwarded to one of the same set.
  std::vector<std::vector<std::string>> isolated;

  bool operator==(const NftTable&) const = default;
  std::string text() const;
};

/// What our table holds now; nothing where there is no such table. A table that does not look as
/// write_nft_table() makes it reads as an empty one, which equals none that is wanted. Throws
/// std::system_error where nftables cannot be read (not permitted: EPERM).
std::optional<NftTable> read_nft_table();
/// Replaces our table as one transaction, or makes it.
void write_nft_table(const NftTable& table);
/// Deletes our table, if it is there.
void delete_nft_table();

}  // namespace tunorch::routing
