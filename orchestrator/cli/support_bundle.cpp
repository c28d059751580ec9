// `tunorch support-bundle`: gathers, packs with tar(1), and leaves one file of our own.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <system_error>

#include "base/fd.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/support/gather.hpp"
#include "orchestrator/system/captured.hpp"
#include "version.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds gather_limit{90};
constexpr std::chrono::seconds pack_limit{30};

/// Held back while there are files to be taken away again; asked for between parts.
class Interruptions {
 public:
  Interruptions() {
    ::sigemptyset(&ours_);
    for (const int number : numbers) ::sigaddset(&ours_, number);
    ::sigprocmask(SIG_BLOCK, &ours_, &before_);
  }
  ~Interruptions() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;

  static void check() {
    sigset_t pending;
    ::sigpending(&pending);
    for (const int number : numbers)
      if (::sigismember(&pending, number) == 1) throw std::runtime_error("interrupted");
  }

 private:
  static constexpr std::array numbers{SIGINT, SIGTERM, SIGHUP};
  sigset_t ours_{}, before_{};
};

/// A private folder, removed by the destructor.
struct TemporaryFolder {
  std::string path = (fs::temp_directory_path() / "tunorch-support-XXXXXX").string();

  TemporaryFolder() {
    if (::mkdtemp(path.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "cannot make folder " + path);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
};

/// Made here, and taken away again unless it is kept.
class NewFile {
 public:
  explicit NewFile(const fs::path& path)
      : path_(path),
        fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (!fd_.valid())
      throw std::system_error(errno, std::generic_category(), "cannot make " + path.string());
  }
  ~NewFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// Opens this very file, whoever has put another in its place meanwhile (proc_pid_fd(5)).
  std::string link() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get()); }

  void keep() {
    if (::fsync(fd_.get()) != 0)
      throw std::system_error(errno, std::generic_category(), "cannot write " + path_.string());
    kept_ = true;
  }

 private:
  fs::path path_;
  Fd fd_;
  bool kept_ = false;
};

std::string utc(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

/// A node may be called as in no cluster file: by --node.
std::string bundle_name(const std::string& node) {
  std::string name = "tunorch-support-" + node + "-" + utc("%Y%m%dT%H%M%SZ");
  std::ranges::replace(name, '/', '_');
  return name;
}

std::string about(const Paths& paths) {
  return fmt::format(
      "tunorch support bundle, format 1\nmade {} by tunorch {}, {}\nnode {}, runtime folder {}, "
      "state folder {}\nKeys, passwords and tokens are taken out; names and addresses are not.\n",
      utc("%Y-%m-%dT%H:%M:%SZ"), TUNORCH_VERSION,
      ::geteuid() == 0 ? "as root" : "not as root: parts are missing for that", paths.node,
      paths.runtime.string(), paths.state.string());
}

void pack(const NewFile& output, const std::string& folder, const std::string& name) {
  const Captured done =
      run_captured({"tar", "--create", "--gzip", "--file", output.link(), "--numeric-owner",
                    "--owner=0", "--group=0", "--directory", folder, name},
                   {pack_limit});
  if (done.status == 0) return;
  const std::string said = done.errors.substr(0, done.errors.find('\n'));
  throw std::runtime_error("cannot pack the parts: " +
                           (done.problem.empty() ? said : done.problem));
}

int make_bundle(const std::string& given, const Paths& paths) {
  const std::string name = bundle_name(paths.node);
  const fs::path output = given.empty() ? name + ".tar.gz" : given;
  ::umask(077);
  const Interruptions interruptions;
  NewFile file(fs::absolute(output));
  const TemporaryFolder temporary;
  const fs::path folder = fs::path(temporary.path) / name;
  fs::create_directory(folder);

  const auto parts = gather_support({.paths = paths,
                                     .folder = folder,
                                     .until = std::chrono::steady_clock::now() + gather_limit,
                                     .between = Interruptions::check});
  write_whole(folder / "MANIFEST", manifest_text(about(paths), parts));
  pack(file, temporary.path, name);
  file.keep();

  const auto missing = std::ranges::count_if(parts, &SupportPart::missing);
  std::printf("made %s: %zu parts; %td are missing, and MANIFEST in it says why\n", output.c_str(),
              parts.size() - static_cast<std::size_t>(missing), missing);
  std::printf("keys, passwords and tokens are taken out; names and addresses are in it\n");
  if (::geteuid() != 0) std::printf("as root there is more in it\n");
  return 0;
}

}  // namespace

Verb support_bundle_verb() {
  const auto output = std::make_shared<std::string>();
  return {
      .name = "support-bundle",
      .summary = "Gather one archive to send with a bug report",
      .details =
          "Status, events, settings, logs, and what the kernel has; keys, passwords and tokens\n"
          "are taken out, names and addresses are not. MANIFEST in it says how each part was\n"
          "got, or why it is missing. Works without a daemon, and with less in it without\n"
          "root. Takes a few seconds, and two minutes at most.",
      .options = {{.names = "--output,-o",
                   .help = "Default: ./tunorch-support-NODE-TIME.tar.gz",
                   .type = "FILE.tar.gz",
                   .value = output.get()}},
      .run = [output](const Paths& paths) { return make_bundle(*output, paths); }};
}

}  // namespace tunorch
