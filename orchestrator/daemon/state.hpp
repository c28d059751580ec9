// What a daemon is doing as a whole, and what may follow. Pure; what each state means for the tick
// is the supervisor's.
#pragma once

#include <cstdint>

namespace tunorch {

//          applied                                 down
//  idle ─────────────▶ serving ◀──┐ applied ─────────────────▶ going_down ──────────▶ over
//   │                     ▲ └─────┘                              ▲    ▲      all_ended
//   │ cannot_load         │ applied                              │    │
//   └────────────────▶ blocked ◀──┐ cannot_load ─────────────────┘    │
//                         └───────┘                       down        │
//   idle ──────────────────────────────────────────────────────────────┘
//                                      down
/// idle: nothing is applied. blocked: what was applied cannot be loaded; what runs is left as it
/// is, and loading is tried again. serving: the plan is followed. going_down: workers end. over:
/// the machine is as it was before, and nothing may be waited for any more.
enum class DaemonState : std::uint8_t { idle, blocked, serving, going_down, over };

enum class DaemonEvent : std::uint8_t { applied, cannot_load, down, all_ended };

const char* to_string(DaemonState state);

/// Throws std::logic_error for an event that cannot happen in this state.
DaemonState after(DaemonState state, DaemonEvent event);

}  // namespace tunorch
