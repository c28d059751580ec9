// What is shown of a peer's answer to `explain`: its words, and nothing that a terminal obeys.
#include "orchestrator/daemon/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tunorch {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

const json ours{{"flow", json::object()}, {"tunnel", "backbone-0"}, {"peer", "edge"}};

TEST(Explain, ShowsAPeersWordsWithoutWhatATerminalObeys) {
  const json theirs{
      {"flow", json::object()}, {"route", "\x1b[2J10.77.0.1"}, {"tunnel", "backbone-1"}};
  const std::string text = explanation(ours, theirs);
  EXPECT_THAT(text, HasSubstr("?[2J10.77.0.1"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("different tunnels"));
}

TEST(Explain, SaysWhereAPeersAnswerCannotBeRead) {
  for (const json& theirs :
       {json(7), json::object(), json{{"flow", 7}}, json{{"flow", {{"source", 7}}}},
        json{{"flow", json::object()}, {"tunnel", 7}}})
    EXPECT_THAT(explanation(ours, theirs), HasSubstr("nothing that can be read")) << theirs;
}

}  // namespace
}  // namespace tunorch
