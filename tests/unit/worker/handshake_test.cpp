#include "worker/handshake.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tunorch::worker {
namespace {

using testing::HasSubstr;

class HandshakeTest : public testing::Test {
 protected:
  HandshakeTest() {
    listener.cluster = dialer.cluster = "demo";
    listener.bundle = dialer.bundle = "backbone";
    listener.tunnel = dialer.tunnel = "backbone-2";
    listener.id = dialer.id = 2;
    listener.listener = true;
    listener.node = "gateway";
    dialer.node = "edge";
    listener.peers = {{"edge", {}, "d1"}, {"branch", {}, "d2"}};
    dialer.peers = {{"gateway", {}, "d1"}};
  }
  std::string refusal(const Hello& hello, const std::string& certificate = "edge") const {
    return refuse_hello(listener, hello, certificate);
  }

  Spec listener, dialer;
};

TEST_F(HandshakeTest, ADialerOfTheSameFileIsTaken) {
  const auto hello = parse_hello(hello_text(make_hello(dialer, 0, {})));
  ASSERT_TRUE(hello);
  EXPECT_EQ(refusal(*hello), "");
}

TEST_F(HandshakeTest, EveryDifferenceIsRefusedInItsOwnWords) {
  const Hello good = make_hello(dialer, 0, {});
  const auto changed = [&](auto change) {
    Hello hello = good;
    change(hello);
    return refusal(hello);
  };
  EXPECT_THAT(changed([](Hello& h) { h.version = h.min_version = 9; }), HasSubstr("version 9"));
  EXPECT_THAT(changed([](Hello& h) { h.node = "branch"; }), HasSubstr("certificate says 'edge'"));
  EXPECT_THAT(changed([](Hello& h) { h.cluster = "x"; }), HasSubstr("cluster 'x'"));
  EXPECT_THAT(changed([](Hello& h) { h.bundle = "x"; }), HasSubstr("bundle 'x'"));
  EXPECT_THAT(changed([](Hello& h) { h.tunnel = 0; }), HasSubstr("backbone-2's"));
  EXPECT_THAT(changed([](Hello& h) { h.stream = 1; }), HasSubstr("stream 1 of 1"));
  EXPECT_THAT(changed([](Hello& h) { h.streams = 17; }), HasSubstr("has 1 to 16"));
  EXPECT_THAT(changed([](Hello& h) { h.stream = -1; }), HasSubstr("stream -1"));
  EXPECT_THAT(changed([](Hello& h) { h.digest = "x"; }), HasSubstr("another cluster file"));
}

TEST_F(HandshakeTest, AVersionRangeThatOverlapsIsTaken) {
  Hello newer = make_hello(dialer, 0, {});
  newer.version = wire_version + 1;
  EXPECT_EQ(refusal(newer), "");
  EXPECT_EQ(make_config(listener, newer, {}).version, wire_version);
}

TEST_F(HandshakeTest, EachEndMayHaveItsOwnNumberOfStreams) {
  dialer.streams = 4;
  EXPECT_EQ(refusal(make_hello(dialer, 3, {})), "");
}

TEST_F(HandshakeTest, OffloadsAreAgreedOn) {
  const Offloads all{.tso = true, .ecn = true, .uso = true};
  EXPECT_EQ(parse_hello(hello_text(make_hello(dialer, 0, all)))->offloads, all);
  EXPECT_EQ(parse_config(config_text(make_config(listener, {}, all)))->offloads, all);
  // A peer of version 2 says nothing of them and takes what was fixed then.
  EXPECT_EQ(parse_hello("{}")->offloads, (Offloads{.tso = true, .ecn = false, .uso = false}));
}

TEST_F(HandshakeTest, ANodeOfTheClusterThatIsNotInTheBundleIsRefused) {
  Hello hello = make_hello(dialer, 0, {});
  hello.node = "other";
  EXPECT_THAT(refusal(hello, "other"), HasSubstr("node 'other' is not in bundle backbone"));
}

TEST_F(HandshakeTest, AnythingButSuchAMessageIsRefused) {
  for (const char* text : {"", "{", "[]", "null", R"({"version":"1"})", R"({"tunnel":{}})"})
    EXPECT_FALSE(parse_hello(text)) << text;
  EXPECT_FALSE(parse_config(R"({"sndbuf_bytes":"all"})"));
}

TEST_F(HandshakeTest, AStateSurvivesTheWireAndGarbageDoesNot) {
  const StateWord said{"boot", 7, {{"backbone-1", true, false}, {"backbone-2", false, true}}, ""};
  const auto heard = parse_state(*state_text(said));
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->sequence, 7u);
  ASSERT_EQ(heard->states.size(), 2u);
  EXPECT_EQ(heard->states[0].tunnel, "backbone-1");
  EXPECT_TRUE(heard->states[0].live);
  EXPECT_TRUE(heard->states[1].draining);
  for (const char* text : {"", "{", "[]", R"({"states":{}})", R"({"sequence":"x"})"})
    EXPECT_FALSE(parse_state(text)) << text;
  StateWord many;
  many.states.resize(65);
  EXPECT_FALSE(parse_state(state_text(many).value_or("")));
  many.note = std::string(max_text_bytes, 'x');
  EXPECT_FALSE(state_text(many)) << "longer than a frame";
}

TEST_F(HandshakeTest, APeersWordsCannotForgeLogLines) {
  EXPECT_EQ(parse_close("{\"reason\":\"a\\nlevel=error\\u001b[31m\"}"), "a?level=error?[31m");
  EXPECT_EQ(parse_close(close_text(std::string(2000, 'x'))).size(), 500u);
  EXPECT_EQ(parse_close("garbage"), "no reason given");
}

}  // namespace
}  // namespace tunorch::worker
