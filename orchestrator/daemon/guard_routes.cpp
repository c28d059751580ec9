#include "orchestrator/daemon/guard_routes.hpp"

#include <spdlog/spdlog.h>

#include "orchestrator/plan/plan.hpp"

namespace tunorch {
namespace {

bool guards(const Step& step) {
  const auto* route = std::get_if<RouteStep>(&step);
  const auto* rule = std::get_if<RuleStep>(&step);
  return (route && !route->before && route->after->type == routing::RouteType::unreachable) ||
         (rule && !rule->before);
}

}  // namespace

void guard_routes(const Desired& without_keys, Performer& performer, EventLog& events) {
  const auto failed = [&](const std::exception& error) {
    events.add({"failed", "", "", std::string("cannot guard the routes: ") + error.what()});
  };
  try {
    for (const Step& step : make_plan(without_keys, performer.observe(without_keys), {}).steps) {
      if (!guards(step)) continue;
      try {
        performer.perform(step, without_keys);
        spdlog::info("{}", describe(step));
      } catch (const std::exception& error) {
        failed(error);
      }
    }
  } catch (const std::exception& error) {
    failed(error);
  }
}

}  // namespace tunorch
