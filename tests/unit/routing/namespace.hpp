// What the kernel tests of routing/ share: a network namespace of their own a test, and devices in
// it. Nothing of the host is touched; the namespace goes with the process or with the next test.
//
//   +---------------- namespace of one test ----------------+
//   |  lo (up)   t0, t1, t2, …: TUNs with no one at the end  |
//   +-------------------------------------------------------+
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include "routing/netlink.hpp"
#include "routing/tun.hpp"

namespace tunorch::routing {

constexpr std::uint8_t our_protocol = 116;
constexpr std::uint8_t foreign_protocol = 4;  // RTPROT_STATIC

inline Prefix prefix(const std::string& text) {
  const auto parsed = Prefix::parse(text);
  if (!parsed) throw std::invalid_argument("not a prefix: " + text);
  return *parsed;
}

class NamespaceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) return cannot_run("needs root to make a network namespace");
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) return cannot_run("no /dev/net/tun here");
    if (::unshare(CLONE_NEWNET) != 0)
      return cannot_run(std::string("cannot make a network namespace: ") + std::strerror(errno));
    Netlink(our_protocol).set_up("lo");
  }

  /// In CI nothing may skip: there it fails.
  static void cannot_run(const std::string& reason) {
    const char* ci = std::getenv("CI");
    if (ci && std::string(ci) == "true") FAIL() << reason;
    GTEST_SKIP() << reason;
  }

  static void make_tun(Netlink& netlink, const std::string& name) {
    create_tun(name, 0);
    netlink.set_no_link_local(name);
    netlink.set_up(name);
  }

  static Link link(Netlink& netlink, const std::string& name) {
    const auto links = netlink.links();
    const auto found = std::ranges::find(links, name, &Link::name);
    if (found == links.end()) throw std::runtime_error("no link " + name);
    return *found;
  }
};

/// What `action` throws; a success is a failure of the test.
template <class Action>
std::system_error error_of(Action action) {
  try {
    action();
  } catch (const std::system_error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return std::system_error(0, std::generic_category(), "nothing was thrown");
}

}  // namespace tunorch::routing
