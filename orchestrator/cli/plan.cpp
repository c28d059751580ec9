// `tunorch plan`.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/daemon/status.hpp"
#include "orchestrator/daemon/web_process.hpp"
#include "orchestrator/kernel/kernel.hpp"
#include "orchestrator/pki/pki.hpp"
#include "orchestrator/system/process.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// What can be known of the workers without asking their daemon: whether their processes live.
/// If this user may not even read that, they are taken to run, as the daemon sees to it.
void note_living_workers(const Paths& paths, const Desired& desired, Observed& observed) {
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    const fs::path file = paths.worker_process(tunnel.name);
    if (!fs::exists(file)) continue;
    const auto text = read_text(file);
    const auto id = ProcessId::parse(text.value_or(""));
    if (!text || (id && adopt_process(*id)))
      observed.workers[tunnel.name] = {WorkerState::running, ""};
  }
}

PlanReport plan_without_daemon(const Paths& paths, const Cluster& cluster) {
  const Desired desired = desired_for(cluster, paths.node);
  Journal journal(paths.journal());
  Kernel kernel(desired.protocol, journal);
  Observed observed = kernel.observe(desired);
  note_living_workers(paths, desired, observed);
  observed.page = running_page(paths);
  PlanReport report = plan_report(desired, observed, {});
  if (::geteuid() != 0) {
    report.notes.push_back(
        "you are not root: what nftables has cannot be seen, and no daemon is asked");
    return report;
  }
  try {
    load_keys(cluster.pki_dir, paths.node);
  } catch (const std::exception& error) {
    report.notes.push_back(std::string("apply will refuse the keys: ") + error.what());
  }
  return report;
}

int print_plan(const PlanReport& report) {
  print_changes("steps:", report.steps);
  print_changes("and as tunnels become healthy:", report.later);
  print_changes("notes:", report.notes);
  for (const std::string& conflict : report.conflicts) print_error("tunorch: " + conflict);
  if (!report.conflicts.empty()) return 1;
  if (report.steps.empty()) {
    print("nothing to do: the node is as the file says");
    return 0;
  }
  const std::size_t steps = report.steps.size();
  print(fmt::format("{} change{}; `tunorch apply` makes {}", steps, steps == 1 ? "" : "s",
                    steps == 1 ? "it" : "them"));
  return 2;
}

int plan(const std::string& path, const Paths& paths) {
  const ClusterFile file = load_file(path);
  desired_for(file.cluster, paths.node);
  auto client = Client::connect(paths);
  if (!client) return print_plan(plan_without_daemon(paths, file.cluster));
  int code = 1;
  client->ask(PlanRequest{file.sent}, [&](const json& line) {
    const auto answer = parse_daemon_answer(line);
    if (!answer) return;
    if (const auto* failure = std::get_if<Failure>(&*answer)) print_failure(*failure);
    if (const auto* report = std::get_if<PlanReport>(&*answer)) code = print_plan(*report);
  });
  return code;
}

}  // namespace

Verb plan_verb() {
  const auto file = std::make_shared<std::string>();
  return {.name = "plan",
          .summary = "Show what apply would change; touches nothing",
          .details =
              "Needs no root. Exits 0 if there is nothing to do, 2 if there are changes,\n"
              "1 on an error.",
          .options = {file_argument(*file)},
          .run = [file](const Paths& paths) { return plan(*file, paths); }};
}

}  // namespace tunorch
