#include "orchestrator/health/health.hpp"

namespace tunorch {

const char* to_string(Health health) {
  switch (health) {
    case Health::up:
      return "up";
    case Health::down:
      return "down";
    case Health::unknown:
      break;
  }
  return "unknown";
}

Health Dampener::observe(bool answered) {
  answered_ = answered ? answered_ + 1 : 0;
  lost_ = answered ? 0 : lost_ + 1;
  if (answered_ >= rise_) state_ = Health::up;
  if (lost_ >= fall_) state_ = Health::down;
  return state_;
}

}  // namespace tunorch
