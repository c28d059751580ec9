// The part of a bundle that says what serves its tunnels: engines, their options, their MTUs.
#pragma once

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/section.hpp"

namespace tunorch {

/// Of a name the table of keys has let through.
Engine engine_of(const std::string& name);

/// Into a bundle whose tunnels are read; a tunnel's MTU of 0 gets its engine's default.
void read_engines(const Section& section, Bundle& bundle, Report& report);

}  // namespace tunorch
