// Kernel settings of a namespace of the test's own (namespace.hpp): what a write changes is
// measured by reading every setting before and after it.
#include "routing/sysctl.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/unit/routing/namespace.hpp"

namespace tunorch::routing {
namespace {

using testing::HasSubstr;
using testing::IsSubsetOf;

using Settings = std::map<std::string, std::string>;

std::string key_of(const std::filesystem::path& path) {
  std::string key = std::filesystem::relative(path, "/proc/sys");
  for (char& c : key) c = c == '/' ? '.' : c == '.' ? '/' : c;
  return key;
}

// Not among them: stable_secret, which the kernel makes up when addr_gen_mode asks for it, and
// which cannot be unset.
Settings all_settings() {
  Settings settings;
  for (const char* root : {"/proc/sys/net/ipv4", "/proc/sys/net/ipv6"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (entry.path().filename() == "stable_secret") continue;
      std::ifstream file(entry.path());
      std::stringstream value;
      if (entry.is_regular_file() && value << file.rdbuf()) settings[key_of(entry)] = value.str();
    }
  return settings;
}

std::vector<std::string> changed(const Settings& before, const Settings& after) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : after)
    if (!before.contains(key) || before.at(key) != value) keys.push_back(key);
  return keys;
}

std::string normalised(std::string value) {
  value.resize(value.find('\n'));
  std::ranges::replace(value, '\t', ' ');
  return value;
}

class SysctlTest : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (const char* dev : {"t0", "t1", "a.b"}) create_tun(dev, 0);
  }
};

TEST_F(SysctlTest, ReadsWhatIsThereAndNothingElse) {
  EXPECT_EQ(read_sysctl("net.ipv4.ip_forward"), "0");
  EXPECT_EQ(read_sysctl("net.ipv4.no_such_key"), std::nullopt);
  EXPECT_EQ(read_sysctl("net.ipv4.conf.gone.forwarding"), std::nullopt);
  EXPECT_EQ(read_sysctl("net.ipv4.ip_forward.below_a_file"), std::nullopt);
}

TEST_F(SysctlTest, WritesAndReadsBack) {
  write_sysctl({"net.ipv4.ip_forward", "1"});
  EXPECT_EQ(read_sysctl("net.ipv4.ip_forward"), "1");
  write_sysctl({"net.ipv4.tcp_rmem", "4096 131072 262144"});
  EXPECT_EQ(read_sysctl("net.ipv4.tcp_rmem"), "4096 131072 262144");  // the kernel prints tabs
}

TEST_F(SysctlTest, TakesADotInADeviceNameAsASlash) {
  write_sysctl({"net.ipv4.conf.a/b.rp_filter", "2"});
  EXPECT_EQ(read_sysctl("net.ipv4.conf.a/b.rp_filter"), "2");
}

TEST_F(SysctlTest, SaysWhichWriteFailed) {
  const auto error = error_of([] { write_sysctl({"net.ipv4.ip_forward", "many"}); });
  EXPECT_EQ(error.code(), std::errc::invalid_argument);
  EXPECT_THAT(error.what(), HasSubstr("cannot write sysctl net.ipv4.ip_forward = many: "));
  EXPECT_EQ(error_of([] {
              write_sysctl({"net.ipv4.no_such_key", "1"});
            }).code(),
            std::errc::no_such_file_or_directory);
}

TEST_F(SysctlTest, NeverLeavesProcSys) {
  for (const char* key : {"", "//.//.etc.hostname", "net.//.//.//.etc.hostname", ".etc.hostname"})
    EXPECT_EQ(error_of([&] { read_sysctl(key); }).code(), std::errc::invalid_argument) << key;
}

TEST_F(SysctlTest, KnowsWhatItMayWriteHere) {
  EXPECT_TRUE(sysctl_writable("net.ipv4.ip_forward"));
  EXPECT_FALSE(sysctl_writable("net.ipv4.no_such_key"));
  if (read_sysctl("net.core.rmem_max")) {
    EXPECT_FALSE(sysctl_writable("net.core.rmem_max"));  // 0444 in a namespace
  }
}

TEST_F(SysctlTest, NamesTheKeysThatForwardingResets) {
  const std::vector<std::string> expected = {
      "net.ipv4.conf.a/b.forwarding", "net.ipv4.conf.all.accept_redirects",
      "net.ipv4.conf.all.forwarding", "net.ipv4.conf.default.forwarding",
      "net.ipv4.conf.lo.forwarding",  "net.ipv4.conf.t0.forwarding",
      "net.ipv4.conf.t1.forwarding"};
  EXPECT_EQ(sysctl_fan_out("net.ipv4.ip_forward"), expected);
}

TEST_F(SysctlTest, NamesTheSameValueInAnotherUnit) {
  EXPECT_EQ(sysctl_fan_out("net.ipv6.route.gc_min_interval"),
            std::vector<std::string>{"net.ipv6.route.gc_min_interval_ms"});
  EXPECT_EQ(sysctl_fan_out("net.ipv4.neigh.t0.base_reachable_time_ms"),
            std::vector<std::string>{"net.ipv4.neigh.t0.base_reachable_time"});
}

TEST_F(SysctlTest, NamesNothingForAKeyThatStandsAlone) {
  for (const char* key :
       {"net.ipv4.tcp_rmem", "net.ipv4.conf.t0.forwarding", "net.ipv4.conf.all.rp_filter",
        "net.ipv6.conf.default.forwarding", "net.ipv6.conf.all.accept_ra", "net.ipv4.no_such_key"})
    EXPECT_TRUE(sysctl_fan_out(key).empty()) << key;
}

// Flips every setting that is a 0 or a 1: what changed besides must have been named, and putting
// the key and then the named ones back must restore it all. One device stands for all of them.
TEST_F(SysctlTest, NamesWhateverAWriteToAnyKeyChanges) {
  const Settings before = all_settings();
  int fanned_out = 0, flipped = 0;
  for (const auto& [key, text] : before) {
    const bool another_device = key.find(".lo.") != key.npos || key.find(".t1.") != key.npos;
    if ((text != "0\n" && text != "1\n") || another_device || !sysctl_writable(key)) continue;
    const auto named = sysctl_fan_out(key);
    try {
      write_sysctl({key, text == "0\n" ? "1" : "0"});
    } catch (const std::system_error&) {
      continue;  // out of its range
    }
    auto others = changed(before, all_settings());
    std::erase(others, key);
    EXPECT_THAT(others, IsSubsetOf(named)) << key;
    fanned_out += others.empty() ? 0 : 1;
    ++flipped;

    write_sysctl({key, text.substr(0, 1)});
    for (const std::string& other : others)
      if (const std::string old = normalised(before.at(other)); read_sysctl(other) != old)
        write_sysctl({other, old});
  }
  EXPECT_EQ(changed(before, all_settings()), std::vector<std::string>{});
  EXPECT_GT(flipped, 100);
  EXPECT_GT(fanned_out, 6);
}

TEST_F(SysctlTest, CanBeUndoneWithTheFanOut) {
  write_sysctl({"net.ipv4.conf.t0.forwarding", "1"});
  write_sysctl({"net.ipv4.conf.all.accept_redirects", "0"});
  const Settings before = all_settings();
  for (const char* key : {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}) {
    std::vector<Sysctl> journal = {{key, *read_sysctl(key)}};
    for (const std::string& other : sysctl_fan_out(key))
      journal.push_back({other, *read_sysctl(other)});
    write_sysctl({key, "1"});
    write_sysctl({key, "0"});
    // `key` first, as journaled: what it resets is then put back.
    for (const Sysctl& old : journal)
      if (read_sysctl(old.key) != old.value) write_sysctl(old);
  }
  EXPECT_EQ(changed(before, all_settings()), std::vector<std::string>{});
}

}  // namespace
}  // namespace tunorch::routing
