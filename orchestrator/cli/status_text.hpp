// The status as text for a terminal. Pure.
#pragma once

#include <string>

#include "orchestrator/terminal/terminal.hpp"
#include "protocol/status.hpp"

namespace tunorch {

std::string status_text(const Terminal& terminal, const Status& status);

/// Where the page is, or why it is not.
std::string page_text(const PageState& page);

}  // namespace tunorch
