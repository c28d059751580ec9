// What a support bundle has in it, as data: the programs that are asked and the settings that are
// read. Pure; gathering is support.hpp's.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "orchestrator/system/files.hpp"

namespace tunorch {

struct SupportCommand {
  std::string name;  // of the part
  std::vector<std::string> argv;
  std::set<int> statuses{0};  // of an answer; with another it is told, and what it said is kept
  bool json = false;          // of no use unless it is JSON, or lines of it
  bool systemd = false;       // only where that runs
};

/// `program`: this one. `file`: the applied cluster file where it still is; empty: none.
std::vector<SupportCommand> support_commands(const std::string& program, const Paths& paths,
                                             const std::string& file);

/// Settings that matter on any host; with the folders' of these devices, below /proc/sys.
std::vector<std::string> support_settings();
std::vector<std::string> support_setting_folders(const std::vector<std::string>& devices);

}  // namespace tunorch
