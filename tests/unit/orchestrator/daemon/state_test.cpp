#include "orchestrator/daemon/state.hpp"

#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <utility>

namespace tunorch {
namespace {

TEST(DaemonState, TakesTheseEventsAndNoOthers) {
  using enum DaemonState;
  using Event = DaemonEvent;
  const std::map<std::pair<DaemonState, Event>, DaemonState> table{
      {{idle, Event::applied}, serving},        {{idle, Event::cannot_load}, blocked},
      {{idle, Event::down}, going_down},        {{blocked, Event::applied}, serving},
      {{blocked, Event::cannot_load}, blocked}, {{blocked, Event::down}, going_down},
      {{serving, Event::applied}, serving},     {{serving, Event::down}, going_down},
      {{going_down, Event::all_ended}, over},
  };
  for (const DaemonState state : {idle, blocked, serving, going_down, over})
    for (const Event event : {Event::applied, Event::cannot_load, Event::down, Event::all_ended}) {
      const auto entry = table.find({state, event});
      if (entry == table.end())
        EXPECT_THROW((void)after(state, event), std::logic_error)
            << to_string(state) << " " << static_cast<int>(event);
      else
        EXPECT_EQ(after(state, event), entry->second) << to_string(state);
    }
}

}  // namespace
}  // namespace tunorch
