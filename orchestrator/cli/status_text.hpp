// `status --json` as people are shown it. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "orchestrator/terminal/terminal.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

std::string status_text(const Terminal& terminal, const nlohmann::json& status);

/// Where the page is, or why it is not.
std::string page_text(const PageState& page);

}  // namespace tunorch
