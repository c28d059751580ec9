// What a program prints, made into lines that a log can have: whole, of text alone, neither too
// long nor too many. Pure: bytes and the time in, lines out.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tunorch {

inline constexpr std::size_t max_line_bytes = 500;

/// What a terminal could take for more than text (control characters, marks that turn or hide it,
/// bytes that are no UTF-8: Unicode 15.0, table 3-7) as `\xNN`; cut to `most` bytes, `…` last.
std::string harmless(std::string_view text, std::size_t most = max_line_bytes);

/// Whether a line of the daemon's log is about this tunnel: what its process printed, or a line of
/// ours that names it.
bool concerns(std::string_view text, std::string_view tunnel);
/// The line in which the daemon passes on what a tunnel's process printed.
std::string output_line(std::string_view tunnel, std::string_view line);

class OutputLines {
 public:
  static constexpr unsigned most_a_second = 100, most_at_once = 10;
  /// What take() is to be given at most; without an end of line in so much it is cut.
  static constexpr std::size_t chunk_bytes = 16 * 1024;

  struct Taken {
    std::size_t bytes = 0;  // done with; the rest is to be given again, with what came after it
    std::vector<std::string> lines;
    bool more = false;  // whole lines are left, as it were too many at once
  };
  /// What was printed since, from the first byte that is not done with. `now` is any clock's.
  Taken take(std::string_view text, std::chrono::seconds now);
  /// Counts bytes that are not given to take(), because nobody can read that fast.
  void leave_out(std::uint64_t bytes);
  /// Something was left out, which take() says in the next second.
  bool owes() const { return lines_left_out_ > 0 || bytes_left_out_ > 0; }
  /// What take() would have said in the next second; empty: nothing.
  std::string left_out();

 private:
  bool pass(std::string_view line, Taken& taken);

  std::chrono::seconds second_{-1};
  unsigned passed_ = 0;  // in this second
  std::uint64_t lines_left_out_ = 0, bytes_left_out_ = 0;
  bool cut_ = false;  // the rest of this line was cut
};

}  // namespace tunorch
