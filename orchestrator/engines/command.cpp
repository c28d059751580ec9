#include "orchestrator/engines/command.hpp"

#include <fmt/format.h>

#include "orchestrator/config/template.hpp"

namespace tunorch {
namespace {

using Values = std::map<std::string, std::string>;

Values values_of(const DesiredTunnel& tunnel, const std::filesystem::path& dir) {
  const auto& spec = tunnel.spec;
  const std::string any = tunnel.endpoint.find(':') == std::string::npos ? "0.0.0.0" : "::";
  Values values{{"dev", tunnel.name},
                {"dir", dir.string()},
                {"node", spec.node},
                {"port", std::to_string(spec.port)},
                {"mtu", std::to_string(tunnel.tun.mtu)},
                {"link_local_addr", tunnel.link_address.address_text()}};
  if (tunnel.link_peers.size() == 1)
    values["link_peer_addr"] = tunnel.link_peers.begin()->second.address_text();
  const bool bound = Prefix::parse(spec.bind).has_value();
  values["local"] = spec.listener ? tunnel.endpoint : bound ? spec.bind : any;
  values["peer"] = !spec.listener ? tunnel.endpoint : tunnel.dialer.empty() ? any : tunnel.dialer;
  return values;
}

}  // namespace

std::map<std::string, std::string> command_copies(const DesiredTunnel& tunnel,
                                                  const std::filesystem::path& dir) {
  const Values values = values_of(tunnel, dir);
  std::map<std::string, std::string> paths;
  for (const auto& [name, path] : tunnel.engines.command.copies)
    paths[name] = fill_in(path, values);
  return paths;
}

Launch command_launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                      const std::map<std::string, std::string>& copies) {
  const CommandOptions& options = tunnel.engines.command;
  const Values values = values_of(tunnel, dir);
  const auto filled = [&](const std::vector<std::string>& words) {
    std::vector<std::string> all;
    for (const std::string& word : words) all.push_back(fill_in(word, values));
    return all;
  };
  Launch launch;
  launch.argv = filled(tunnel.spec.listener ? options.listen : options.dial);
  for (const auto& [name, text] : options.files)
    launch.files.push_back({name, fill_in(text, values)});
  for (const auto& [name, text] : copies) launch.files.push_back({name, text});
  launch.ready = options.ready;
  launch.health = filled(options.health);
  launch.stop_signal = options.stop_signal;
  launch.as_root = options.as_root;
  return launch;
}

namespace {

/// Nothing is known of what it says.
class CommandProcess final : public EngineProcess {
 public:
  Silence silence(std::chrono::system_clock::time_point) const override {
    return {"", "no echo through it was answered yet"};
  }
};

class CommandEngine final : public ForeignEngine {
 public:
  Launch launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                const Materials& materials) const override {
    return command_launch(tunnel, dir, materials.read_files(command_copies(tunnel, dir)));
  }
  std::unique_ptr<EngineProcess> process(const DesiredTunnel&) const override {
    return std::make_unique<CommandProcess>();
  }
};

}  // namespace

const ForeignEngine& command_engine() {
  static const CommandEngine engine;
  return engine;
}

}  // namespace tunorch
