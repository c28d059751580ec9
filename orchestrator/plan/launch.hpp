// How a foreign process is to be started, told apart from starting it: plain data, made by the
// engines (engines/), done by tunnels/foreign_worker.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace tunorch {

struct LaunchFile {
  std::string name;  // below the process's folder; folders in it are made
  std::string text;
  bool keys = false;  // it serves as long as it runs, and new ones are for its next start

  bool operator==(const LaunchFile&) const = default;
};

struct Launch {
  std::vector<std::string> argv;                  // the program in $PATH unless it has a slash
  std::vector<std::string> environment;           // NAME=value, besides a plain PATH
  std::vector<LaunchFile> files;                  // mode 0600, of the process's user
  std::string control;                            // first line sent to its control socket; a secret
  std::map<std::string, std::string> peer_names;  // what the program calls each node, where not so
  std::string ready;                // in a line it prints; empty: its device's carrier
  std::vector<std::string> health;  // a command to run now and then; empty: none
  std::string stop_signal = "TERM";
  bool as_root = false;
  std::string socket;       // in its folder, made before it: it listens on what it gets as fd 3
  std::string socket_link;  // where the program looks whether that is there; empty: nowhere

  bool operator==(const Launch&) const = default;
};

}  // namespace tunorch
