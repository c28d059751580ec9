#include "orchestrator/tunnels/worker_output.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr WorkerOutput::Clock::time_point start{std::chrono::hours(1)};

fs::path make_top() {
  char name[] = "/tmp/tunorch-output-XXXXXX";
  if (!::mkdtemp(name)) throw std::runtime_error("no folder");
  return name;
}

class WorkerOutputTest : public testing::Test {
 protected:
  WorkerOutputTest() {
    auto logger = std::make_shared<spdlog::logger>("test", sink_);
    logger->set_pattern("%v");
    spdlog::set_default_logger(logger);
  }
  ~WorkerOutputTest() override { fs::remove_all(top_); }

  void print(const std::string& text) {
    ASSERT_EQ(::write(process_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// What was logged since it was asked for last.
  std::vector<std::string> logged() {
    std::vector<std::string> lines = sink_->last_formatted();
    for (std::string& line : lines) line.pop_back();
    lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(seen_));
    seen_ += lines.size();
    return lines;
  }

  std::shared_ptr<spdlog::sinks::ringbuffer_sink_st> sink_ =
      std::make_shared<spdlog::sinks::ringbuffer_sink_st>(10000);
  std::size_t seen_ = 0;
  fs::path top_ = make_top();
  WorkerOutput output_{"t", top_ / "t.log"};
  Fd process_ = output_.open();
};

TEST_F(WorkerOutputTest, PassesOnWholeLinesOnce) {
  print("one\ntw");
  output_.pass_on(start);
  EXPECT_THAT(logged(), ElementsAre("output tunnel=t: one"));
  output_.pass_on(start);
  EXPECT_THAT(logged(), IsEmpty());
  print("o\n\x1b[1mthree\xff\n");
  output_.pass_on(start);
  EXPECT_THAT(logged(), ElementsAre("output tunnel=t: two", "output tunnel=t: \\x1b[1mthree\\xff"));
}

TEST_F(WorkerOutputTest, StaysSmallInAFlood) {
  const std::string page(1000, 'x');
  for (int i = 0; i < 3000; ++i) {
    print(page + "\n");
    if (i % 50 == 0) {
      output_.pass_on(start);
      output_.trim();
    }
    ASSERT_LE(fs::file_size(output_.file()), WorkerOutput::max_bytes + 51000);
  }
  output_.pass_on(start);
  EXPECT_EQ(logged().size(), OutputLines::most_a_second);
  output_.pass_on(start + std::chrono::seconds(1));
  EXPECT_THAT(logged(), Contains(testing::ContainsRegex("[0-9]+ lines and [0-9]+ bytes left out")));
}

TEST_F(WorkerOutputTest, GoesOnAtTheEndOfWhatWasThereBefore) {
  print("before\n");
  WorkerOutput next("t", output_.file());
  next.resume(0);
  next.pass_on(start);
  EXPECT_THAT(logged(), IsEmpty());
  print("after\n");
  next.pass_on(start);
  EXPECT_THAT(logged(), ElementsAre("output tunnel=t: after"));
}

TEST_F(WorkerOutputTest, PassesOnItsLastWordsAndIsGone) {
  for (int i = 0; i < 200; ++i) print("line " + std::to_string(i) + "\n");
  output_.pass_on(start);
  logged();
  print("the end");
  EXPECT_THAT(output_.last_lines(), Contains("the end"));
  output_.finish();
  const auto lines = logged();
  ASSERT_FALSE(lines.empty());
  EXPECT_FALSE(fs::exists(output_.file()));
  EXPECT_THAT(lines.front(), HasSubstr("line 10"));
  EXPECT_THAT(lines, Contains("output tunnel=t: 91 lines left out"));
}

TEST_F(WorkerOutputTest, KeepsTheEndOfWhatWasPrinted) {
  EXPECT_THAT(output_.last_lines(), IsEmpty());
  print("one\n\n  \n\x1b[1mtwo\x1b[0m\n");
  EXPECT_THAT(output_.last_lines(), ElementsAre("one", "[1mtwo[0m"));
  output_.trim();
  EXPECT_EQ(output_.last_lines().size(), 2U);
  print(std::string(1024 * 1024, 'x'));
  output_.trim();
  EXPECT_THAT(output_.last_lines(), IsEmpty());
  print("three\n");
  EXPECT_THAT(output_.last_lines(), ElementsAre("three"));
}

TEST_F(WorkerOutputTest, HasNothingToSayOfAFileThatIsNotThere) {
  WorkerOutput none("n", top_ / "n.log");
  none.resume(0);
  none.pass_on(start);
  none.trim();
  none.finish();
  EXPECT_THAT(logged(), IsEmpty());
}

}  // namespace
}  // namespace tunorch
