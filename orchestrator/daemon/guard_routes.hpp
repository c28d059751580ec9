// Keeps what is meant for a bundle from going around it while the node's keys cannot be loaded.
// Leaves every route that is there as it is.
#pragma once

#include "orchestrator/plan/performer.hpp"
#include "orchestrator/telemetry/events.hpp"

namespace tunorch {

/// Adds the `unreachable` routes and the rules of `without_keys` that are missing. A step that
/// fails becomes an event.
void guard_routes(const Desired& without_keys, Performer& performer, EventLog& events);

}  // namespace tunorch
