#include "orchestrator/telemetry/utc.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace tunorch {
namespace {

std::string to_the_second(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

}  // namespace

std::string utc_seconds(std::chrono::system_clock::time_point time) {
  return to_the_second(time) + "Z";
}

std::string utc_milliseconds(std::chrono::system_clock::time_point time) {
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time - second);
  return to_the_second(second) + fmt::format(".{:03}Z", ms.count());
}

}  // namespace tunorch
