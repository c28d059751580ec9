#include "routing/sysctl.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/fd.hpp"

namespace tunorch::routing {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view proc_sys = "/proc/sys/";

// As sysctl(8): dots and slashes change places, for a device may be called eth0.1.
std::string swapped(std::string text) {
  for (char& c : text) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return text;
}

// Keys come from a file that people write: none may lead out of /proc/sys.
std::string path_of(const std::string& key) {
  const std::string below = swapped(key);
  const fs::path path(below);
  const bool leads_out = path.is_absolute() || std::ranges::any_of(path, [](const fs::path& part) {
                           return part == ".." || part == ".";
                         });
  if (below.empty() || leads_out)
    throw std::system_error(EINVAL, std::generic_category(), "cannot use sysctl \"" + key + '"');
  return std::string(proc_sys) + below;
}

std::string normalised(std::string value) {
  while (!value.empty() && (value.back() == '\n' || value.back() == '\t')) value.pop_back();
  std::ranges::replace(value, '\t', ' ');
  return value;
}

std::string read_all(const Fd& fd, const std::string& key) {
  std::string value;
  std::array<char, 4096> chunk;
  for (;;) {
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0) throw std::system_error(errno, std::generic_category(), "cannot read sysctl " + key);
    if (n == 0) return value;
    value.append(chunk.data(), static_cast<std::size_t>(n));
  }
}

bool exists(const std::string& key) {
  return ::access(path_of(key).c_str(), F_OK) == 0;
}

// `stem` is a key's beginning whose directory has one entry a device, beside all and default.
std::vector<std::string> devices_below(const std::string& stem) {
  std::vector<std::string> devices;
  std::error_code none;  // no such directory: IPv6 is off, or this namespace has no such table
  for (const auto& entry : fs::directory_iterator(path_of(stem), none)) {
    const std::string name = entry.path().filename();
    if (name != "all" && name != "default") devices.push_back(swapped(name));
  }
  return devices;
}

struct DeviceKey {
  std::string stem;    // "net.ipv4.conf"
  std::string device;  // "all", "default", or a device
  std::string leaf;    // "forwarding"
};

std::optional<DeviceKey> split_device_key(const std::string& key) {
  for (const std::string stem :
       {"net.ipv4.conf", "net.ipv6.conf", "net.ipv4.neigh", "net.ipv6.neigh"}) {
    if (!key.starts_with(stem + '.')) continue;
    const auto dot = key.find('.', stem.size() + 1);
    if (dot == std::string::npos) return std::nullopt;
    return DeviceKey{stem, key.substr(stem.size() + 1, dot - stem.size() - 1), key.substr(dot + 1)};
  }
  return std::nullopt;
}

std::vector<std::string> on_every_device(const DeviceKey& key) {
  std::vector<std::string> keys;
  for (const std::string& device : devices_below(key.stem))
    keys.push_back(key.stem + '.' + device + '.' + key.leaf);
  return keys;
}

// net/ipv4/devinet.c, inet_forward_change(): ip_forward and conf.all.forwarding are one variable;
// changing it sets `default` and every device, and conf.all.accept_redirects to its opposite.
std::vector<std::string> ipv4_forwarding_fan_out() {
  auto keys = on_every_device({"net.ipv4.conf", "all", "forwarding"});
  keys.insert(keys.end(),
              {"net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding",
               "net.ipv4.conf.default.forwarding", "net.ipv4.conf.all.accept_redirects"});
  return keys;
}

// Measured on 6.18 by dumping net.* around a write to each key: of net.ipv6.conf.all only these
// are copied to the devices and, but for force_forwarding, to `default` (net/ipv6/addrconf.c).
bool ipv6_all_is_copied(const std::string& leaf) {
  static constexpr std::array<std::string_view, 5> copied_keys = {"addr_gen_mode", "disable_ipv6",
                                                                  "force_forwarding", "forwarding",
                                                                  "ignore_routes_with_linkdown"};
  return std::ranges::find(copied_keys, leaf) != copied_keys.end();
}

// A write to an IPv4 or neighbour `default` is copied to each device whose own key was never
// written (devinet.c, devinet_copy_dflt_conf; net/core/neighbour.c, neigh_copy_dflt_parms). Which
// those are cannot be read, so all are named. forwarding has a handler of its own: not copied.
bool default_is_copied(const DeviceKey& key) {
  return key.stem != "net.ipv6.conf" && key.leaf != "forwarding";
}

// Some values are shown in two units: gc_min_interval and gc_min_interval_ms.
std::string in_other_unit(const std::string& key) {
  constexpr std::string_view milliseconds_suffix = "_ms";
  if (key.ends_with(milliseconds_suffix))
    return key.substr(0, key.size() - milliseconds_suffix.size());
  return key + std::string(milliseconds_suffix);
}

std::vector<std::string> copies_of(const std::string& key) {
  if (key == "net.ipv4.ip_forward" || key == "net.ipv4.conf.all.forwarding")
    return ipv4_forwarding_fan_out();
  const auto parts = split_device_key(key);
  if (!parts) return {};
  if (parts->stem == "net.ipv6.conf" && parts->device == "all" && ipv6_all_is_copied(parts->leaf)) {
    auto keys = on_every_device(*parts);
    if (parts->leaf != "force_forwarding") keys.push_back("net.ipv6.conf.default." + parts->leaf);
    return keys;
  }
  if (parts->device == "default" && default_is_copied(*parts)) return on_every_device(*parts);
  return {};
}

}  // namespace

std::optional<std::string> read_sysctl(const std::string& key) {
  const Fd fd(::open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw std::system_error(errno, std::generic_category(), "cannot read sysctl " + key);
  }
  return normalised(read_all(fd, key));
}

void write_sysctl(const Sysctl& sysctl) {
  const std::string line = sysctl.value + '\n';
  const Fd fd(::open(path_of(sysctl.key).c_str(), O_WRONLY | O_CLOEXEC));
  // One write: the kernel takes each write(2) as the whole value.
  if (!fd.valid() || ::write(fd.get(), line.data(), line.size()) < 0)
    throw std::system_error(errno, std::generic_category(),
                            "cannot write sysctl " + sysctl.key + " = " + sysctl.value);
}

bool sysctl_writable(const std::string& key) {
  // Root is no exception: proc_sys_permission() checks the mode alone, and a namespace that may
  // not write a key shows it as 0444.
  const std::string path = path_of(key);
  if (::geteuid() == 0) return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
  struct stat status {};
  struct statvfs mount {};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IWUSR) != 0 &&
         ::statvfs(path.c_str(), &mount) == 0 && (mount.f_flag & ST_RDONLY) == 0;
}

std::vector<std::string> sysctl_fan_out(const std::string& key) {
  std::vector<std::string> keys = copies_of(key);
  keys.push_back(in_other_unit(key));
  std::erase_if(keys, [&](const std::string& other) { return other == key || !exists(other); });
  std::ranges::sort(keys);
  return keys;
}

}  // namespace tunorch::routing
