#include "orchestrator/terminal/terminal.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tunorch {
namespace {

constexpr Terminal coloured{.interactive = true, .coloured = true};

Terminal wide(std::size_t columns) {
  return {.columns = columns};
}

TEST(TerminalTest, ColoursOnlyWhereThereAreColours) {
  EXPECT_EQ(toned({}, Tone::bad, "down"), "down");
  EXPECT_EQ(toned(coloured, Tone::bad, "down"), "\033[31mdown\033[0m");
  EXPECT_EQ(toned(coloured, Tone::plain, "down"), "down");
  EXPECT_EQ(toned(coloured, Tone::bad, ""), "");
}

TEST(TerminalTest, CountsAndCutsCodePoints) {
  EXPECT_EQ(width("0…3"), 3U);
  EXPECT_EQ(cut("0…3", 3), "0…3");
  EXPECT_EQ(cut("0…34", 3), "0……");
  EXPECT_EQ(cut("abc", 0), "");
}

const std::vector<Column> columns{{"NAME"}, {"PID", 2}, {"RTT", 1}, {"REASON"}};
const std::vector<std::vector<Cell>> rows{
    {{"backbone-0"}, {"17"}, {"0.1 ms"}, {"it is down and nobody knows why"}},
    {{"b"}, {"1"}, {""}, {""}}};

TEST(TerminalTest, AlignsColumnsWithoutLimit) {
  EXPECT_EQ(table({}, columns, rows),
            "NAME        PID  RTT     REASON\n"
            "backbone-0  17   0.1 ms  it is down and nobody knows why\n"
            "b           1\n");
}

TEST(TerminalTest, CutsTheLastColumnFirst) {
  EXPECT_EQ(table(wide(46), columns, rows),
            "NAME        PID  RTT     REASON\n"
            "backbone-0  17   0.1 ms  it is down and nobod…\n"
            "b           1\n");
}

TEST(TerminalTest, LeavesOutWhatMattersLeast) {
  EXPECT_EQ(table(wide(43), columns, rows),
            "NAME        RTT     REASON\n"
            "backbone-0  0.1 ms  it is down and nobody …\n"
            "b\n");
  EXPECT_EQ(table(wide(10), columns, rows),
            "NAME        REASON\n"
            "backbone-0  it is down and nobo…\n"
            "b\n");
}

TEST(TerminalTest, AlignsWhatIsColoured) {
  const std::string text = table(coloured, {{"A"}, {"B"}}, {{{"up", Tone::good}, {"x"}}});
  EXPECT_EQ(text, "\033[1mA\033[0m   \033[1mB\033[0m\n\033[32mup\033[0m  x\n");
}

TEST(TerminalTest, AScreenEndsAtItsLastLine) {
  EXPECT_EQ(screen({.lines = 9}, "a\nb\n"), "\033[Ha\033[K\nb\033[K\n\033[J");
  EXPECT_EQ(screen({.lines = 3}, "a\nb\nc\nd\n"),
            "\033[Ha\033[K\nb\033[K\n… 2 more lines\033[K\033[J");
}

}  // namespace
}  // namespace tunorch
