#include "orchestrator/system/confinement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tunorch {
namespace {

TEST(Confinement, OfNoProcess) {
  EXPECT_FALSE(confinement_of(0));
  EXPECT_EQ(confinement_text(confinement_of(0)), "not running");
}

TEST(Confinement, InWords) {
  EXPECT_EQ(confinement_text(Confinement{7, {"net_raw", "kill"}, true, false}),
            "own user, 2 capabilities (--json names them), no_new_privs");
  EXPECT_EQ(confinement_text(Confinement{7, {}, true, true}),
            "own user, no capabilities, no_new_privs, seccomp");
}

/// In a child, for there is no way back. What a process started by it can get is bounded too.
TEST(Confinement, ADaemonKeepsWhatItNeeds) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    confine_daemon();
    ::dup2(pipe[1], STDOUT_FILENO);
    ::execl("/bin/grep", "grep", "-E", "^Cap(Eff|Bnd)", "/proc/self/status", nullptr);
    ::_exit(1);
  }
  ::close(pipe[1]);
  std::string text(4096, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(pipe[0], text.data(), 4096))));
  ::close(pipe[0]);
  ::waitpid(child, nullptr, 0);
  for (const auto* set : {"CapEff:\t", "CapBnd:\t"}) {
    ASSERT_NE(text.find(set), text.npos) << text;
    const auto bits = std::stoull(text.substr(text.find(set) + 8, 16), nullptr, 16);
    EXPECT_TRUE(bits >> 12 & 1) << "CAP_NET_ADMIN " << text;
    for (const unsigned other : {16U, 22U, 25U})  // SYS_MODULE, SYS_BOOT, SYS_TIME
      EXPECT_FALSE(bits >> other & 1) << text;
  }
}

}  // namespace
}  // namespace tunorch
