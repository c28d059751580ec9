// What settings and addresses were before our first write, kept on disk so that any later process
// can put them back. Holds only what cannot be found again by a mark in the kernel.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "orchestrator/plan/step.hpp"

namespace tunorch {

/// Every change is on disk (fsynced) before the call returns: call first, then write the kernel.
class Journal {
 public:
  /// A journal of another boot or another network namespace says nothing about this one and is
  /// taken as empty.
  explicit Journal(std::filesystem::path file);

  const std::vector<SysctlSetting>& settings() const { return settings_; }
  const std::vector<routing::Address>& addresses() const { return addresses_; }
  /// Devices being made: they may be there without their mark.
  const std::vector<std::string>& devices() const { return devices_; }

  bool has(const std::string& key) const;
  void add(const SysctlSetting& original);
  void remove(const std::string& key);
  void add(const routing::Address& address);
  void remove(const routing::Address& address);
  void add_device(const std::string& name);
  void remove_device(const std::string& name);
  /// Whether the nftables table of our name is one we made.
  bool nft_table() const { return nft_table_; }
  void set_nft_table(bool ours);

  /// Everything is put back: takes the file away.
  void discard();

 private:
  void save() const;

  std::filesystem::path file_;
  std::string place_;  // boot id and network namespace
  std::vector<SysctlSetting> settings_;
  std::vector<routing::Address> addresses_;
  std::vector<std::string> devices_;
  bool nft_table_ = false;
};

}  // namespace tunorch
