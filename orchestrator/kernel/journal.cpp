#include "orchestrator/kernel/journal.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "orchestrator/system/files.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

std::string place_of_this_process() {
  const std::string boot = read_text("/proc/sys/kernel/random/boot_id").value_or("");
  return boot.substr(0, boot.find('\n')) + " " +
         std::filesystem::read_symlink("/proc/self/ns/net").string();
}

json to_json_text(const SysctlSetting& s) {
  json fan_out = json::object();
  for (const auto& other : s.fan_out) fan_out[other.key] = other.value;
  return {{"key", s.setting.key}, {"value", s.setting.value}, {"fan_out", fan_out}};
}

SysctlSetting setting_from(const json& entry) {
  SysctlSetting s;
  s.setting = {entry.at("key"), entry.at("value")};
  for (const auto& [key, value] : entry.at("fan_out").items()) s.fan_out.push_back({key, value});
  return s;
}

}  // namespace

Journal::Journal(std::filesystem::path file)
    : file_(std::move(file)), place_(place_of_this_process()) {
  const auto text = read_text(file_);
  if (!text) return;
  const json saved = json::parse(*text, nullptr, false);
  if (!saved.is_object() || saved.value("place", "") != place_) return;
  for (const json& entry : saved.at("sysctls")) settings_.push_back(setting_from(entry));
  for (const json& entry : saved.at("addresses"))
    if (const auto prefix = routing::Prefix::parse(entry.at("address").get<std::string>()))
      addresses_.push_back({entry.at("dev"), *prefix});
  devices_ = saved.at("devices").get<std::vector<std::string>>();
  nft_table_ = saved.value("nft_table", false);
}

void Journal::save() const {
  json saved{{"place", place_},
             {"sysctls", json::array()},
             {"addresses", json::array()},
             {"devices", devices_},
             {"nft_table", nft_table_}};
  for (const auto& setting : settings_) saved["sysctls"].push_back(to_json_text(setting));
  for (const auto& address : addresses_)
    saved["addresses"].push_back({{"dev", address.dev}, {"address", address.prefix.text()}});
  write_whole(file_, saved.dump(2));
}

bool Journal::has(const std::string& key) const {
  return std::ranges::any_of(settings_, [&](const auto& s) { return s.setting.key == key; });
}

void Journal::add(const SysctlSetting& original) {
  if (has(original.setting.key)) return;  // the first value is the one to go back to
  settings_.push_back(original);
  save();
}

void Journal::remove(const std::string& key) {
  std::erase_if(settings_, [&](const auto& s) { return s.setting.key == key; });
  save();
}

void Journal::add(const routing::Address& address) {
  addresses_.push_back(address);
  save();
}

void Journal::remove(const routing::Address& address) {
  std::erase(addresses_, address);
  save();
}

void Journal::add_device(const std::string& name) {
  devices_.push_back(name);
  save();
}

void Journal::remove_device(const std::string& name) {
  std::erase(devices_, name);
  save();
}

void Journal::set_nft_table(bool ours) {
  if (nft_table_ == ours) return;
  nft_table_ = ours;
  save();
}

void Journal::discard() {
  settings_.clear();
  addresses_.clear();
  devices_.clear();
  nft_table_ = false;
  remove_whole(file_);
}

}  // namespace tunorch
