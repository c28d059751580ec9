// Holds the code to docs/architecture.md: who may include whom, which library lives where, what
// pure files may not know, and how long files and lines may be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_lines = 500, max_columns = 100;

struct Source {
  std::string path;  // from the top: "worker/tls.cpp"
  std::vector<std::string> lines;

  std::string folder() const { return path.substr(0, path.find('/')); }
};

std::vector<Source> sources(const std::vector<std::string>& folders) {
  std::vector<Source> all;
  for (const std::string& folder : folders)
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(TUNORCH_SOURCE_DIR) / folder)) {
      const auto extension = entry.path().extension();
      if (extension != ".cpp" && extension != ".hpp") continue;
      Source source{fs::relative(entry.path(), TUNORCH_SOURCE_DIR).string(), {}};
      std::ifstream file(entry.path());
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

const std::vector<std::string> code{"orchestrator", "routing", "worker", "web"};

TEST(House, FindsItsCode) {
  EXPECT_GT(sources(code).size(), 50u);
}

TEST(House, FoldersIncludeOnlyWhatTheyMay) {
  for (const Source& source : sources(code))
    for (const std::string& include : includes(source)) {
      const std::string target = include.substr(0, include.find('/'));
      if (target == source.folder() || std::ranges::find(code, target) == code.end()) continue;
      const bool allowed = source.folder() == "orchestrator" &&
                           (target == "routing" || include == "worker/spec.hpp");
      EXPECT_TRUE(allowed) << source.path << " includes " << include;
    }
}

TEST(House, ALibraryLivesBehindOneFilePair) {
  struct Rule {
    std::string headers, home;
  };
  const std::vector<Rule> rules{
      {"netlink/.*", "routing/netlink.*"},
      {"nftables/.*", "routing/nft\\..pp"},
      {"yaml-cpp/.*", "orchestrator/config_yaml\\..pp"},
      {"openssl/.*",
       "(worker/(tls|gcm_provider)|orchestrator/pki(_x509|_wireguard|_inspect))\\..pp"},
      {"libpq-fe\\.h", "worker/postgres.*"},
      {"intel-ipsec-mb\\.h", "worker/gcm_provider\\.cpp"},
      {"boost/process(/.*|\\.hpp)", "orchestrator/process\\..pp"},
      {"(seccomp|linux/landlock)\\.h", "worker/sandbox\\.cpp"},
      {"(acl/.*|sys/acl\\.h)", "orchestrator/tun_access\\.cpp"},
      {"cap-ng\\.h", "orchestrator/(confinement|process)\\.cpp"},
      {"systemd/.*", "orchestrator/service_manager\\..pp"},
      {"prometheus/.*", "web/metrics\\.cpp"},
      {"boost/beast.*", "web/server\\.cpp"},
      {"CLI/.*", "orchestrator/main\\.cpp"},
      {"(ncurses|curses)\\.h", "orchestrator/screen\\.cpp"},
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
      "(orchestrator/"
      "(cluster|desired|plan|neighbours|carriage|members|drains|step|lifecycle|health|"
      "path_health|path_mtu|launch|outline|tally|utc|init_text|redact.*|support_parts|"
      "log_(lines|ring)|top_(model|view)|"
      "engine_(openvpn|wireguard|command)|config_(?!yaml).*|"
      "doctor(?!_probe|_verb).*)|"
      "worker/(frame|handshake|packet|prefix_table|vnet_header|probe)|web/metrics|"
      "routing/(prefix|route|rule|nexthop|decision|link))\\..pp";
  const std::string impure =
      "(boost/.*|netlink/.*|nftables/.*|openssl/.*|spdlog/.*|sys/.*|linux/.*|"
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
  EXPECT_GT(seen, 20u);
}

std::size_t columns(const std::string& line) {  // characters, not bytes: UTF-8's tails do not count
  return static_cast<std::size_t>(
      std::ranges::count_if(line, [](char c) { return (c & 0xc0) != 0x80; }));
}

TEST(House, FilesAndLinesStayShort) {
  for (const Source& source : sources({"orchestrator", "routing", "worker", "web", "tests"})) {
    EXPECT_LE(source.lines.size(), max_lines) << source.path;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
      EXPECT_LE(columns(source.lines[i]), max_columns) << source.path << ":" << i + 1;
  }
}

TEST(House, HeadersOpenWithWhatTheyAreFor) {
  for (const Source& source : sources(code)) {
    if (!source.path.ends_with(".hpp")) continue;
    EXPECT_TRUE(source.lines.size() > 2 && source.lines[0].starts_with("// ")) << source.path;
    EXPECT_THAT(source.lines, testing::Contains("#pragma once")) << source.path;
  }
}

}  // namespace
