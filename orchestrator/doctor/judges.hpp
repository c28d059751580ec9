// The judgements of doctor.cpp, a part each. Pure. Private to doctor/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "orchestrator/doctor/doctor.hpp"

namespace tunorch {

using Findings = std::vector<Finding>;

void judge_kernel(const Examined& examined, Findings& findings);
void judge_settings(const Examined& examined, Findings& findings);
void judge_limits(const Examined& examined, Findings& findings);
void judge_clock(const Examined& examined, Findings& findings);
void judge_cpu(const Examined& examined, Findings& findings);
void judge_links(const Examined& examined, Findings& findings);
void judge_keys(const Examined& examined, Findings& findings);
void judge_engines(const Examined& examined, Findings& findings);
void judge_conflicts(const Examined& examined, Findings& findings);
void judge_services(const Examined& examined, Findings& findings);

inline void add_ok(Findings& findings, std::string id, std::string found) {
  findings.push_back({std::move(id), Severity::ok, std::move(found)});
}

/// A word of a shell command.
std::string quoted(const std::string& word);

/// "a, b, c".
template <class Words>
std::string listed(const Words& words, std::string_view between = ", ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(between)) + word;
  return text;
}

/// Fills in `mend` and `lasting` for a setting below /proc/sys.
void mend_setting(Finding& finding, const std::string& key, const std::string& value);

}  // namespace tunorch
