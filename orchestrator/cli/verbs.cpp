#include "orchestrator/cli/verbs.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>
#include <utility>

#include "orchestrator/cli/status_text.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/config/load.hpp"
#include "orchestrator/config/outline.hpp"
#include "orchestrator/daemon/daemon.hpp"
#include "orchestrator/daemon/explain.hpp"
#include "orchestrator/daemon/status.hpp"
#include "orchestrator/daemon/web_process.hpp"
#include "orchestrator/kernel/kernel.hpp"
#include "orchestrator/pki/pki.hpp"
#include "orchestrator/pki/wireguard.hpp"
#include "orchestrator/system/process.hpp"
#include "orchestrator/top/top.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

void print(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

void print_error(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

/// A config error speaks for itself, with its position first; every other says who speaks.
void print_answered_error(const json& line) {
  const std::string text = line.at("error");
  print_error(line.value("kind", "") == "config" ? text : "tunorch: " + text);
}

struct ClusterFile {
  std::string text, name;
  fs::path base_dir;
  Cluster cluster;
};

ClusterFile load(const std::string& path) {
  ClusterFile file;
  file.name = path;
  file.text = read_cluster_file(path);
  file.base_dir = fs::absolute(path).parent_path();
  file.cluster = parse_cluster(file.text, file.name, file.base_dir);
  return file;
}

json request_for(const char* op, const ClusterFile& file) {
  return {
      {"op", op}, {"text", file.text}, {"name", file.name}, {"base_dir", file.base_dir.string()}};
}

/// What can be known of the workers without asking their daemon: whether their processes live.
/// Where this user may not even read that, they are taken to run, as the daemon sees to it.
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

json plan_without_daemon(const Paths& paths, const ClusterFile& file) {
  const Desired desired = select_node(file.cluster, paths.node);
  Journal journal(paths.journal());
  Kernel kernel(desired.protocol, journal);
  Observed observed = kernel.observe(desired);
  note_living_workers(paths, desired, observed);
  observed.page = running_page(paths);
  json report = to_json(plan_report(desired, observed, {}));
  if (::geteuid() != 0) {
    report["notes"].push_back(
        "you are not root: what nftables has cannot be seen, and no daemon is asked");
    return report;
  }
  try {
    load_keys(file.cluster.pki_dir, paths.node);
  } catch (const std::exception& error) {
    report["notes"].push_back(std::string("apply will refuse the keys: ") + error.what());
  }
  return report;
}

/// A line of a plan: as a diff is coloured.
void print_change(const std::string& line) {
  const Tone tone = line.starts_with('+')   ? Tone::good
                    : line.starts_with('-') ? Tone::bad
                    : line.starts_with('~') ? Tone::warning
                                            : Tone::plain;
  print("  " + toned(terminal_of(STDOUT_FILENO), tone, line));
}

void print_step(const json& line) {
  if (line.contains("step")) print_change(line.at("step").get<std::string>());
}

/// Where the page is, or why it is not.
void print_web(const json& web) {
  if (web.is_null()) return;
  if (const std::string reason = web.at("reason"); !reason.empty())
    return print_error("tunorch: no page and no metrics yet: " + reason);
  print(page_text(web));
}

/// A line that the next one takes the place of; a line of its own where that cannot be.
class Progress {
 public:
  ~Progress() { clear(); }

  void show(const std::string& text) {
    clear();
    shown_ = terminal_.interactive;
    if (!shown_) return print(text);
    std::fputs(cut(text, terminal_.columns).c_str(), stdout);
    std::fflush(stdout);
  }
  void clear() {
    if (std::exchange(shown_, false)) std::fputs("\r\033[K", stdout);
  }

 private:
  Terminal terminal_ = terminal_of(STDOUT_FILENO);
  bool shown_ = false;
};

std::string log_line(const json& line) {
  const std::string level = line.at("level");
  const Tone tone = level == "info"      ? Tone::plain
                    : level == "warning" ? Tone::warning
                    : level == "debug"   ? Tone::faint
                                         : Tone::bad;
  return fmt::format("{}  {:<7}  {}", line.at("time").get<std::string>(), level,
                     toned(terminal_of(STDOUT_FILENO), tone, line.at("text").get<std::string>()));
}

void print_list(const std::string& title, const json& lines) {
  if (lines.empty()) return;
  print(toned(terminal_of(STDOUT_FILENO), Tone::heading, title));
  for (const json& line : lines) print_change(line.get<std::string>());
}

int print_plan(const json& report) {
  print_list("steps:", report.at("steps"));
  print_list("and as tunnels become healthy:", report.at("later"));
  print_list("notes:", report.at("notes"));
  if (!report.at("conflicts").empty()) {
    for (const json& conflict : report.at("conflicts"))
      print_error("tunorch: " + conflict.get<std::string>());
    return 1;
  }
  if (report.at("steps").empty()) {
    print("nothing to do: the node is as the file says");
    return 0;
  }
  const std::size_t steps = report.at("steps").size();
  print(fmt::format("{} change{}; `tunorch apply` makes {}", steps, steps == 1 ? "" : "s",
                    steps == 1 ? "it" : "them"));
  return 2;
}

}  // namespace

int validate_verb(const VerbOptions& options) {
  const Cluster cluster = load(options.file).cluster;
  if (options.json) {
    print(outline(cluster).dump(2));
    return 0;
  }
  std::size_t tunnels = 0;
  for (const Bundle& bundle : cluster.bundles) tunnels += bundle.tunnels.size();
  print(fmt::format("{}: valid: cluster {}, nodes {}, bundles {}, tunnels {}", options.file,
                    cluster.name, cluster.nodes.size(), cluster.bundles.size(), tunnels));
  return 0;
}

int plan_verb(const VerbOptions& options) {
  const ClusterFile file = load(options.file);
  select_node(file.cluster, options.paths.node);
  int code = 1;
  if (auto client = Client::connect(options.paths)) {
    client->ask(request_for("plan", file), [&](const json& line) {
      if (line.contains("error"))
        print_answered_error(line);
      else
        code = print_plan(line);
    });
    return code;
  }
  return print_plan(plan_without_daemon(options.paths, file));
}

int apply_verb(const VerbOptions& options) {
  const ClusterFile file = load(options.file);
  select_node(file.cluster, options.paths.node);
  if (::geteuid() != 0)
    throw std::runtime_error("not permitted: routes and devices need root; run it with sudo");
  auto client = Client::connect(options.paths);
  const bool started = !client;
  if (started) client = Client::start_daemon(options.paths);

  json request = request_for("apply", file);
  request["timeout_ms"] = options.timeout.count();
  request["wait_peers"] = options.wait_peers;
  request["confirm_ms"] = options.confirm.count();
  bool failed = false, healthy = false, idle = false;
  std::size_t steps = 0;
  json web;
  Progress progress;
  client->ask(request, [&](const json& line) {
    if (line.contains("waiting"))
      return progress.show(fmt::format("  waiting for {}: {}", line["waiting"].get<std::size_t>(),
                                       line.at("first").get<std::string>()));
    progress.clear();
    if (line.contains("error")) {
      failed = true;
      idle = line.value("idle", true);
      print_answered_error(line);
    } else if (line.contains("step")) {
      ++steps;
      print_step(line);
    } else if (line.contains("done")) {
      healthy = line.at("done");
      for (const json& missing : line.at("missing"))
        print_error("tunorch: not healthy within the time given: " + missing.get<std::string>());
      web = line.value("web", json());
    }
  });
  if (failed) {
    if (started && idle) down_verb(options);  // leave no daemon behind that serves nothing
    return 1;
  }
  if (steps == 0) print("nothing to do: the node is as the file says");
  if (healthy) print(fmt::format("node {} is up", options.paths.node));
  print_web(web);
  if (options.confirm.count() > 0)
    print(
        fmt::format("it goes back to what was before unless you type `tunorch confirm` within {} s",
                    options.confirm.count() / 1000));
  return healthy ? 0 : 1;
}

namespace {

std::string no_daemon(const VerbOptions& options) {
  return "no daemon answers at " + options.paths.control_socket().string() +
         ": nothing is applied here, or it has ended (`tunorch daemon` or `tunorch apply FILE` "
         "starts it), or you are not root";
}

/// Asks the daemon that must be there. Errors are printed, and make the exit code 1; so does a
/// `done` that is false.
int ask_daemon(const VerbOptions& options, const json& request,
               const std::function<void(const json&)>& on_line) {
  auto client = Client::connect(options.paths);
  if (!client) {
    print_error("tunorch: " + no_daemon(options));
    return 1;
  }
  int code = 0;
  client->ask(request, [&](const json& line) {
    if (line.contains("error") && line["error"].is_string() && !line.contains("event")) {
      print_answered_error(line);
      code = 1;
    } else if (line.contains("done")) {
      if (!line.at("done").get<bool>()) code = 1;
    } else {
      on_line(line);
    }
  });
  return code;
}

/// Only its own end ends what was to be followed.
int followed(const VerbOptions& options, int code) {
  if (!options.follow || code != 0) return code;
  print_error(
      "tunorch: the daemon has ended, and with it what it says; type it again for the next");
  return 1;
}

int print_status(const VerbOptions& options, const std::function<void(const json&)>& show) {
  bool problem = false;
  const int code = ask_daemon(options, {{"op", "status"}}, [&](const json& line) {
    show(line);
    problem = line.contains("problem");
  });
  return problem ? 1 : code;
}

/// Until it is interrupted; a daemon that is away for a while is waited for.
int watch_status(const VerbOptions& options) {
  constexpr std::chrono::seconds interval{1};
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  const bool anew = terminal.interactive && !options.json;
  for (;;) {
    if (anew && !Client::connect(options.paths)) {
      std::fputs(screen(terminal, toned(terminal, Tone::bad, no_daemon(options)) + "\n").c_str(),
                 stdout);
      std::fflush(stdout);
      std::this_thread::sleep_for(interval);
      continue;
    }
    std::string text;
    print_status(options, [&](const json& line) {
      text = options.json ? line.dump() + "\n" : status_text(terminal, line);
    });
    std::fputs((anew ? screen(terminal, text) : text).c_str(), stdout);
    std::fflush(stdout);
    std::this_thread::sleep_for(interval);
  }
}

}  // namespace

int status_verb(const VerbOptions& options) {
  if (options.follow) return watch_status(options);
  return print_status(options, [&](const json& line) {
    const Terminal terminal = terminal_of(STDOUT_FILENO);
    std::fputs((options.json ? line.dump(2) + "\n" : status_text(terminal, line)).c_str(), stdout);
  });
}

int top_verb(const VerbOptions& options) {
  run_top(options.paths);
  return 0;
}

int events_verb(const VerbOptions& options) {
  const json request{{"op", "events"}, {"follow", options.follow}};
  return followed(options, ask_daemon(options, request, [&](const json& line) {
                    print(options.json ? line.dump() : event_line(line));
                  }));
}

int logs_verb(const VerbOptions& options) {
  if (!Client::connect(options.paths)) {
    print_error("tunorch: no daemon answers at " + options.paths.control_socket().string() +
                ", and the last lines are with it; they are also in " +
                options.paths.log().string() + ", what processes print that still run in " +
                (options.paths.workers() / "*.log").string() +
                ", and under systemd see `journalctl -u tunorch`");
    return 1;
  }
  const json request{{"op", "logs"},
                     {"tunnel", options.name},
                     {"follow", options.follow},
                     {"lines", options.lines}};
  return followed(options, ask_daemon(options, request, [&](const json& line) {
                    print(options.json ? line.dump() : log_line(line));
                  }));
}

int drain_verb(const VerbOptions& options) {
  const json request{
      {"op", "drain"}, {"tunnel", options.name}, {"deadline_ms", options.deadline.count()}};
  const int code = ask_daemon(options, request, print_step);
  if (code == 0) print(options.name + " is drained; `tunorch undrain` brings it back");
  return code;
}

int undrain_verb(const VerbOptions& options) {
  return ask_daemon(options, {{"op", "undrain"}, {"tunnel", options.name}}, print_step);
}

int restart_verb(const VerbOptions& options) {
  return ask_daemon(options,
                    {{"op", "restart"},
                     {"tunnel", options.name},
                     {"rolling", options.rolling},
                     {"deadline_ms", options.deadline.count()}},
                    print_step);
}

int failback_verb(const VerbOptions& options) {
  return ask_daemon(options, {{"op", "failback"}, {"bundle", options.name}}, print_step);
}

int confirm_verb(const VerbOptions& options) {
  const int code = ask_daemon(options, {{"op", "confirm"}}, print_step);
  if (code == 0) print("confirmed: what was applied stays");
  return code;
}

int revert_verb(const VerbOptions& options) {
  const int code = ask_daemon(options, {{"op", "revert"}}, print_step);
  if (code == 0) print("reverted: the node is as it was before the apply");
  return code;
}

int explain_verb(const VerbOptions& options) {
  const json request{{"op", "explain"},
                     {"source", options.source},
                     {"destination", options.destination},
                     {"protocol", options.protocol},
                     {"source_port", options.source_port},
                     {"destination_port", options.destination_port},
                     {"in", options.in}};
  return ask_daemon(options, request, [&](const json& line) {
    std::fputs(options.json ? (line.dump(2) + "\n").c_str()
                            : explanation(line.at("ours"), line.at("peers")).c_str(),
               stdout);
  });
}

int down_verb(const VerbOptions& options) {
  auto client = Client::connect(options.paths);
  bool clean = true;
  std::string node = options.paths.node;
  if (!client) {
    clean = run_down(options.paths);
  } else {
    clean = false;
    client->ask({{"op", "down"}}, [&](const json& line) {
      print_step(line);
      if (line.contains("error")) print_answered_error(line);
      if (!line.contains("done")) return;
      clean = line.at("done");
      node = line.at("node");
      for (const json& problem : line.at("problems"))
        print_error("tunorch: " + problem.get<std::string>());
    });
  }
  if (clean) print(fmt::format("node {} is down, and as it was before", node));
  return clean ? 0 : 1;
}

int pki_renew_verb(const VerbOptions& options) {
  for (const std::string& line : renew_pki(load(options.file).cluster, options.nodes)) print(line);
  return 0;
}

int pki_revoke_verb(const VerbOptions& options) {
  const Cluster cluster = load(options.file).cluster;
  if (options.nodes.empty() == options.certificate.empty())
    throw std::runtime_error(
        "cannot revoke: name nodes, or a certificate with --certificate FILE, one of both");
  for (const std::string& line : options.nodes.empty()
                                     ? revoke_certificate(cluster, options.certificate)
                                     : revoke_pki(cluster, options.nodes))
    print(line);
  print(
      "it is refused where ca.crl is: keep that file, copy it to every node and run `tunorch "
      "apply` there");
  if (needs_wireguard_keys(cluster))
    print("wireguard tunnels have no such list: take the node out of the file, and apply that");
  return 0;
}

int pki_init_verb(const VerbOptions& options) {
  for (const std::string& line : init_pki(load(options.file).cluster)) print(line);
  return 0;
}

}  // namespace tunorch
