// `tunorch top`: asks the daemon once a second, shows what view.hpp makes of it, and does what is
// typed. Holds the loop; the thinking is in model.hpp and view.hpp.
#pragma once

#include "orchestrator/system/files.hpp"

namespace tunorch {

/// Runs until the user quits or a signal ends it. Throws std::runtime_error where there is no
/// terminal; the terminal is as it was before at every end.
void run_top(const Paths& paths);

}  // namespace tunorch
