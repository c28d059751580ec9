// tunorch: registers the verbs and runs the one that was typed.
#include <cstdio>
#include <filesystem>

#include "orchestrator/cli/command_line.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/config/problem.hpp"

int main(int argc, char** argv) {
  using namespace tunorch;
  const std::vector<Verb> verbs{
      init_verb(),           validate_verb(), plan_verb(),    apply_verb(),   pki_verb(),
      support_bundle_verb(), doctor_verb(),   status_verb(),  down_verb(),    daemon_verb(),
      version_verb(),        confirm_verb(),  revert_verb(),  events_verb(),  top_verb(),
      logs_verb(),           drain_verb(),    undrain_verb(), restart_verb(), failback_verb(),
      explain_verb(),
  };
  int exit_code = 0;
  auto typed = parse_command_line(verbs, argc, argv, exit_code);
  if (!typed) return exit_code;
  try {
    Paths& paths = typed->paths;
    if (paths.node.empty()) paths.node = default_node();
    paths.runtime = std::filesystem::absolute(paths.runtime);
    paths.state = std::filesystem::absolute(paths.state);
    return typed->run(paths);
  } catch (const ConfigError& error) {
    std::fprintf(stderr, "%s\n", error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "tunorch: cannot use %s: %s\n", error.path1().c_str(),
                 error.code().message().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tunorch: %s\n", error.what());
  }
  return 1;
}
