// Judges a host: what is well, what is not, what that means and the command that mends it. Pure:
// the facts are probe.hpp's, the time is one of them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "orchestrator/doctor/facts.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/terminal/terminal.hpp"

namespace tunorch {

/// note: nothing has to be done. warning: it works, but worse or not for ever. error: it does not.
enum class Severity : std::uint8_t { ok, note, warning, error };

const char* to_string(Severity severity);

struct Finding {
  std::string id;  // GROUP.WHAT; kept for ever, docs/doctor.md lists them
  Severity severity = Severity::ok;
  std::string found;
  std::string meaning = {};  // of what is not ok
  std::string mend = {};     // shell, to be pasted; empty where no command can
  std::string lasting = {};  // what makes it last over a reboot, where `mend` does not

  bool operator==(const Finding&) const = default;
};

struct Examined {
  HostFacts host;
  std::string file;                  // the cluster file; empty: none
  const Desired* desired = nullptr;  // this node's part of it; none: what any host needs
};

/// In the groups' order; more than one finding may have the same id.
std::vector<Finding> judge(const Examined& examined);

/// 0: nothing to do, 2: warnings, 3: errors. 1 is for a doctor that could not look, as with every
/// verb.
int exit_code(const std::vector<Finding>& findings);

std::string findings_text(const Terminal& terminal, const std::vector<Finding>& findings);
nlohmann::json findings_json(const std::vector<Finding>& findings);

}  // namespace tunorch
