// The screen of `tunorch top` as lines of toned text: what stands where, and what is left out where
// there is little room. Pure; terminal/screen.hpp draws them.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "orchestrator/terminal/screen.hpp"
#include "orchestrator/top/model.hpp"

namespace tunorch {

/// Less than this cannot show a tunnel's name and state and what one may type.
inline constexpr std::size_t least_columns = 40, least_lines = 8;

struct TopState {
  std::string node;                // of who asks, until the daemon says its own
  std::string away;                // why there is no status; empty: there is one
  std::deque<std::string> events;  // oldest first
  Span message;                    // the last line but one
  Order order = Order::name;
  bool reversed = false, paused = false, help = false;
  std::string selected;  // a tunnel
};

/// Its tunnels in the order shown.
std::vector<std::string> shown_tunnels(const TopModel& model, const TopState& state);

/// Exactly `lines` lines, none of them wider than `columns`.
std::vector<ScreenLine> top_view(const TopModel& model, const TopState& state, std::size_t columns,
                                 std::size_t lines);

/// "941 Mbit/s": three digits, in powers of 1000.
std::string bits_text(double bytes_per_second);

}  // namespace tunorch
