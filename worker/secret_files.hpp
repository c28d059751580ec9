// Secrets as a worker has them: in memory files that the daemon sent.
#pragma once

#include <map>
#include <string>

#include "base/fd.hpp"

namespace tunorch::worker {

/// By name (Request::secrets).
using SecretFiles = std::map<std::string, Fd>;

}  // namespace tunorch::worker
