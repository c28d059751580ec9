#include "orchestrator/doctor/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "orchestrator/doctor/judges.hpp"

namespace tunorch {
namespace {

void judge_sight(const Examined& examined, Findings& findings) {
  const HostFacts& host = examined.host;
  if (host.unseen.empty()) return add_ok(findings, "doctor.sight", "all could be looked at");
  Finding finding{"doctor.sight", host.root ? Severity::note : Severity::warning,
                  "could not look at: " + listed(host.unseen, "; ")};
  finding.meaning = "nothing is said about these";
  if (!host.root) {
    finding.meaning += ": it takes root";
    finding.mend = "sudo tunorch doctor";
    if (!examined.file.empty()) finding.mend += ' ' + quoted(examined.file);
    if (examined.desired) finding.mend += " --node " + quoted(examined.desired->node);
  }
  findings.push_back(finding);
}

std::string group_of(const Finding& finding) {
  return finding.id.substr(0, finding.id.find('.'));
}

std::size_t place_of(const Finding& finding) {
  constexpr std::array<std::string_view, 10> groups{"doctor",  "kernel",   "settings", "limits",
                                                    "clock",   "cpu",      "links",    "keys",
                                                    "engines", "conflicts"};
  return static_cast<std::size_t>(std::ranges::find(groups, group_of(finding)) - groups.begin());
}

std::size_t count(const Findings& findings, Severity severity) {
  return static_cast<std::size_t>(std::ranges::count(findings, severity, &Finding::severity));
}

std::string line_of(const char* word, const std::string& text) {
  return text.empty() ? "" : fmt::format("           {} {}\n", word, text);
}

}  // namespace

const char* to_string(Severity severity) {
  constexpr std::array<const char*, 4> names{"ok", "note", "warning", "error"};
  return names[static_cast<std::size_t>(severity)];
}

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-_./:,@%+=").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

void mend_setting(Finding& finding, const std::string& key, const std::string& value) {
  const std::string setting = quoted(key + "=" + value);
  finding.mend = "sysctl -w " + setting;
  finding.lasting = fmt::format("echo {} >> /etc/sysctl.d/90-tunorch.conf", setting);
}

std::vector<Finding> judge(const Examined& examined) {
  Findings findings;
  judge_sight(examined, findings);
  judge_kernel(examined, findings);
  judge_settings(examined, findings);
  judge_limits(examined, findings);
  judge_clock(examined, findings);
  judge_cpu(examined, findings);
  judge_links(examined, findings);
  judge_keys(examined, findings);
  judge_engines(examined, findings);
  judge_conflicts(examined, findings);
  judge_services(examined, findings);
  std::ranges::stable_sort(findings, {}, place_of);
  return findings;
}

int exit_code(const std::vector<Finding>& findings) {
  if (count(findings, Severity::error) > 0) return 3;
  return count(findings, Severity::warning) > 0 ? 2 : 0;
}

std::string findings_text(const Terminal& terminal, const std::vector<Finding>& findings) {
  constexpr std::array<Tone, 4> tones{Tone::good, Tone::plain, Tone::warning, Tone::bad};
  std::string text, group;
  for (const Finding& finding : findings) {
    if (group_of(finding) != group) {
      group = group_of(finding);
      text += toned(terminal, Tone::heading, group) + "\n";
    }
    text += fmt::format("  {} {}: {}\n",
                        toned(terminal, tones[static_cast<std::size_t>(finding.severity)],
                              fmt::format("{:<8}", to_string(finding.severity))),
                        finding.id, finding.found);
    text += line_of("meaning:", finding.meaning);
    text += line_of("to mend:", finding.mend);
    text += line_of("to last:", finding.lasting);
  }
  const auto counted = [&](Severity severity, const char* noun) {
    const auto number = count(findings, severity);
    return fmt::format("{} {}{}, ", number, noun, number == 1 ? "" : "s");
  };
  return text + counted(Severity::error, "error") + counted(Severity::warning, "warning") +
         counted(Severity::note, "note") + fmt::format("{} ok\n", count(findings, Severity::ok));
}

nlohmann::json findings_json(const std::vector<Finding>& findings) {
  nlohmann::json list = nlohmann::json::array(), counts = nlohmann::json::object();
  for (const Severity severity : {Severity::ok, Severity::note, Severity::warning, Severity::error})
    counts[to_string(severity)] = count(findings, severity);
  for (const Finding& finding : findings)
    list.push_back({{"id", finding.id},
                    {"severity", to_string(finding.severity)},
                    {"found", finding.found},
                    {"meaning", finding.meaning},
                    {"mend", finding.mend},
                    {"lasting", finding.lasting}});
  return {{"findings", list}, {"counts", counts}, {"exit_code", exit_code(findings)}};
}

}  // namespace tunorch
