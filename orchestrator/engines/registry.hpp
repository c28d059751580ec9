// The engines there are, besides our own worker. What each does is in its own file.
#pragma once

#include "orchestrator/engines/engine.hpp"

namespace tunorch {

/// Throws std::logic_error for the native engine, which is not a program of others.
const ForeignEngine& foreign_engine(Engine engine);

}  // namespace tunorch
