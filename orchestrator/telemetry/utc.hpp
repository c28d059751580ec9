// A moment as text: RFC 3339, in UTC. Pure.
#pragma once

#include <chrono>
#include <string>

namespace tunorch {

/// "2026-01-31T23:59:59Z".
std::string utc_seconds(std::chrono::system_clock::time_point time);
/// "2026-01-31T23:59:59.999Z".
std::string utc_milliseconds(std::chrono::system_clock::time_point time);

}  // namespace tunorch
