// The number that marks tunorch's routes, and the numbers that other routing programs use.
#pragma once

#include <cstdint>

#include "orchestrator/config/report.hpp"
#include "orchestrator/config/section.hpp"

namespace tunorch {

/// The key `protocol` of the file; reports one that another program uses.
std::uint8_t read_protocol(const Section& file, Report& report);

}  // namespace tunorch
