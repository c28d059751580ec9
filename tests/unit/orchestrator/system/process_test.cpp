// What is known of a process while it dies.
#include "orchestrator/system/process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

namespace tunorch {
namespace {

constexpr std::size_t child_memory = 256UL << 20;  // so that its end takes a while

/// A child with so many threads, all asleep.
class Child {
 public:
  explicit Child(int threads) {
    std::array<int, 2> ready{};
    if (::pipe(ready.data()) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      const std::vector<char> memory(child_memory, 1);
      std::vector<std::thread> others;
      for (int i = 1; i < threads; ++i) others.emplace_back([] { ::pause(); });
      if (::write(ready[1], "r", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte = 0;
    if (::read(ready[0], &byte, 1) != 1) throw std::runtime_error("no child");
    ::close(ready[0]);
    ::close(ready[1]);
    process_.id.pid = pid_;
    process_.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill();
    ::waitpid(pid_, nullptr, 0);
  }

  const Process& process() const { return process_; }
  void kill() const { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_ = 0;
  Process process_;
};

bool ends(const Fd& fd, int limit_ms) {
  pollfd wait{fd.get(), POLLIN, 0};
  return ::poll(&wait, 1, limit_ms) > 0;
}

TEST(ProcessTest, WatchesThreadsThatEndWhenItIsKilled) {
  const Child child(4);
  EXPECT_EQ(open_threads(child.process(), 2).size(), 2u);
  const auto threads = open_threads(child.process(), 8);
  ASSERT_EQ(threads.size(), 3u);
  for (const auto& thread : threads) EXPECT_FALSE(ends(thread, 0));
  child.kill();
  for (const auto& thread : threads) EXPECT_TRUE(ends(thread, 10'000));
}

/// So many descriptors are free, and what Asio has open is beyond the limit.
class FewDescriptors {
 public:
  explicit FewDescriptors(std::size_t free) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    for (std::size_t i = 0; i < 20; ++i) held_.emplace_back(::dup(STDERR_FILENO));
    io_ = std::make_unique<boost::asio::io_context>();
    signals_ = std::make_unique<boost::asio::signal_set>(*io_, SIGUSR2);
    const rlimit few{static_cast<rlim_t>(held_.front().get()) + free, before_.rlim_max};
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(free));
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  boost::asio::any_io_executor executor() const { return io_->get_executor(); }

 private:
  rlimit before_{};
  std::vector<Fd> held_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::unique_ptr<boost::asio::signal_set> signals_;
};

/// Else there were two of us, with the same sockets.
TEST(ProcessTest, AChildThatCannotBeRunDoesNotComeBack) {
  constexpr int came_back = 99;
  const pid_t ours = ::getpid();
  int not_run = 0;
  for (std::size_t free = 0; free < 12; ++free) {
    const FewDescriptors few(free);
    try {
      launch_foreign(few.executor(), {{"true"}, {}, "/", 0, STDERR_FILENO, -1});
    } catch (const std::exception&) {
    }
    if (::getpid() != ours) ::_exit(came_back);
    int status = 0;
    while (::waitpid(-1, &status, 0) > 0) {
      EXPECT_NE(WEXITSTATUS(status), came_back) << "with " << free << " descriptors free";
      if (WEXITSTATUS(status) != 0) ++not_run;
    }
  }
  EXPECT_GT(not_run, 0) << "no number of descriptors was one with which the child failed";
}

TEST(ProcessTest, HasNoOtherThreadsToWatch) {
  EXPECT_TRUE(open_threads(Child(1).process(), 8).empty());
}

TEST(ProcessTest, TellsAKilledProcessFromALivingOne) {
  const Child child(4);
  EXPECT_FALSE(is_dying(child.process()));
  child.kill();
  // Before it has run again, while its memory is given back, and when it is a zombie.
  int looks = 0;
  for (; !ended_within(child.process(), std::chrono::milliseconds(0)); ++looks)
    EXPECT_TRUE(is_dying(child.process())) << looks;
  EXPECT_GT(looks, 10);
  EXPECT_TRUE(is_dying(child.process()));
}

TEST(ProcessTest, CountsAProcessThatIsGoneAsDying) {
  Process gone;
  {
    const Child child(1);
    gone.id = child.process().id;
  }
  EXPECT_TRUE(is_dying(gone));
}

}  // namespace
}  // namespace tunorch
