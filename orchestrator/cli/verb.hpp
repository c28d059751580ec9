// A verb of the command line as data: its name, help, options and action. Knows no parser;
// command_line.hpp has one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "orchestrator/system/files.hpp"

namespace tunorch {

struct Option {
  std::string names;         // "--lines,-n"; without dashes it is an argument: "tunnel"
  std::string help = "";     // one line
  std::string type = "";     // what help calls its value: "TUNNEL"; empty: TEXT, UINT
  std::string initial = "";  // as help shows the default; empty: none is shown
  bool required = false;
  /// Where the value goes. A bool is a flag. A list takes several values after an argument, and one
  /// per use of an option. A time has its unit: 500ms, 30s, 5m.
  std::variant<bool*, std::string*, std::vector<std::string>*, std::uint16_t*, std::uint32_t*,
               std::chrono::milliseconds*>
      value = static_cast<bool*>(nullptr);
};

struct Verb {
  std::string name;
  std::string summary;  // one line
  std::string details = "";
  std::vector<Option> options = {};
  /// Prints to the terminal and returns the exit code. It holds what the options point to.
  std::function<int(const Paths&)> run = {};
  std::vector<Verb> verbs = {};  // of a verb that only groups others
};

/// The argument of verbs that read a cluster file.
inline Option file_argument(std::string& file) {
  return {.names = "file",
          .help = "The cluster file",
          .type = "cluster.yaml",
          .required = true,
          .value = &file};
}

inline Option json_flag(bool& json, const std::string& help = "As JSON, for scripts") {
  return {.names = "--json", .help = help, .value = &json};
}

}  // namespace tunorch
