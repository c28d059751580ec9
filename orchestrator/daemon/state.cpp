#include "orchestrator/daemon/state.hpp"

#include <stdexcept>
#include <string>

namespace tunorch {

const char* to_string(DaemonState state) {
  switch (state) {
    case DaemonState::idle:
      return "idle";
    case DaemonState::blocked:
      return "blocked";
    case DaemonState::serving:
      return "serving";
    case DaemonState::going_down:
      return "going down";
    case DaemonState::over:
      return "over";
  }
  return "";
}

DaemonState after(DaemonState state, DaemonEvent event) {
  using enum DaemonState;
  const bool may_end = state == idle || state == blocked || state == serving;
  switch (event) {
    case DaemonEvent::applied:
      if (may_end) return serving;
      break;
    case DaemonEvent::cannot_load:
      if (state == idle || state == blocked) return blocked;
      break;
    case DaemonEvent::down:
      if (may_end) return going_down;
      break;
    case DaemonEvent::all_ended:
      if (state == going_down) return over;
      break;
  }
  throw std::logic_error(std::string("a daemon that is ") + to_string(state) +
                         " cannot take event " + std::to_string(static_cast<int>(event)));
}

}  // namespace tunorch
