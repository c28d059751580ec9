// What is shown of a peer's answer to `explain`: its words, and nothing that a terminal obeys.
#include "orchestrator/daemon/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tunorch {
namespace {

using testing::HasSubstr;
using testing::Not;

Way way_by(const std::string& tunnel) {
  Way way;
  way.tunnel = tunnel;
  way.peer = "edge";
  return way;
}

TEST(Explain, ShowsAPeersWordsWithoutWhatATerminalObeys) {
  Way theirs = way_by("backbone-1");
  theirs.route = "\x1b[2J10.77.0.1";
  const std::string text = explanation_text({way_by("backbone-0"), theirs});
  EXPECT_THAT(text, HasSubstr("?[2J10.77.0.1"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("different tunnels"));
}

TEST(Explain, SaysWhereAPeerDidNotAnswer) {
  EXPECT_THAT(explanation_text({way_by("backbone-0"), {}}), HasSubstr("did not tell"));
}

TEST(Explain, RefusesAPeersNoteThatIsNone) {
  for (const char* note : {"7", "{", R"({"flow":7})", R"({"answer":1,"way":{"tunnel":7}})",
                           R"({"answer":1,"way":{"flow":{"source":7}}})", R"({"answer":-1})"})
    EXPECT_THROW(parse_peer_note(note), BadMessage) << note;
  EXPECT_EQ(parse_peer_note(R"({"answer":1,"way":{"tunnel":"b-0"},"later":2})").way->tunnel, "b-0");
}

}  // namespace
}  // namespace tunorch
