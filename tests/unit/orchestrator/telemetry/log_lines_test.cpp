#include "orchestrator/telemetry/log_lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

namespace tunorch {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

std::string numbered(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + "\n";
  return text;
}

TEST(Harmless, LeavesTextAsItIs) {
  EXPECT_EQ(harmless("grüße … 漢字 😀 a\tb"), "grüße … 漢字 😀 a b");
}

TEST(Harmless, WritesOutWhatATerminalWouldObey) {
  EXPECT_EQ(harmless("\x1b[2Jx\x7f"), "\\x1b[2Jx\\x7f");
  EXPECT_EQ(harmless("\xc2\x9b"), "\\xc2\\x9b") << "CSI as one character";
  EXPECT_EQ(harmless("a\u202eb"), "a\\xe2\\x80\\xaeb") << "what turns the text round";
  EXPECT_EQ(harmless(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Harmless, WritesOutWhatIsNoUtf8) {
  EXPECT_EQ(harmless("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(harmless("\xc0\xaf"), "\\xc0\\xaf") << "overlong";
  EXPECT_EQ(harmless("\xe0\x80\xaf"), "\\xe0\\x80\\xaf") << "overlong";
  EXPECT_EQ(harmless("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(harmless("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond the last";
  EXPECT_EQ(harmless("a\xc3"), "a\\xc3") << "cut off";
}

TEST(Harmless, CutsAtWholeCharacters) {
  EXPECT_EQ(harmless(std::string(500, 'a')), std::string(500, 'a'));
  EXPECT_EQ(harmless(std::string(501, 'a')), std::string(497, 'a') + "…");
  EXPECT_EQ(harmless("ääää", 8), "ääää");
  EXPECT_EQ(harmless("äääää", 8), "ää…");
  EXPECT_LE(harmless(std::string(5000, '\xff')).size(), max_line_bytes);
}

TEST(Harmless, MakesAnyBytesText) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> byte(0, 255), length(0, 40);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(static_cast<std::size_t>(length(random)), '\0');
    for (char& one : bytes) one = static_cast<char>(byte(random));
    const std::string clean = harmless(bytes, 60);
    ASSERT_LE(clean.size(), 60U);
    ASSERT_NO_THROW(nlohmann::json(clean).dump()) << "no UTF-8";
    ASSERT_TRUE(std::ranges::none_of(clean, [](unsigned char c) { return c < ' ' || c == 127; }));
  }
}

TEST(Concerns, TakesWholeNamesOnly) {
  EXPECT_TRUE(concerns("worker_started     backbone-1: pid 7", "backbone-1"));
  EXPECT_TRUE(concerns("reason tunnel=backbone-1", "backbone-1"));
  EXPECT_TRUE(concerns("it goes to backbone-10 and backbone-1.", "backbone-1"));
  EXPECT_FALSE(concerns("worker_started     backbone-10: pid 7", "backbone-1"));
  EXPECT_FALSE(concerns("in /run/w/backbone-1.log", "backbone-1"));
  EXPECT_FALSE(concerns("my-backbone-1", "backbone-1"));
}

TEST(Concerns, AsksWhoPrintedItAndNotWhat) {
  const std::string line = output_line("backbone-0", "I am not backbone-1, tunnel=backbone-1");
  EXPECT_EQ(line, "output tunnel=backbone-0: I am not backbone-1, tunnel=backbone-1");
  EXPECT_TRUE(concerns(line, "backbone-0"));
  EXPECT_FALSE(concerns(line, "backbone-1"));
}

TEST(OutputLinesTest, WaitsForTheEndOfALine) {
  OutputLines lines;
  auto taken = lines.take("one\ntwo\r\n\n  \nthr", seconds(1));
  EXPECT_THAT(taken.lines, ElementsAre("one", "two"));
  EXPECT_EQ(taken.bytes, 13U);
  EXPECT_FALSE(taken.more);
  taken = lines.take("three\n", seconds(1));
  EXPECT_THAT(taken.lines, ElementsAre("three"));
}

TEST(OutputLinesTest, TakesAFewAtOnce) {
  OutputLines lines;
  const std::string text = numbered(15);
  auto taken = lines.take(text, seconds(1));
  EXPECT_EQ(taken.lines.size(), 10U);
  EXPECT_TRUE(taken.more);
  taken = lines.take(text.substr(taken.bytes), seconds(1));
  EXPECT_THAT(taken.lines, ElementsAre("10", "11", "12", "13", "14"));
  EXPECT_FALSE(taken.more);
}

TEST(OutputLinesTest, LeavesOutAFloodAndSaysHowMuch) {
  OutputLines lines;
  const std::string text = numbered(1000);
  std::size_t done = 0, passed = 0;
  for (int turn = 0; turn < 50; ++turn) {
    const auto taken = lines.take(std::string_view(text).substr(done), seconds(1));
    done += taken.bytes;
    passed += taken.lines.size();
  }
  EXPECT_EQ(done, text.size());
  EXPECT_EQ(passed, 100U);
  EXPECT_TRUE(lines.owes());
  lines.leave_out(77);
  EXPECT_THAT(lines.take("", seconds(1)).lines, IsEmpty());
  EXPECT_THAT(lines.take("next\n", seconds(2)).lines,
              ElementsAre("900 lines and 77 bytes left out", "next"));
  EXPECT_FALSE(lines.owes());
  EXPECT_THAT(lines.take("", seconds(3)).lines, IsEmpty());
}

TEST(OutputLinesTest, CutsALineWithoutEnd) {
  OutputLines lines;
  const std::string endless(OutputLines::chunk_bytes, 'x');
  auto taken = lines.take(endless, seconds(1));
  ASSERT_EQ(taken.lines.size(), 1U);
  EXPECT_LE(taken.lines[0].size(), max_line_bytes);
  EXPECT_EQ(taken.bytes, endless.size());
  EXPECT_THAT(lines.take(endless, seconds(1)).lines, IsEmpty());
  EXPECT_THAT(lines.take("its end\nnext\n", seconds(1)).lines, ElementsAre("next"));
}

}  // namespace
}  // namespace tunorch
