// The part of a bundle that says what serves its tunnels: engines, their options, their MTUs.
#pragma once

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/section.hpp"

namespace tunorch {

/// Of a name the table of keys has let through.
Engine engine_of(const std::string& name);

/// The protocols by which a listener of this engine is reached at its port.
struct Protocols {
  bool tcp = false, udp = false;
};
Protocols protocols_of(Engine engine, const EngineOptions& options);

/// The program that serves a tunnel of this engine; empty: our own.
std::string program_of(Engine engine, const EngineOptions& options, bool listener);

/// Into a bundle whose tunnels are read; a tunnel's MTU of 0 gets its engine's default.
void read_engines(const Section& section, Bundle& bundle, Report& report);

}  // namespace tunorch
