// Any program as an engine: fills in the words of its command lines and files, which
// config/template.hpp lists.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "orchestrator/engines/engine.hpp"

namespace tunorch {

const ForeignEngine& command_engine();

/// The files of the host that it gets copies of: paths by name.
std::map<std::string, std::string> command_copies(const DesiredTunnel& tunnel,
                                                  const std::filesystem::path& dir);

/// `dir` is the process's folder, `copies` what those files hold.
Launch command_launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                      const std::map<std::string, std::string>& copies);

}  // namespace tunorch
