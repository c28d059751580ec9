// Holds the code to docs/architecture.md: which folder may include which, where each library lives,
// what pure files may not know, and how long files and lines may be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_lines = 500, max_columns = 100, max_script_columns = 120;

/// The levels of the house, lowest first. A folder may include only folders of lower levels.
const std::vector<std::vector<std::string>> levels{
    {"base", "protocol", "terminal"},
    {"routing", "worker", "web", "system", "telemetry"},
    {"client", "config"},
    {"health", "pki", "top"},
    {"plan"},
    {"doctor", "engines", "kernel"},
    {"tunnels"},
    {"daemon"},
    {"support"},
    {"cli"},
};

/// Two programs of their own: nothing includes them.
const std::set<std::string> programs{"worker", "web"};
/// These know nothing of the orchestrator.
const std::set<std::string> apart{"routing", "worker", "web", "base", "protocol"};

/// The folder of a path from the top, as `levels` names it: "plan" for
/// "orchestrator/plan/step.hpp".
std::string folder_of(const std::string& path) {
  const std::string below = path.starts_with("orchestrator/") ? path.substr(13) : path;
  return below.substr(0, below.find('/'));
}

/// -1 if there is no such folder.
int level_of(const std::string& folder) {
  for (std::size_t level = 0; level < levels.size(); ++level)
    if (std::ranges::find(levels[level], folder) != levels[level].end())
      return static_cast<int>(level);
  return -1;
}

/// Empty if the file may include it.
std::string fault_of_include(const std::string& path, const std::string& include) {
  const std::string from = folder_of(path), to = folder_of(include);
  if (from == to) return "";
  if (programs.contains(to)) return to + " is a program of its own";
  if (apart.contains(from) && !(to == "base" || to == "protocol"))
    return from + " includes base and protocol alone";
  if (level_of(to) >= level_of(from)) return to + " does not lie below " + from;
  return "";
}

struct Source {
  std::string path;  // from the top: "worker/tls.cpp"
  std::vector<std::string> lines;
};

std::vector<Source> sources(const std::vector<std::string>& folders,
                            const std::set<std::string>& extensions = {".cpp", ".hpp"}) {
  std::vector<Source> all;
  for (const std::string& folder : folders)
    for (auto entry = fs::recursive_directory_iterator(fs::path(TUNORCH_SOURCE_DIR) / folder);
         entry != fs::recursive_directory_iterator(); ++entry) {
      if (entry->path().filename() == "node_modules") entry.disable_recursion_pending();
      if (!extensions.contains(entry->path().extension())) continue;
      Source source{fs::relative(entry->path(), TUNORCH_SOURCE_DIR).string(), {}};
      std::ifstream file(entry->path());
      for (std::string line; std::getline(file, line);) source.lines.push_back(line);
      all.push_back(std::move(source));
    }
  return all;
}

std::vector<std::string> includes(const Source& source) {
  static const std::regex include(R"rx(^#include ["<](.+)[">])rx");
  std::vector<std::string> all;
  std::smatch match;
  for (const std::string& line : source.lines)
    if (std::regex_search(line, match, include)) all.push_back(match[1]);
  return all;
}

bool matches(const std::string& text, const std::string& pattern) {
  return std::regex_match(text, std::regex(pattern));
}

const std::vector<std::string> code{"base", "protocol", "orchestrator", "routing", "worker", "web"};

TEST(House, FindsItsCode) {
  EXPECT_GT(sources(code).size(), 200u);
}

TEST(House, EverySourceLivesInAFolderOfALevel) {
  for (const Source& source : sources(code)) {
    EXPECT_NE(level_of(folder_of(source.path)), -1) << source.path;
    EXPECT_FALSE(fs::path(source.path).parent_path() == "orchestrator") << source.path;
  }
}

TEST(House, KnowsWhoMayIncludeWhom) {
  EXPECT_EQ(fault_of_include("orchestrator/plan/step.hpp", "orchestrator/config/cluster.hpp"), "");
  EXPECT_EQ(fault_of_include("orchestrator/plan/step.hpp", "orchestrator/plan/plan.hpp"), "");
  EXPECT_EQ(fault_of_include("worker/tls.cpp", "protocol/worker.hpp"), "");
  EXPECT_NE(fault_of_include("orchestrator/config/load.cpp", "orchestrator/plan/plan.hpp"), "");
  EXPECT_NE(fault_of_include("orchestrator/kernel/kernel.cpp", "orchestrator/engines/command.hpp"),
            "");
  EXPECT_NE(fault_of_include("orchestrator/daemon/status.cpp", "worker/tls.hpp"), "");
  EXPECT_NE(fault_of_include("routing/nft.cpp", "orchestrator/terminal/terminal.hpp"), "");
}

TEST(House, FoldersIncludeOnlyWhatLiesBelowThem) {
  for (const Source& source : sources(code))
    for (const std::string& include : includes(source)) {
      if (level_of(folder_of(include)) == -1 || include.find('/') == std::string::npos) continue;
      const std::string fault = fault_of_include(source.path, include);
      EXPECT_EQ(fault, "") << source.path << " includes " << include;
    }
}

TEST(House, ALibraryLivesBehindOneFilePair) {
  struct Rule {
    std::string headers, home;
  };
  const std::vector<Rule> rules{
      {"netlink/.*", "routing/netlink.*"},
      {"nftables/.*", "routing/nft\\..pp"},
      {"yaml-cpp/.*", "orchestrator/config/yaml\\..pp"},
      {"boost/(describe/(?!class|enum\\.).*|mp11/.*)", "protocol/fields\\.hpp"},
      {"openssl/.*",
       "(worker/(tls|gcm_provider)|orchestrator/pki/(pki|x509|wireguard|inspect))\\..pp"},
      {"libpq-fe\\.h", "worker/postgres.*"},
      {"intel-ipsec-mb\\.h", "worker/gcm_provider\\.cpp"},
      {"boost/process(/.*|\\.hpp)", "orchestrator/system/process\\..pp"},
      {"(seccomp|linux/landlock)\\.h", "worker/sandbox\\.cpp"},
      {"(acl/.*|sys/acl\\.h)", "orchestrator/tunnels/tun_access\\.cpp"},
      {"cap-ng\\.h", "orchestrator/system/(confinement|process)\\.cpp"},
      {"systemd/.*", "orchestrator/system/service_manager\\..pp"},
      {"prometheus/.*", "web/metrics\\.cpp"},
      {"boost/beast.*", "web/server\\.cpp"},
      {"CLI/.*", "orchestrator/cli/command_line\\..pp"},
      {"(ncurses|curses)\\.h", "orchestrator/terminal/screen\\.cpp"},
  };
  for (const Source& source : sources(code))
    for (const std::string& include : includes(source))
      for (const Rule& rule : rules)
        if (matches(include, rule.headers)) {
          EXPECT_TRUE(matches(source.path, rule.home)) << source.path << " includes " << include;
        }
}

/// Our own headers that a source gets, also through other headers, and the source itself.
std::vector<const Source*> with_headers(const Source& source, const std::vector<Source>& all) {
  std::vector<const Source*> found{&source};
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const std::string& include : includes(*found[i])) {
      const auto header = std::ranges::find(all, include, &Source::path);
      if (header != all.end() && std::ranges::find(found, &*header) == found.end())
        found.push_back(&*header);
    }
  return found;
}

TEST(House, PureFilesKnowNoClockNoKernelAndNoLog) {
  const std::string pure =
      "(protocol/.*|base/(fnv1a|owned)|"
      "orchestrator/("
      "(plan|health|engines)/.*|config/(?!yaml|load).*|"
      "doctor/(?!probe).*|pki/node_keys|telemetry/(counters|utc|log_lines|log_ring)|"
      "top/(model|view)|cli/init_text|support/(redact.*|parts))|"
      "worker/(frame|handshake|packet|prefix_table|vnet_header|probe)|web/metrics|"
      "routing/(prefix|route|rule|nexthop|decision|link))\\..pp";
  const std::string impure =
      "(boost/(?!describe/|mp11/).*|netlink/.*|nftables/.*|openssl/.*|spdlog/.*|sys/.*|linux/.*|"
      "(unistd|fcntl|poll|signal|sched|spawn|netdb|time)\\.h|csignal|ctime|thread|mutex)";
  const std::regex clock(R"(::now\(|\b(clock_gettime|gettimeofday|time)\()");
  const std::vector<Source> all = sources(code);
  std::size_t seen = 0;
  for (const Source& source : all) {
    if (!matches(source.path, pure)) continue;
    ++seen;
    for (const Source* part : with_headers(source, all))
      for (const std::string& include : includes(*part))
        EXPECT_FALSE(matches(include, impure))
            << source.path << " includes " << include << " by " << part->path;
    for (const std::string& line : source.lines)
      EXPECT_FALSE(std::regex_search(line, clock)) << source.path << ": " << line;
  }
  EXPECT_GT(seen, 90u);
}

std::size_t columns(const std::string& line) {  // characters, not bytes: UTF-8's tails do not count
  return static_cast<std::size_t>(
      std::ranges::count_if(line, [](char c) { return (c & 0xc0) != 0x80; }));
}

TEST(House, FilesAndLinesStayShort) {
  const auto check = [](const std::vector<Source>& files, std::size_t most_columns) {
    for (const Source& source : files) {
      EXPECT_LE(source.lines.size(), max_lines) << source.path;
      for (std::size_t i = 0; i < source.lines.size(); ++i)
        EXPECT_LE(columns(source.lines[i]), most_columns) << source.path << ":" << i + 1;
    }
  };
  std::vector<std::string> folders = code;
  folders.push_back("tests");
  check(sources(folders), max_columns);
  check(sources({"tests", "web", "packaging", "ansible"}, {".py", ".js", ".mjs"}),
        max_script_columns);
}

TEST(House, HeadersOpenWithWhatTheyAreFor) {
  for (const Source& source : sources(code)) {
    if (!source.path.ends_with(".hpp")) continue;
    EXPECT_TRUE(source.lines.size() > 2 && source.lines[0].starts_with("// ")) << source.path;
    EXPECT_THAT(source.lines, testing::Contains("#pragma once")) << source.path;
  }
}

}  // namespace
