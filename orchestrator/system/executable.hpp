// Where the programs of this package are.
#pragma once

#include <filesystem>

namespace tunorch {

/// This program's own path, and the worker's beside it.
std::filesystem::path own_executable();
std::filesystem::path worker_executable();

}  // namespace tunorch
