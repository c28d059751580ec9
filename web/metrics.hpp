// A node's status as Prometheus reads it: text exposition format, made from what `tunorch status
// --json` prints. Pure. The only file pair that knows prometheus-cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/status.hpp"

namespace tunorch::web {

/// As HTTP names the format (prometheus.io/docs/instrumenting/exposition_formats).
inline constexpr char metrics_type[] = "text/plain; version=0.0.4; charset=utf-8";

/// `status` is missing where the daemon does not answer: then only that is said. Seconds and bytes
/// throughout; a histogram's buckets are the daemon's.
std::string metrics_text(const std::optional<Status>& status);

struct MetricKind {
  std::string name, type, help;
};
/// All that there may be.
std::vector<MetricKind> metric_kinds();

}  // namespace tunorch::web
