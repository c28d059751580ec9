// tunorch: the command line. Each verb is one function of verbs.hpp; here are only their names,
// options and help.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>

#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/config/load.hpp"
#include "orchestrator/config/problem.hpp"
#include "orchestrator/daemon/daemon.hpp"
#include "version.hpp"

namespace {

using tunorch::VerbOptions;

CLI::App* add_verb(CLI::App& app, const std::string& name, const std::string& summary,
                   const std::string& more) {
  CLI::App* verb = app.add_subcommand(name, summary);
  verb->footer("\n" + more);
  verb->fallthrough();  // --node and the like may stand before or after the verb
  return verb;
}

void add_file(CLI::App* verb, VerbOptions& options) {
  verb->add_option("file", options.file, "The cluster file")->type_name("cluster.yaml")->required();
}

void add_common_options(CLI::App& app, VerbOptions& options) {
  app.add_option("--node", options.paths.node,
                 "Which node of the file this host is; default: /etc/tunorch/node, else the host "
                 "name")
      ->envname("TUNORCH_NODE")
      ->type_name("NAME");
  app.add_option("--runtime-dir", options.paths.runtime, "Sockets and the journal")
      ->envname("TUNORCH_RUNTIME_DIR")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--state-dir", options.paths.state, "What survives a reboot: the applied file")
      ->envname("TUNORCH_STATE_DIR")
      ->type_name("DIR")
      ->capture_default_str();
}

/// A duration with its unit: 500ms, 30s, 5m.
void add_time(CLI::App* verb, const std::string& name, std::chrono::milliseconds& value,
              const std::string& initial, const std::string& summary) {
  const CLI::AsNumberWithUnit units(
      std::map<std::string, long>{{"ms", 1}, {"s", 1000}, {"m", 60000}},
      CLI::AsNumberWithUnit::UNIT_REQUIRED);
  verb->add_option(name, value, summary)
      ->transform(CLI::Validator(units).description(""))
      ->type_name("TIME")
      ->default_str(initial);
}

struct CommandLine {
  CLI::App app{"Makes N ordinary VPN tunnels act as one fast pipe that does not drop.", "tunorch"};
  VerbOptions options;
  std::function<int()> run;

  CommandLine();
  void add_file_verbs();
  void add_daemon_verbs();
  void add_traffic_verbs();
  void add_init_verb();
  void add_doctor_verbs();
  CLI::App* add(const std::string& name, int (*verb)(const VerbOptions&),
                const std::string& summary, const std::string& more);
};

CLI::App* CommandLine::add(const std::string& name, int (*verb)(const VerbOptions&),
                           const std::string& summary, const std::string& more) {
  CLI::App* added = add_verb(app, name, summary, more);
  added->callback([this, verb] { run = [this, verb] { return verb(options); }; });
  return added;
}

/// Verbs for who runs a node that carries traffic.
void CommandLine::add_traffic_verbs() {
  add("confirm", tunorch::confirm_verb, "Keep what `apply --confirm` made", "");
  add("revert", tunorch::revert_verb, "Go back to before `apply --confirm` now", "");
  auto* events = add("events", tunorch::events_verb, "Show what happened, oldest first",
                     "Every transition with its cause and, where it took time, its duration.");
  events->add_flag("--follow,-f", options.follow, "Go on with what happens next");
  events->add_flag("--json", options.json, "One JSON object a line");

  add("top", tunorch::top_verb, "Show the tunnels live, on the whole screen",
      "Anew every second: state, throughput, round trip, loss, share of the traffic, and\n"
      "the newest events. A script takes status or events, with --json.\n\n"
      "Keys: n t r l s R sort by name, traffic, round trip, loss, share, restarts, and\n"
      "turn the order around; up and down select a tunnel; d drains it, u undrains,\n"
      "x restarts it, each after a question; p pauses, ? explains, q quits.");
  auto* logs = add("logs", tunorch::logs_verb, "Show what the daemon and its workers said lately",
                   "Also what other engines' programs print. With a tunnel: what concerns it.\n"
                   "All of it: `journalctl -u tunorch`, without systemd daemon.log.");
  logs->add_option("tunnel", options.name, "As status names it")->type_name("TUNNEL");
  logs->add_flag("--follow,-f", options.follow, "Go on with what is said next");
  logs->add_option("--lines,-n", options.lines, "The last so many; 0: as many as are kept")
      ->check(CLI::Range(0, 1'000'000).description(""))
      ->type_name("N")
      ->capture_default_str();
  logs->add_flag("--json", options.json, "One JSON object a line");

  const auto add_tunnel = [this](CLI::App* verb) {
    return verb->add_option("tunnel", options.name, "As status names it")->type_name("TUNNEL");
  };
  auto* drain =
      add("drain", tunorch::drain_verb, "Take a tunnel out of use without hurting a flow",
          "New flows take other tunnels at once, on both ends. Old flows stay until they\n"
          "pause or the deadline comes. Waits for that.");
  add_tunnel(drain)->required();
  drain->preparse_callback([this](std::size_t) { options.deadline = std::chrono::seconds(60); });
  add_time(drain, "--deadline", options.deadline, "60s", "When what still flows is moved");
  add_tunnel(add("undrain", tunorch::undrain_verb, "Use a drained tunnel again", ""))->required();
  auto* restart = add("restart", tunorch::restart_verb, "Restart workers",
                      "One tunnel is drained first. All of them: one after the other with\n"
                      "--rolling, each drained and waited for, else at once.");
  add_tunnel(restart);
  restart->add_flag("--rolling", options.rolling, "All tunnels, one at a time");
  restart->preparse_callback([this](std::size_t) { options.deadline = std::chrono::seconds(10); });
  add_time(restart, "--deadline", options.deadline, "10s", "When what still flows is moved");
  add("failback", tunorch::failback_verb,
      "Go back to the tunnels of a higher priority that are up again",
      "For bundles with `failback: hold` or `manual`.")
      ->add_option("bundle", options.name, "As status names it")
      ->type_name("BUNDLE")
      ->required();

  auto* explain = add("explain", tunorch::explain_verb, "Show which tunnel a flow takes, and why",
                      "Asks the kernel, and the peer how it answers.\n\n"
                      "Example:  tunorch explain 10.77.0.2 10.77.0.1 tcp 40000 443");
  explain->add_option("source", options.source, "IP address")->required();
  explain->add_option("destination", options.destination, "IP address")->required();
  explain->add_option("protocol", options.protocol, "tcp, udp, icmp, …");
  explain->add_option("source-port", options.source_port);
  explain->add_option("destination-port", options.destination_port);
  explain->add_flag("--in", options.in, "It comes in by the bundle: show how it is answered");
  explain->add_flag("--json", options.json, "As JSON, for scripts");
}

void CommandLine::add_file_verbs() {
  auto* validate = add_verb(app, "validate", "Check a cluster file; touches nothing",
                            "Needs no root and no keys. Prints every problem as\n"
                            "file:line:col: what is wrong, and what is allowed; exits 1 then.");
  add_file(validate, options);
  validate->add_flag("--json", options.json, "Who listens where and who dials whom, for scripts");
  validate->callback([this] { run = [this] { return tunorch::validate_verb(options); }; });

  auto* plan = add_verb(app, "plan", "Show what apply would change; touches nothing",
                        "Needs no root. Exits 0 where there is nothing to do, 2 where there are\n"
                        "changes, 1 on an error.");
  add_file(plan, options);
  plan->callback([this] { run = [this] { return tunorch::plan_verb(options); }; });

  auto* apply = add_verb(
      app, "apply", "Make this node what the file says, and wait until its tunnels are healthy",
      "Starts the daemon where none runs. Run it on every node of the file, in any\n"
      "order. Run again it changes only what differs. Exits 0 when healthy, 1 where\n"
      "a step failed (then all is undone) or the time is up (then it goes on trying).\n\n"
      "Example:  tunorch pki init cluster.yaml && tunorch apply cluster.yaml --node edge");
  add_file(apply, options);
  add_time(apply, "--timeout", options.timeout, "30s",
           "How long to wait for health, e.g. 30s or 500ms");
  add_time(apply, "--confirm", options.confirm, "",
           "Go back to what was before unless `tunorch confirm` is typed within this time");
  apply->add_flag("--wait-peers", options.wait_peers,
                  "On a listener: also wait for every dialer's tunnels");
  apply->callback([this] { run = [this] { return tunorch::apply_verb(options); }; });

  auto* pki =
      add_verb(app, "pki", "Make the cluster's certificates", "See tunorch pki init --help.");
  pki->require_subcommand(1);
  auto* init = add_verb(*pki, "init", "Make a CA and a certificate for each node",
                        "Files go to `pki.dir` of the file. Run again it adds only what is\n"
                        "missing. Give each host ca.crt, ca.crl where there is one, NODE.crt\n"
                        "and NODE.key (for wireguard tunnels also NODE.wg.key and every\n"
                        "*.wg.pub), and keep ca.key where you run this.");
  add_file(init, options);
  init->callback([this] { run = [this] { return tunorch::pki_init_verb(options); }; });
  auto* renew =
      add_verb(*pki, "renew", "Make new certificates and keys, by the same CA",
               "Give each host its NODE.crt and NODE.key, and apply: new connections use\n"
               "them, and `tunorch restart --rolling` makes every connection new. Keys of\n"
               "wireguard tunnels stay: remove NODE.wg.key and NODE.wg.pub and run\n"
               "`tunorch pki init` for new ones.");
  add_file(renew, options);
  renew->add_option("node", options.nodes, "Default: all that have one")->type_name("NODE");
  renew->callback([this] { run = [this] { return tunorch::pki_renew_verb(options); }; });
  auto* revoke =
      add_verb(*pki, "revoke", "Refuse a node's certificate from now on",
               "Puts it on ca.crl and removes the node's certificate and keys here. It is\n"
               "refused where ca.crl is: copy that to every node and apply there; what the\n"
               "node has open ends then. `tunorch pki init` lets it come back with new keys.\n"
               "Keep ca.crl with ca.key: a new list would not name whom the old one did.");
  add_file(revoke, options);
  revoke->add_option("node", options.nodes, "Whose")->type_name("NODE");
  revoke
      ->add_option("--certificate", options.certificate,
                   "Instead of a node's: this one, which it had before; nothing is removed")
      ->type_name("FILE");
  revoke->callback([this] { run = [this] { return tunorch::pki_revoke_verb(options); }; });
}

void CommandLine::add_init_verb() {
  auto* init =
      add("init", tunorch::init_verb, "Make a new cluster file, and the certificates beside it",
          "Asks for what no flag says; Enter takes the default. What stands there already is\n"
          "not overwritten, and where something fails nothing is left. Prints what to do\n"
          "next. Where stdin is no terminal nothing is asked.\n\n"
          "Example:  tunorch init --cluster demo --listen gateway=203.0.113.10 \\\n"
          "                       --dial edge,branch --yes");
  init->add_option("file", options.file, "The file to make; default: ./cluster.yaml")
      ->type_name("cluster.yaml");
  init->add_option("--cluster", options.init.cluster, "Its name")->type_name("NAME");
  init->add_option("--listen", options.init.listen,
                   "The host that is dialed, and its IP address: NAME=ADDRESS")
      ->type_name("HOST");
  init->add_option("--dial", options.init.dial, "Hosts that dial it, with commas between them")
      ->type_name("NAMES")
      ->allow_extra_args(false);
  init->add_option("--tunnels", options.init.tunnels, "How many tunnels")->type_name("NUMBER");
  init->add_option("--metrics", options.init.metrics,
                   "Where each host has a page and metrics for Prometheus, or `off`")
      ->type_name("ADDRESS:PORT");
  init->add_flag("--yes,-y", options.init.yes, "Ask nothing: what no flag says has its default");
}

void CommandLine::add_doctor_verbs() {
  auto* bundle =
      add("support-bundle", tunorch::support_bundle_verb,
          "Gather in one file what somebody needs to help",
          "Status, events, settings, logs, and what the kernel has; keys, passwords and tokens\n"
          "are taken out, names and addresses are not. MANIFEST in it says how each part was\n"
          "got, or why it is missing. Works without a daemon, and with less in it without\n"
          "root. Takes a few seconds, and two minutes at most.");
  bundle->add_option("--output,-o", options.output, "Default: ./tunorch-support-NODE-TIME.tar.gz")
      ->type_name("FILE.tar.gz");

  auto* doctor =
      add("doctor", tunorch::doctor_verb, "Look for what this host lacks, or has wrong",
          "Kernel, settings, limits, clock, links, keys, and what other programs do; each\n"
          "finding with what it means and the command that mends it. With a file also\n"
          "what this node of it needs. Changes nothing: what has to be tried is tried in\n"
          "a network namespace of its own. Exits 0 where there is nothing to do (notes\n"
          "are no such), 2 with warnings, 3 with errors; 1 where it could not look: a\n"
          "wrong command line, or a file that is not valid.");
  doctor->add_option("file", options.file, "The cluster file")->type_name("cluster.yaml");
  doctor->add_flag("--json", options.json, "As JSON, for scripts");
}

void CommandLine::add_daemon_verbs() {
  auto* status =
      add_verb(app, "status", "Show this node's bundles, tunnels and their health",
               "Asks the daemon. Exits 1 where none answers, or where it could not load what\n"
               "was applied; a bundle that is down is no reason.");
  status->add_flag("--json", options.json, "As JSON, for scripts");
  status->add_flag("--watch,-w", options.follow, "Anew every second, until interrupted");
  status->callback([this] { run = [this] { return tunorch::status_verb(options); }; });

  auto* down = add_verb(app, "down", "Stop the workers and leave the machine as it was before",
                        "Also cleans up after a daemon that was killed.");
  down->callback([this] { run = [this] { return tunorch::down_verb(options); }; });

  auto* daemon =
      add_verb(app, "daemon", "Supervise this node in the foreground",
               "`tunorch apply` starts it by itself where none runs. Adopts workers that\n"
               "live and loads the last applied file. SIGTERM ends it and leaves the\n"
               "tunnels running; only `tunorch down` removes them.");
  daemon->callback([this] {
    run = [this] {
      tunorch::run_daemon(options.paths);
      return 0;
    };
  });

  app.set_version_flag("--version", TUNORCH_VERSION);
  auto* version = add_verb(app, "version", "Print the version", "");
  version->callback([this] {
    run = [] {
      std::puts("tunorch " TUNORCH_VERSION);
      return 0;
    };
  });
}

CommandLine::CommandLine() {
  app.require_subcommand(1);
  app.footer("\nStart with:  tunorch init\nMore on each:  tunorch VERB --help");
  add_common_options(app, options);
  add_init_verb();
  add_file_verbs();
  add_doctor_verbs();
  add_daemon_verbs();
  add_traffic_verbs();
}

/// CLI11 only says that a verb is required where it does not know the word.
int say_what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* verb = &app;
  std::string words = "tunorch";
  for (; !verb->get_subcommands().empty(); verb = verb->get_subcommands().front())
    words += " " + verb->get_subcommands().front()->get_name();
  const auto unknown = app.remaining(true);
  if (verb->get_require_subcommand_min() == 0 || unknown.empty())
    return app.exit(error) == 0 ? 0 : 1;
  std::fprintf(stderr, "tunorch: there is no '%s %s'; `%s --help` names what there is\n",
               words.c_str(), unknown.front().c_str(), words.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line;
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return say_what_is_wrong(line.app, error);
  }
  try {
    auto& paths = line.options.paths;
    if (paths.node.empty()) paths.node = tunorch::default_node();
    paths.runtime = std::filesystem::absolute(paths.runtime);
    paths.state = std::filesystem::absolute(paths.state);
    return line.run();
  } catch (const tunorch::ConfigError& error) {
    std::fprintf(stderr, "%s\n", error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "tunorch: cannot use %s: %s\n", error.path1().c_str(),
                 error.code().message().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tunorch: %s\n", error.what());
  }
  return 1;
}
