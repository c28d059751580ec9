#include "orchestrator/cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "version.hpp"

namespace tunorch {
namespace {

void add_common_options(CLI::App& app, Paths& paths) {
  app.add_option("--node", paths.node,
                 "Which node of the file this host is; default: /etc/tunorch/node, else the host "
                 "name")
      ->envname("TUNORCH_NODE")
      ->type_name("NAME");
  app.add_option("--runtime-dir", paths.runtime, "Sockets and the journal")
      ->envname("TUNORCH_RUNTIME_DIR")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--state-dir", paths.state, "What survives a reboot: the applied file")
      ->envname("TUNORCH_STATE_DIR")
      ->type_name("DIR")
      ->capture_default_str();
}

/// By the kind of its value.
struct Adder {
  CLI::App& app;
  const Option& option;

  CLI::Option* operator()(bool* value) const {
    return app.add_flag(option.names, *value, option.help);
  }
  CLI::Option* operator()(std::vector<std::string>* value) const {
    auto* added = app.add_option(option.names, *value, option.help);
    return option.names.starts_with('-') ? added->allow_extra_args(false) : added;
  }
  CLI::Option* operator()(std::uint32_t* value) const {
    return app.add_option(option.names, *value, option.help)
        ->check(CLI::Range(0, 1'000'000).description(""));
  }
  CLI::Option* operator()(std::chrono::milliseconds* value) const {
    const CLI::AsNumberWithUnit units(
        std::map<std::string, long>{{"ms", 1}, {"s", 1000}, {"m", 60000}},
        CLI::AsNumberWithUnit::UNIT_REQUIRED);
    return app.add_option(option.names, *value, option.help)
        ->transform(CLI::Validator(units).description(""));
  }
  template <class Value>
  CLI::Option* operator()(Value* value) const {
    return app.add_option(option.names, *value, option.help);
  }
};

void add_verb(CLI::App& app, const Verb& verb, std::function<int(const Paths&)>& run) {
  CLI::App* added = app.add_subcommand(verb.name, verb.summary);
  added->footer("\n" + verb.details);
  added->fallthrough();  // --node and the like may stand before or after the verb
  for (const Option& option : verb.options) {
    CLI::Option* made = std::visit(Adder{*added, option}, option.value);
    if (!option.type.empty()) made->type_name(option.type);
    if (!option.initial.empty()) made->default_str(option.initial);
    if (option.required) made->required();
  }
  if (!verb.verbs.empty()) added->require_subcommand(1);
  for (const Verb& below : verb.verbs) add_verb(*added, below, run);
  if (verb.run) added->callback([&run, &verb] { run = verb.run; });
}

/// CLI11 only says that a verb is required where it does not know the word.
int print_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* verb = &app;
  std::string words = "tunorch";
  for (; !verb->get_subcommands().empty(); verb = verb->get_subcommands().front())
    words += " " + verb->get_subcommands().front()->get_name();
  const auto unknown = app.remaining(true);
  if (verb->get_require_subcommand_min() == 0 || unknown.empty())
    return app.exit(error) == 0 ? 0 : 1;
  std::fprintf(stderr, "tunorch: unknown verb '%s'; see `%s --help`\n", unknown.front().c_str(),
               words.c_str());
  return 1;
}

}  // namespace

std::optional<Typed> parse_command_line(const std::vector<Verb>& verbs, int argc,
                                        const char* const* argv, int& exit_code) {
  CLI::App app("Makes N ordinary VPN tunnels act as one fast pipe that does not drop.", "tunorch");
  Typed typed;
  app.require_subcommand(1);
  app.footer("\nStart with:  tunorch init\nMore on each:  tunorch VERB --help");
  app.set_version_flag("--version", TUNORCH_VERSION);
  add_common_options(app, typed.paths);
  for (const Verb& verb : verbs) add_verb(app, verb, typed.run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = print_error(app, error);
    return std::nullopt;
  }
  return typed;
}

}  // namespace tunorch
