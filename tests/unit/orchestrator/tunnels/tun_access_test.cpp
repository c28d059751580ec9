// The machine's own /dev/net/tun, closed for the test where it is open, and as it was afterwards.
#include "orchestrator/tunnels/tun_access.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tunorch {
namespace {

constexpr const char* tun = "/dev/net/tun";
constexpr std::uint32_t user = 1'889'999'999, other = 1'889'999'998;

mode_t mode() {
  struct stat about {};
  return ::stat(tun, &about) == 0 ? about.st_mode & 07777 : 0;
}

bool can_open(std::uint32_t as) {
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(::setgid(as) == 0 && ::setuid(as) == 0 && ::open(tun, O_RDWR) >= 0 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0;
}

class TunAccess : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || mode() == 0) GTEST_SKIP() << "needs root and " << tun;
    before_ = mode();
    ::chmod(tun, 0600);
  }
  void TearDown() override {
    forbid_tun(user);
    forbid_tun(other);
    if (before_ != 0) ::chmod(tun, before_);
  }
  mode_t before_ = 0;
};

TEST_F(TunAccess, IsForThoseWhoAreNamed) {
  EXPECT_FALSE(can_open(user));
  allow_tun(user);
  allow_tun(user);
  allow_tun(other);
  EXPECT_TRUE(can_open(user));
  EXPECT_TRUE(can_open(other));
  forbid_tun(user);
  EXPECT_FALSE(can_open(user));
  EXPECT_TRUE(can_open(other));
  forbid_tun(other);
  EXPECT_EQ(mode(), 0600U) << "as it was";
}

TEST_F(TunAccess, NeedsNothingWhereItIsOpen) {
  ::chmod(tun, 0666);
  allow_tun(user);
  forbid_tun(user);
  EXPECT_EQ(mode(), 0666U);
}

}  // namespace
}  // namespace tunorch
