// `status --json` as people are shown it. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "orchestrator/terminal/terminal.hpp"

namespace tunorch {

std::string status_text(const Terminal& terminal, const nlohmann::json& status);

/// Where the page of a status's "web" is, or why it is not.
std::string page_text(const nlohmann::json& web);

}  // namespace tunorch
