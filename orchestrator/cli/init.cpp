// `tunorch init`: asks for what no flag says, and makes a cluster file and the PKI beside it, both
// or none.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "base/fd.hpp"
#include "orchestrator/cli/init_text.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/config/load.hpp"
#include "orchestrator/pki/files.hpp"
#include "orchestrator/pki/pki.hpp"
#include "orchestrator/system/executable.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

/// What flags said; empty: nothing, so that it asks.
struct Options {
  std::string file = "cluster.yaml";
  std::string cluster;
  std::string listen;  // NAME=ADDRESS
  std::vector<std::string> dial;
  std::string tunnels, metrics;
  bool yes = false;  // take the defaults instead of asking
};

/// The address that packets to elsewhere leave with; nothing is sent (connect(2) of a datagram
/// socket only looks the route up). Empty where there is no way out.
std::string own_address() {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in elsewhere{};
  elsewhere.sin_family = AF_INET;
  elsewhere.sin_port = htons(9);
  ::inet_pton(AF_INET, "198.51.100.1", &elsewhere.sin_addr);  // RFC 5737: documentation
  auto* const address = reinterpret_cast<sockaddr*>(&elsewhere);
  socklen_t size = sizeof elsewhere;
  if (!socket.valid() || ::connect(socket.get(), address, size) != 0 ||
      ::getsockname(socket.get(), address, &size) != 0)
    return "";
  std::array<char, INET_ADDRSTRLEN> text{};
  return ::inet_ntop(AF_INET, &elsewhere.sin_addr, text.data(), text.size()) ? text.data() : "";
}

/// One thing to be known, by a flag or by asking.
struct Question {
  const char* flag;
  const char* words;
  void (*put)(InitAnswers&, const std::string&);
  std::string (*initial)(const InitAnswers&);  // empty: none
};

std::string initial_listener(const InitAnswers& answers) {
  InitAnswers named = answers;
  named.listener = default_node();
  const bool good = init_fault(filled_up(named)).empty();
  return good ? named.listener : filled_up(answers).listener;
}

const std::array questions{
    Question{"--cluster", "Name of the cluster",
             [](InitAnswers& answers, const std::string& text) { answers.cluster = text; },
             [](const InitAnswers& answers) { return filled_up(answers).cluster; }},
    Question{"--listen", "Name of the host that is dialed",
             [](InitAnswers& answers, const std::string& text) { answers.listener = text; },
             initial_listener},
    Question{"--listen", "Its address, which the others dial",
             [](InitAnswers& answers, const std::string& text) { answers.endpoint = text; },
             [](const InitAnswers&) { return own_address(); }},
    Question{
        "--dial", "Names of the hosts that dial it",
        [](InitAnswers& answers, const std::string& text) { answers.dialers = split_names(text); },
        [](const InitAnswers& answers) { return filled_up(answers).dialers.front(); }},
    Question{"--tunnels", "Number of tunnels",
             [](InitAnswers& answers, const std::string& text) { answers.tunnels = text; },
             [](const InitAnswers& answers) { return filled_up(answers).tunnels; }},
    Question{"--metrics", "Page and metrics of each host at ADDRESS:PORT, or off",
             [](InitAnswers& answers, const std::string& text) { answers.metrics = text; },
             [](const InitAnswers&) { return std::string(usual_metrics); }},
};

/// What the flags say, in the order of `questions`; empty where they say nothing.
std::array<std::string, questions.size()> said_by_flags(const Options& flags) {
  const std::size_t mark = flags.listen.find('=');
  if (!flags.listen.empty() && (mark == flags.listen.npos || mark == 0))
    throw std::runtime_error(fmt::format(
        "--listen {}: allowed: NAME=ADDRESS, as in gateway=203.0.113.10", flags.listen));
  std::string dialers;
  for (const std::string& names : flags.dial) dialers += names + ",";
  if (!flags.dial.empty() && split_names(dialers).empty())
    throw std::runtime_error("--dial: names no host; allowed: NAME,…");
  const bool listens = mark != flags.listen.npos;
  return {flags.cluster,
          flags.listen.substr(0, listens ? mark : 0),
          listens ? flags.listen.substr(mark + 1) : "",
          dialers,
          flags.tunnels,
          flags.metrics};
}

/// With the answer, or why not.
std::string try_answer(InitAnswers& answers, const Question& question, const std::string& text) {
  InitAnswers with = answers;
  question.put(with, text);
  const std::string fault = init_fault(filled_up(with));
  if (fault.empty()) answers = with;
  return fault;
}

/// Asks until the answer is good.
void ask(InitAnswers& answers, const Question& question) {
  const std::string initial = question.initial(answers);
  for (;;) {
    std::fprintf(stderr, "%s%s: ", question.words,
                 initial.empty() ? "" : (" [" + initial + "]").c_str());
    std::string text;
    if (!std::getline(std::cin, text))
      throw std::runtime_error("cannot go on without an answer; nothing was made");
    const std::size_t first = text.find_first_not_of(" \t");
    text = first == text.npos ? "" : text.substr(first, text.find_last_not_of(" \t") + 1 - first);
    if (text.empty()) text = initial;
    const std::string fault =
        text.empty() ? "there is no default: an IP address" : try_answer(answers, question, text);
    if (fault.empty()) return;
    std::fprintf(stderr, "  %s\n", fault.c_str());
  }
}

/// Flags that are required where nobody can be asked, each once.
std::string missing_flags(const std::vector<const Question*>& open) {
  std::vector<std::string> flags;
  for (const Question* question : open)
    if (flags.empty() || flags.back() != question->flag) flags.emplace_back(question->flag);
  return fmt::format("{}", fmt::join(flags, ", "));
}

InitAnswers answers_of(const Options& flags) {
  const auto said = said_by_flags(flags);
  InitAnswers answers;
  // The flags first: what is asked then has defaults that go with them.
  for (std::size_t i = 0; i < said.size(); ++i)
    if (!said[i].empty())
      if (const std::string fault = try_answer(answers, questions[i], said[i]); !fault.empty())
        throw std::runtime_error(fmt::format("{}: {}", questions[i].flag, fault));
  const bool may_ask = !flags.yes && ::isatty(STDIN_FILENO) == 1;
  std::vector<const Question*> open;
  for (std::size_t i = 0; i < said.size(); ++i) {
    if (!said[i].empty()) continue;
    if (may_ask)
      ask(answers, questions[i]);
    else if (const std::string initial = questions[i].initial(answers);
             !flags.yes || initial.empty() || !try_answer(answers, questions[i], initial).empty())
      open.push_back(&questions[i]);
  }
  if (!open.empty())
    throw std::runtime_error(flags.yes
                                 ? missing_flags(open) + " missing: there is no default for it here"
                                 : "cannot ask, as the input is no terminal: missing " +
                                       missing_flags(open) + " (--yes takes defaults)");
  return answers;
}

/// A folder beside the file that everything is made in first, and that goes with this; as do
/// folders that had to be made for it, unless something is in them then.
class Workshop {
 public:
  explicit Workshop(const fs::path& beside) : path_((beside / ".tunorch-init-XXXXXX").string()) {
    for (fs::path folder = beside; !fs::exists(folder); folder = folder.parent_path())
      made_.push_back(folder);
    std::error_code error;
    fs::create_directories(beside, error);
    if (!error && ::mkdtemp(path_.data()) != nullptr) return;
    const int number = error ? error.value() : errno;
    remove_made();
    throw std::system_error(number, std::generic_category(),
                            "cannot make files in " + beside.string());
  }
  ~Workshop() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    remove_made();
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  fs::path operator/(const fs::path& name) const { return fs::path(path_) / name; }

 private:
  void remove_made() {
    std::error_code ignored;
    for (const fs::path& folder : made_) fs::remove(folder, ignored);
  }

  std::string path_;
  std::vector<fs::path> made_;  // the deepest first
};

/// Not what is a link to nowhere either.
bool is_there(const fs::path& path) {
  struct stat entry {};
  return ::lstat(path.c_str(), &entry) == 0;
}

void refuse_what_is_there(const fs::path& file, const fs::path& pki) {
  if (is_there(file))
    throw std::runtime_error("cannot make " + file.string() +
                             ": it is there already, and is not overwritten; give another name, or "
                             "move it away");
  if (is_there(pki))
    throw std::runtime_error(
        "cannot make " + pki.string() +
        ": it is there already, perhaps with the keys of another cluster; move "
        "it away, or give a file in another folder");
}

/// The PKI first: where the file is, all is there.
void put_in_place(const Workshop& workshop, const fs::path& file, const fs::path& pki) {
  fs::rename(workshop / "pki", pki);
  if (::link((workshop / "file").c_str(), file.c_str()) == 0) return;
  const int error = errno;
  fs::remove_all(pki);
  throw std::system_error(error, std::generic_category(), "cannot make " + file.string());
}

/// What editors complete by: the package's, or that of the tree this was built in.
std::string schema_path() {
  const fs::path tree = own_executable().parent_path() / "../../configs/cluster.schema.json";
  return !is_there(installed_schema) && is_there(tree) ? fs::canonical(tree).string()
                                                       : installed_schema;
}

int make_cluster(const Options& options) {
  const fs::path file = options.file;
  const fs::path folder = fs::absolute(file).parent_path();
  const fs::path shown_pki = file.parent_path() / "pki";
  refuse_what_is_there(file, shown_pki);
  const InitAnswers answers = answers_of(options);
  const std::string text = init_text(answers, schema_path());
  Cluster cluster = parse_cluster(text, file.string(), folder);

  const Workshop workshop(folder);
  cluster.pki_dir = (workshop / "pki").string();
  init_pki(cluster);
  write_pki_file(workshop / "file", text, 0644);
  put_in_place(workshop, file, folder / "pki");

  std::printf("made %s\nmade %s: ca.crt, ca.key", file.c_str(), shown_pki.c_str());
  for (const Node& node : cluster.nodes)
    std::printf(", %s.crt, %s.key", node.name.c_str(), node.name.c_str());
  std::printf(
      "\n%s",
      init_next_steps(answers, file.parent_path().string(), file.filename().string()).c_str());
  return 0;
}

}  // namespace

Verb init_verb() {
  const auto options = std::make_shared<Options>();
  return {.name = "init",
          .summary = "Make a new cluster file, and the certificates beside it",
          .details =
              "Asks for what no flag says; Enter takes the default. Existing files are never\n"
              "overwritten; on failure nothing is left behind. Prints what to do next. Asks\n"
              "nothing if stdin is not a terminal.\n\n"
              "Example:  tunorch init --cluster demo --listen gateway=203.0.113.10 \\\n"
              "                       --dial edge,branch --yes",
          .options = {{.names = "file",
                       .help = "The file to make; default: ./cluster.yaml",
                       .type = "cluster.yaml",
                       .value = &options->file},
                      {.names = "--cluster",
                       .help = "Its name",
                       .type = "NAME",
                       .value = &options->cluster},
                      {.names = "--listen",
                       .help = "The host that is dialed, and its IP address: NAME=ADDRESS",
                       .type = "HOST",
                       .value = &options->listen},
                      {.names = "--dial",
                       .help = "Hosts that dial it, with commas between them",
                       .type = "NAMES",
                       .value = &options->dial},
                      {.names = "--tunnels",
                       .help = "How many tunnels",
                       .type = "NUMBER",
                       .value = &options->tunnels},
                      {.names = "--metrics",
                       .help = "Where each host has a page and metrics for Prometheus, or `off`",
                       .type = "ADDRESS:PORT",
                       .value = &options->metrics},
                      {.names = "--yes,-y",
                       .help = "Ask nothing: what no flag says has its default",
                       .value = &options->yes}},
          .run = [options](const Paths&) { return make_cluster(*options); }};
}

}  // namespace tunorch
