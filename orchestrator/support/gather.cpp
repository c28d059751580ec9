#include "orchestrator/support/gather.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <system_error>

#include "base/fd.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/config/load.hpp"
#include "orchestrator/daemon/applied.hpp"
#include "orchestrator/doctor/probe.hpp"
#include "orchestrator/pki/files.hpp"
#include "orchestrator/pki/inspect.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/support/parts.hpp"
#include "orchestrator/system/captured.hpp"
#include "orchestrator/system/executable.hpp"
#include "routing/sysctl.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t most_bytes = 4 * 1024 * 1024;      // of a part
constexpr std::size_t most_log_bytes = 1 * 1024 * 1024;  // of a log: its end
constexpr milliseconds command_limit{10'000};
constexpr std::size_t most_workers_logs = 256;

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// The end of a file, from a line's beginning; nothing and errno where it cannot be read.
std::optional<std::string> tail_of(const fs::path& file, std::size_t most) {
  // A pipe or a device in its place must not block us.
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) return std::nullopt;
  const auto size = static_cast<std::size_t>(std::max<off_t>(status.st_size, 0));
  const std::size_t from = S_ISREG(status.st_mode) && size > most ? size - most : 0;
  if (from > 0) ::lseek(fd.get(), static_cast<off_t>(from), SEEK_SET);
  std::string text(most, '\0');
  std::size_t done = 0;
  while (done < most) {
    const ssize_t got = ::read(fd.get(), text.data() + done, most - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && done == 0) return std::nullopt;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  if (from > 0) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  return text;
}

/// Whether it is JSON, or lines of it.
bool is_json(const std::string& text) {
  if (json::accept(text)) return true;
  std::istringstream lines(text);
  bool any = false;
  for (std::string line; std::getline(lines, line); any = true)
    if (!json::accept(line)) return false;
  return any;
}

std::string date(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

class Gathering {
 public:
  explicit Gathering(const SupportRequest& request) : request_(request) {}

  std::vector<SupportPart> run() {
    add_applied();  // first: it says which secrets there are
    file("os-release.txt", "/etc/os-release");
    for (const SupportCommand& command :
         support_commands(own_executable().string(), request_.paths, applied_file_))
      run_command(command);
    if (applied_file_.empty()) missing("plan.txt", "tunorch plan", no_file_);
    file("journal.json", request_.paths.journal());
    file("daemon.log", request_.paths.log(), most_log_bytes);
    add_workers_logs();
    for (const char* name : {"softnet_stat", "snmp", "netstat", "snmp6", "sockstat"})
      file(name + std::string(".txt"), fs::path("/proc/net") / name);
    file("meminfo.txt", "/proc/meminfo");
    add_modules();
    add_settings();
    add_limits();
    add_pki();
    return std::move(parts_);
  }

 private:
  void note(SupportPart part) {
    part.note = redact(part.note, known_);
    part.how = redact(part.how, known_);
    parts_.push_back(std::move(part));
    request_.between();
  }

  void missing(const std::string& name, const std::string& how, const std::string& why) {
    note({name, how, 0, why, true});
  }

  void write(const std::string& name, const std::string& how, const std::string& text,
             const std::string& remark = "") {
    const std::string clean = redact(text, known_);
    write_clean(name, how, clean, remark);
  }

  void write_clean(const std::string& name, const std::string& how, const std::string& text,
                   const std::string& remark = "") {
    const fs::path path = request_.folder / name;
    fs::create_directories(path.parent_path());
    write_whole(path, text);
    note({name, how, text.size(), remark});
  }

  void file(const std::string& name, const fs::path& path, std::size_t most = most_bytes) {
    if (const auto text = tail_of(path, most))
      write(name, path.string(), *text, text->empty() ? "it is empty" : "");
    else
      missing(name, path.string(), std::generic_category().message(errno));
  }

  void run_command(const SupportCommand& command) {
    const std::string how = fmt::format("{}", fmt::join(command.argv, " "));
    const auto left =
        std::chrono::duration_cast<milliseconds>(request_.until - steady_clock::now());
    if (command.systemd && ::access("/run/systemd/system", F_OK) != 0)  // sd_booted(3)
      return missing(command.name, how, "systemd does not run here");
    if (left.count() <= 0) return missing(command.name, how, "no time was left for it");
    const Captured answer = run_captured(command.argv, {std::min(command_limit, left), most_bytes});
    keep_answer(command, how, answer);
  }

  void keep_answer(const SupportCommand& command, const std::string& how, const Captured& answer) {
    std::string remark = answer.problem;
    if (answer.cut) remark = fmt::format("cut after {} bytes", most_bytes);
    if (answer.status >= 0 && !command.statuses.contains(answer.status))
      remark = fmt::format("exited with status {}", answer.status);
    if (const std::string said = first_line(answer.errors); !remark.empty() && !said.empty())
      remark += ": " + said;
    const bool usable = command.json ? is_json(answer.output) : !answer.output.empty();
    if (usable) return write(command.name, how, answer.output, remark);
    if (remark.empty() && !answer.errors.empty()) remark = first_line(answer.errors);
    const bool empty = remark.empty() && !command.json;
    if (empty) return write_clean(command.name, how, "", "there is nothing");
    missing(command.name, how, remark.empty() ? "it is no JSON" : remark);
  }

  void add_cluster_file(const std::string& name, const std::string& how, const std::string& text) {
    const RedactedFile file = redact_cluster_file(text);
    known_.insert(file.secrets.begin(), file.secrets.end());
    write_clean(name, how, file.text, "written anew, without comments");
  }

  void add_applied() {
    const fs::path path = request_.paths.applied();
    const std::string how = path.string();
    std::optional<Applied> applied;
    try {
      applied = load_applied(request_.paths);
    } catch (const std::exception& error) {  // a time in it that is none
      no_file_ = error.what();
    }
    if (!applied) {
      struct stat status {};
      const bool there = ::stat(path.c_str(), &status) == 0;
      no_file_ = !there && errno == ENOENT ? "nothing is applied by this node"
                 : !there || ::access(path.c_str(), R_OK) != 0
                     ? std::generic_category().message(errno)
                     : "what is applied cannot be read: it is no JSON";
      return missing("cluster.yaml", how, no_file_);
    }
    add_cluster_file("cluster.yaml", how, applied->file.text);
    if (applied->before) add_cluster_file("cluster-before.yaml", how, applied->before->text);
    write("applied.txt", how,
          fmt::format("name {}\nfolder {}\n{}\n", applied->file.name, applied->file.base_dir,
                      applied->unconfirmed ? "not confirmed yet" : "confirmed"));
    find_file(applied->file);
    read_cluster(applied->file);
  }

  /// For plan and doctor, which read it where it is.
  void find_file(const FileText& applied) {
    const fs::path file = fs::path(applied.base_dir) / fs::path(applied.name).filename();
    const auto text = tail_of(file, most_bytes);
    if (!text)
      no_file_ = fmt::format("{}: {}", file.string(), std::generic_category().message(errno));
    else if (*text != applied.text)
      no_file_ = fmt::format("{} is not any more what was applied", file.string());
    else
      applied_file_ = file.string();
  }

  void read_cluster(const FileText& applied) {
    pki_dir_ = fs::path(applied.base_dir) / "pki";
    try {
      const Cluster cluster = parse_cluster(applied.text, applied.name, applied.base_dir);
      pki_dir_ = cluster.pki_dir;
      desired_ = desired_for(cluster, request_.paths.node);
    } catch (const std::exception& error) {  // of another version; the parts that need it say so
      no_desired_ = first_line(error.what());
    }
  }

  void add_workers_logs() {
    std::vector<fs::path> logs;
    std::error_code error;
    const fs::path dir = request_.paths.workers();
    for (const auto& entry : fs::directory_iterator(dir, error))
      if (entry.path().extension() == ".log") logs.push_back(entry.path());
    std::ranges::sort(logs);
    if (logs.empty())
      missing("workers/", dir / "*.log",
              error ? error.message() : "there is none: the workers write to the daemon's");
    if (logs.size() > most_workers_logs) logs.resize(most_workers_logs);
    for (const fs::path& log : logs)
      file("workers/" + log.filename().string(), log, most_log_bytes);
  }

  /// Without the addresses in the kernel's memory.
  void add_modules() {
    const auto text = tail_of("/proc/modules", most_bytes);
    if (!text) return missing("modules.txt", "/proc/modules", "there is none");
    std::istringstream lines(*text);
    std::string out;
    for (std::string line; std::getline(lines, line);)
      out += line.substr(0, line.find(" 0x")) + "\n";
    write("modules.txt", "/proc/modules", out);
  }

  void add_settings() {
    std::vector<std::string> keys = support_settings();
    std::vector<std::string> devices;
    if (desired_) {
      for (const DesiredSysctl& wanted : desired_->sysctls) keys.push_back(wanted.setting.key);
      for (const DesiredTunnel& tunnel : desired_->tunnels) devices.push_back(tunnel.name);
    }
    std::ranges::sort(keys);
    keys.erase(std::ranges::unique(keys).begin(), keys.end());
    std::string text;
    for (const std::string& key : keys) {
      std::string value = "(there is none)";
      try {
        value = routing::read_sysctl(key).value_or(value);
      } catch (const std::system_error& error) {
        value = "(" + error.code().message() + ")";
      }
      text += fmt::format("{} = {}\n", key, value);
    }
    for (const std::string& folder : support_setting_folders(devices)) {
      std::error_code gone;
      for (const auto& entry : fs::directory_iterator(folder, gone))
        if (const auto value = tail_of(entry.path(), 4096))
          text += fmt::format("{} = {}\n", entry.path().string(), first_line(*value));
    }
    write("sysctl.txt", "/proc/sys", text, no_desired_);
  }

  void add_limits() {
    std::string text;
    for (const int pid : processes_here()) {
      const std::string name = process_name(pid);
      if (!name.starts_with("tunorch")) continue;
      const auto limits = tail_of(fmt::format("/proc/{}/limits", pid), most_bytes);
      text += fmt::format("process {} {}{}\n{}\n", pid, name,
                          pid == ::getpid() ? " (which made this)" : "",
                          limits.value_or(std::generic_category().message(errno)));
    }
    write("limits.txt", "/proc/PID/limits of tunorch's processes", text);
  }

  /// Nothing of a key's contents.
  static std::string pki_line(const fs::path& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0)
      return fmt::format("{}: {}\n", path.filename().string(),
                         std::generic_category().message(errno));
    std::string line = fmt::format("{} mode {:04o} owner {} {} bytes", path.filename().string(),
                                   status.st_mode & 07777U, status.st_uid, status.st_size);
    if (path.extension() != ".crt") return line + "\n";
    try {
      const PemFacts facts = inspect_certificate(read_pki_file(path, Secret::no));
      line +=
          fmt::format(", {} {} bits, from {} to {}, SHA-256 of its public key {}", facts.algorithm,
                      facts.bits, date(facts.not_before), date(facts.not_after), facts.fingerprint);
    } catch (const std::exception& error) {
      line += ", " + first_line(error.what());
    }
    return line + "\n";
  }

  void add_pki() {
    if (pki_dir_.empty()) return missing("pki.txt", "names in pki/", no_file_);
    std::error_code error;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(pki_dir_, error)) files.push_back(entry.path());
    if (error) return missing("pki.txt", "names in " + pki_dir_.string(), error.message());
    std::ranges::sort(files);
    std::string text;
    for (const fs::path& file : files) text += pki_line(file);
    write("pki.txt", "names in " + pki_dir_.string(), text);
  }

  const SupportRequest& request_;
  std::vector<SupportPart> parts_;
  KnownSecrets known_;
  std::string applied_file_;  // where it still is as it was applied
  std::string no_file_, no_desired_;
  fs::path pki_dir_;
  std::optional<Desired> desired_;
};

}  // namespace

std::vector<SupportPart> gather_support(const SupportRequest& request) {
  return Gathering(request).run();
}

std::string manifest_text(const std::string& about, const std::vector<SupportPart>& parts) {
  std::string text = about + "\n";
  for (const SupportPart& part : parts) {
    const std::string size = part.missing ? "missing" : fmt::format("{} bytes", part.bytes);
    text += fmt::format("{:<20} {:>14}  {}\n", part.name, size, part.how);
    if (!part.note.empty()) text += fmt::format("{:<36}  {}\n", "", part.note);
  }
  return text;
}

}  // namespace tunorch
