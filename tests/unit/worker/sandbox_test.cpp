// A child of the test goes into the sandbox and tries things; how it ends is what is looked at.
#include "worker/sandbox.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <regex>
#include <string>
#include <thread>

namespace tunorch::worker {
namespace {

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr int killed = 1000 + SIGSYS;

/// The exit status of a child that does this in the sandbox; 1000 and more: the signal it died of.
int ending(FileAccess files, const std::function<int()>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      enter_sandbox(files);
    } catch (...) {
      ::_exit(99);
    }
    ::_exit(act());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(Sandbox, KillsWhatCarryingPacketsDoesNotTake) {
  const std::vector<std::pair<const char*, std::function<int()>>> acts{
      {"execve", [] { return ::execl("/bin/true", "true", nullptr); }},
      {"fork", [] { return static_cast<int>(::syscall(SYS_fork)); }},
      {"clone without CLONE_THREAD",
       [] { return static_cast<int>(::syscall(SYS_clone, SIGCHLD, 0)); }},
      {"ptrace", [] { return static_cast<int>(::syscall(SYS_ptrace, 0, 0, 0, 0)); }},
      {"kill", [] { return ::kill(::getppid(), 0); }},
      {"a packet socket", [] { return ::socket(AF_PACKET, SOCK_RAW, 0); }},
      {"a netlink socket", [] { return ::socket(AF_NETLINK, SOCK_RAW, 0); }},
      {"unshare", [] { return static_cast<int>(::syscall(SYS_unshare, 0)); }},
      {"setuid", [] { return static_cast<int>(::syscall(SYS_setuid, 0)); }},
      {"memfd_create", [] { return ::memfd_create("x", 0); }},
      {"bpf", [] { return static_cast<int>(::syscall(SYS_bpf, 0, nullptr, 0)); }},
      {"io_uring_setup",
       [] { return static_cast<int>(::syscall(SYS_io_uring_setup, 1, nullptr)); }},
      {"another ioctl", [] { return static_cast<int>(::syscall(SYS_ioctl, 0, 0x5412, "x")); }},
      {"a socket that lingers", [] { return ::setsockopt(0, SOL_SOCKET, SO_LINGER, nullptr, 0); }},
      {"another prctl", [] { return ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }}};
  for (const auto& [what, act] : acts) {
    SCOPED_TRACE(what);
    EXPECT_EQ(ending(FileAccess::none, act), killed);
  }
}

TEST(Sandbox, OpensNoFile) {
  EXPECT_EQ(ending(FileAccess::none, [] { return ::open("/dev/null", O_RDONLY) < 0 ? errno : 0; }),
            EACCES);
}

TEST(Sandbox, ReadsFilesForADatabaseAndWritesNone) {
  EXPECT_EQ(
      ending(FileAccess::read, [] { return ::open("/etc/passwd", O_RDONLY) < 0 ? errno : 0; }), 0);
  EXPECT_EQ(ending(FileAccess::read,
                   [] { return ::open("/tmp/x", O_WRONLY | O_CREAT, 0600) < 0 ? errno : 0; }),
            EACCES);
  EXPECT_EQ(ending(FileAccess::read, [] { return ::open("/dev/null", O_WRONLY) < 0 ? errno : 0; }),
            EACCES);
}

/// Of several addresses, which are sorted by asking the kernel for the way to each.
TEST(Sandbox, FindsAnAddressForADatabase) {
  EXPECT_EQ(ending(FileAccess::read,
                   [] {
                     addrinfo hints{};
                     hints.ai_socktype = SOCK_STREAM;
                     hints.ai_flags = AI_NUMERICSERV;
                     addrinfo* found = nullptr;
                     const int error = ::getaddrinfo("localhost", "5432", &hints, &found);
                     return error == 0 && found ? 0 : 1;
                   }),
            0);
  EXPECT_EQ(ending(FileAccess::read,
                   [] { return ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0 ? 1 : 0; }),
            0);
  EXPECT_EQ(ending(FileAccess::none, [] { return ::socket(AF_INET6, SOCK_DGRAM, 0) < 0 ? 1 : 0; }),
            killed);
}

TEST(Sandbox, MakesNoMemoryExecutable) {
  EXPECT_EQ(ending(FileAccess::none,
                   [] {
                     return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
                                ? errno
                                : 0;
                   }),
            EACCES);
  EXPECT_EQ(ending(FileAccess::none,
                   [] {
                     void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                     return ::mprotect(page, 4096, PROT_READ | PROT_EXEC);
                   }),
            killed);
}

TEST(Sandbox, LeavesThreadsAndSockets) {
  EXPECT_EQ(ending(FileAccess::none,
                   [] {
                     int made = -1;
                     std::thread([&] { made = ::socket(AF_INET6, SOCK_STREAM, 0); }).join();
                     return made < 0 ? 1 : 0;
                   }),
            0);
}
#endif

TEST(Sandbox, LeavesNoCoreDump) {
  int there[2], back[2];
  ASSERT_EQ(::pipe(there), 0);
  ASSERT_EQ(::pipe(back), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    enter_sandbox(FileAccess::none);
    ::_exit(::write(there[1], &byte, 1) == 1 && ::read(back[0], &byte, 1) == 1 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(there[0], &byte, 1), 1);
  std::ifstream limits("/proc/" + std::to_string(child) + "/limits");
  std::string text;
  for (std::string line; std::getline(limits, line);)
    if (line.starts_with("Max core file size")) text = line;
  EXPECT_TRUE(std::regex_search(text, std::regex(" 1 +1 "))) << text;
  EXPECT_EQ(::write(back[1], &byte, 1), 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (const int fd : {there[0], there[1], back[0], back[1]}) ::close(fd);
}

}  // namespace
}  // namespace tunorch::worker
