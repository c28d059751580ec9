// Finds out what was typed: one of the verbs, its options, and which node it is about. The only
// file pair that knows CLI11; what a verb does it does not know.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "orchestrator/cli/verb.hpp"

namespace tunorch {

struct Typed {
  Paths paths;  // node empty: none was given
  std::function<int(const Paths&)> run;
};

/// Nothing: help, the version or an error was printed, and `exit_code` says how to exit.
std::optional<Typed> parse_command_line(const std::vector<Verb>& verbs, int argc,
                                        const char* const* argv, int& exit_code);

}  // namespace tunorch
