#include "orchestrator/daemon/waiting_applies.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace tunorch {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class WaitingAppliesTest : public testing::Test {
 protected:
  void add(seconds limit) {
    waiting.add(
        {[this](const DaemonAnswer& answer) { answers.push_back(json::parse(to_line(answer))); },
         start + limit});
  }
  void answer(seconds after, std::vector<std::string> missing) {
    waiting.answer(
        start + after, [&](const WaitingApply&) { return missing; }, done);
  }

  WaitingApplies waiting;
  WaitingApplies::Time start{seconds(1000)};
  ApplyDone done{true, {}, PageState{"127.0.0.1:9810", 7, ""}, 500};
  std::vector<json> answers;
};

TEST_F(WaitingAppliesTest, AnswersAtOnceWhatIsHealthy) {
  add(seconds(30));
  answer(seconds(0), {});
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0]["done"], true);
  EXPECT_EQ(answers[0]["web"]["pid"], 7);
  EXPECT_EQ(answers[0]["confirm_within_ms"], 500);
  EXPECT_TRUE(waiting.empty());
}

TEST_F(WaitingAppliesTest, SaysWhatIsMissingWhenThatChanges) {
  add(seconds(30));
  answer(seconds(1), {"a", "b"});
  answer(seconds(2), {"a", "b"});
  answer(seconds(3), {"b"});
  EXPECT_THAT(answers, ElementsAre(json{{"waiting", 2}, {"first", "a"}},
                                   json{{"waiting", 1}, {"first", "b"}}));
}

TEST_F(WaitingAppliesTest, NamesWhatIsMissingWhenTimeIsUp) {
  add(seconds(30));
  answer(seconds(30), {"a"});
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0]["done"], false);
  EXPECT_EQ(answers[0]["missing"], json({"a"}));
}

TEST_F(WaitingAppliesTest, WakesForTheFirstDeadline) {
  EXPECT_FALSE(waiting.next());
  add(seconds(30));
  add(seconds(10));
  EXPECT_EQ(waiting.next(), start + seconds(10));
}

TEST_F(WaitingAppliesTest, FailsAllOfThemOnce) {
  add(seconds(30));
  add(seconds(10));
  waiting.fail("reverted");
  EXPECT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0]["error"], "reverted");
  waiting.fail("reverted");
  EXPECT_EQ(answers.size(), 2u);
}

}  // namespace
}  // namespace tunorch
