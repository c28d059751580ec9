#include "orchestrator/system/executable.hpp"

namespace tunorch {

std::filesystem::path own_executable() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

std::filesystem::path worker_executable() {
  return own_executable().parent_path() / "tunorch-worker";
}

}  // namespace tunorch
