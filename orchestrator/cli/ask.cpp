#include "orchestrator/cli/ask.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/output.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/config/load.hpp"

namespace tunorch {

using nlohmann::json;

void print_failure(const Failure& failure) {
  print_error(failure.config ? failure.error : "tunorch: " + failure.error);
}

std::string no_daemon(const Paths& paths) {
  return "no daemon answers at " + paths.control_socket().string() +
         ": nothing is applied here, or it has ended (`tunorch daemon` or `tunorch apply FILE` "
         "starts it), or you are not root";
}

namespace {

void hand_over(const json& line, const std::function<void(const json&)>& on_document) {
  try {
    on_document(line);
  } catch (const BadMessage& bad) {
    throw std::runtime_error(std::string("cannot parse the daemon's answer: ") + bad.what() +
                             ": it may be of another version (`tunorch version`)");
  }
}

}  // namespace

int ask_daemon(const Paths& paths, const DaemonRequest& request,
               const std::function<void(const json&)>& on_document) {
  auto client = Client::connect(paths);
  if (!client) {
    print_error("tunorch: " + no_daemon(paths));
    return 1;
  }
  int code = 0;
  client->ask(request, [&](const json& line) {
    const auto answer = parse_daemon_answer(line);
    if (!answer) return hand_over(line, on_document);
    if (const auto* step = std::get_if<StepAnswer>(&*answer)) print_change(step->step);
    if (const auto* done = std::get_if<DoneAnswer>(&*answer); done && !done->done) code = 1;
    if (const auto* failure = std::get_if<Failure>(&*answer)) {
      print_failure(*failure);
      code = 1;
    }
  });
  return code;
}

int followed(bool follow, int code) {
  if (!follow || code != 0) return code;
  print_error("tunorch: the daemon exited; run the command again to follow its successor");
  return 1;
}

ClusterFile load_file(const std::string& path) {
  const std::string text = read_cluster_file(path);
  const auto base_dir = std::filesystem::absolute(path).parent_path();
  return {{text, path, base_dir.string()}, parse_cluster(text, path, base_dir)};
}

}  // namespace tunorch
