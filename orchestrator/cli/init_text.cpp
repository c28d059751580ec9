#include "orchestrator/cli/init_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/problem.hpp"

namespace tunorch {
namespace {

constexpr std::size_t comment_column = 40;
constexpr std::size_t most_in_a_line = 4;  // dialers; more have a line each
constexpr int first_port = 4430;           // the loader's default

/// What YAML 1.1 and 1.2 take for something else than text.
constexpr std::array<std::string_view, 9> reserved{"null", "true", "false", "yes", "no",
                                                   "on",   "off",  "y",     "n"};

bool is_plain(std::string_view text) {
  constexpr const char* inner = "abcdefghijklmnopqrstuvwxyz0123456789.:-";
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.find_first_not_of(inner) == text.npos &&
         alphanumeric(text.front()) && alphanumeric(text.back()) &&
         std::ranges::find(reserved, text) == reserved.end();
}

/// JSON's strings are YAML's (YAML 1.2.2, 1.2).
std::string scalar(const std::string& text) {
  using nlohmann::json;
  if (is_plain(text)) return text;
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

std::string line(const std::string& text, const std::string& comment) {
  const std::size_t blanks = text.size() < comment_column ? comment_column - text.size() : 2;
  return text + std::string(blanks, ' ') + "# " + comment + "\n";
}

/// Of the node with this number, from 1. The digits are the same in both, for people.
std::string inner_addresses(std::size_t number) {
  return fmt::format("[10.77.{}.{}/32, fd77::{}/128]", number / 256, number % 256, number);
}

/// The loader makes it from the names, unless two come out alike.
std::string link_host(std::size_t number) {
  return line(fmt::format("    link_host: {}", number), "its number in the tunnels' subnets");
}

std::string listener_text(const InitAnswers& answers, bool numbered) {
  return line(fmt::format("  {}:", scalar(answers.listener)), "the host that is dialed") +
         line("    endpoint: " + scalar(answers.endpoint),
              "its address there; no name, which would need DNS") +
         line("    inner: " + inner_addresses(1),
              "its own addresses in the bundle: what others talk to") +
         (numbered ? link_host(1) : "") +
         line("    # subnets: [10.20.0.0/16]", "networks behind it that the others are to reach");
}

std::string dialers_text(const InitAnswers& answers, bool numbered) {
  std::string text;
  std::size_t number = 1;
  for (const std::string& dialer : answers.dialers) {
    text += fmt::format("  {}:\n    inner: {}\n", scalar(dialer), inner_addresses(++number));
    if (numbered) text += fmt::format("    link_host: {}\n", number);
  }
  return text;
}

std::string dial_text(const std::vector<std::string>& dialers) {
  constexpr const char* why = "open them, and need no open port";
  if (dialers.size() > most_in_a_line) {
    std::string text = line("    dial:", why);
    for (const std::string& dialer : dialers) text += "      - " + scalar(dialer) + "\n";
    return text;
  }
  std::vector<std::string> names;
  for (const std::string& dialer : dialers) names.push_back(scalar(dialer));
  return line(fmt::format("    dial: [{}]", fmt::join(names, ", ")), why);
}

int last_port(const InitAnswers& answers) {
  return first_port + std::clamp(std::atoi(answers.tunnels.c_str()), 1, 64) - 1;
}

std::string ports(const InitAnswers& answers) {
  const int last = last_port(answers);
  return last == first_port ? fmt::format("{}", first_port)
                            : fmt::format("{} to {}", first_port, last);
}

std::string bundle_text(const InitAnswers& answers) {
  return line("  backbone:", "its tunnels are the devices backbone-0 and so on") +
         line("    listen: " + scalar(answers.listener), "accepts the connections") +
         dial_text(answers.dialers) +
         line("    tunnels: " + scalar(answers.tunnels),
              "a process and a core each; flows spread over them") +
         line(fmt::format("    port: {}", first_port),
              fmt::format("let TCP {} in on the listener's firewall", ports(answers)));
}

std::string file_text(const InitAnswers& answers, const std::string& schema, bool numbered) {
  std::string text =
      "# yaml-language-server: $schema=" + schema +
      "\n#\n"
      "# Made by `tunorch init`. All hosts have the same file, and each picks its "
      "own part by its name:\n"
      "# --node, else /etc/tunorch/node, else the host name. `man tunorch-cluster.yaml` "
      "has every key.\n";
  text += line("cluster: " + scalar(answers.cluster), "marks every device that is made");
  text += "\nnodes:\n" + listener_text(answers, numbered) + dialers_text(answers, numbered);
  text += "\nbundles:\n" + bundle_text(answers) + "\n";
  if (answers.metrics != metrics_off)
    text += line("metrics: " + scalar(answers.metrics),
                 "on each host: a page to look at, and metrics for Prometheus") +
            "\n";
  return text + line("pki: {dir: pki}", "certificates and keys, relative to this file");
}

std::string fault_of(const std::string& text) {
  try {
    parse_cluster(text, "cluster.yaml", "/");
    return "";
  } catch (const ConfigError& error) {
    return error.problems().front().message;
  }
}

}  // namespace

InitAnswers filled_up(InitAnswers answers) {
  const auto fill = [](std::string& answer, const char* initial) {
    if (answer.empty()) answer = initial;
  };
  fill(answers.cluster, "demo");
  const bool taken = std::ranges::find(answers.dialers, "gateway") != answers.dialers.end();
  fill(answers.listener, taken ? "hub" : "gateway");
  fill(answers.endpoint, "203.0.113.10");
  fill(answers.tunnels, "4");
  fill(answers.metrics, metrics_off);
  if (answers.dialers.empty()) answers.dialers = {answers.listener == "edge" ? "branch" : "edge"};
  return answers;
}

std::vector<std::string> split_names(const std::string& text) {
  constexpr const char* between = ", \t";
  std::vector<std::string> names;
  for (std::size_t at = text.find_first_not_of(between); at != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(between, at), text.size());
    names.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(between, end);
  }
  return names;
}

std::string init_text(const InitAnswers& answers, const std::string& schema) {
  const std::string plain = file_text(answers, schema, false);
  if (fault_of(plain).empty()) return plain;
  const std::string numbered = file_text(answers, schema, true);
  return fault_of(numbered).empty() ? numbered : plain;
}

std::string init_fault(const InitAnswers& answers) {
  return fault_of(init_text(answers, installed_schema));
}

std::string init_next_steps(const InitAnswers& answers, const std::string& folder,
                            const std::string& file) {
  std::string text =
      "\nNext: copy to each host what it needs, and no other host's key. ca.key stays here: it "
      "makes\nfurther certificates. With the hosts' own addresses:\n\n";
  if (!folder.empty()) text += "  cd " + folder + "\n";
  const auto copies = [&](const std::string& node, const std::string& address) {
    const bool v6 = address.find(':') != address.npos;
    const std::string to = v6 ? "[" + address + "]" : address;
    text += fmt::format(
        "  ssh root@{1} mkdir -p -m 700 /etc/tunorch/pki\n"
        "  scp {3} \"root@{2}:/etc/tunorch/\"\n"
        "  scp pki/ca.crt pki/{0}.crt pki/{0}.key \"root@{2}:/etc/tunorch/pki/\"\n",
        node, address, to, file);
  };
  copies(answers.listener, answers.endpoint);
  if (answers.dialers.size() > most_in_a_line) {
    text += fmt::format("  for node in {}; do\n", fmt::join(answers.dialers, " "));
    copies("$node", "$node");
    text += "  done\n";
  } else {
    for (const std::string& dialer : answers.dialers) copies(dialer, dialer);
  }
  text += fmt::format("\nLet TCP {} in on {}. Then as root on each host, in any order:\n\n",
                      ports(answers), answers.listener);
  const auto step = [&](const std::string& command, const char* why) {
    text += "  " + line(command, why);
  };
  step("echo NODE > /etc/tunorch/node", "where the host's name is not the node's");
  step("tunorch doctor /etc/tunorch/" + file, "what it lacks, and what mends it");
  step("tunorch apply /etc/tunorch/" + file, "again, whenever the file has changed");
  step("tunorch status", "how it is");
  return text;
}

}  // namespace tunorch
