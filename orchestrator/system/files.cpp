#include "orchestrator/system/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "base/fd.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

constexpr const char* made_mark = ".made-by-tunorch";

[[noreturn]] void fail(const std::string& what, const fs::path& path) {
  throw std::system_error(errno, std::generic_category(), "cannot " + what + " " + path.string());
}

void sync_dir(const fs::path& dir) {
  const Fd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) ::fsync(fd.get());
}

fs::path temporary_of(const fs::path& file) {
  return file.string() + ".new";
}

}  // namespace

std::string default_node() {
  std::string node = read_text("/etc/tunorch/node").value_or("");
  node = node.substr(0, node.find_first_of(" \t\n"));
  if (!node.empty()) return node;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  node = host;
  return node.substr(0, node.find('.'));
}

void write_whole(const fs::path& file, const std::string& text) {
  const fs::path temporary = temporary_of(file);
  const Fd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) fail("write", temporary);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      ::unlink(temporary.c_str());
      errno = error;
      fail("write", temporary);
    }
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(fd.get()) != 0) fail("write", temporary);
  if (::rename(temporary.c_str(), file.c_str()) != 0) fail("write", file);
  sync_dir(file.parent_path());
}

void remove_whole(const fs::path& file) {
  std::error_code ignored;
  fs::remove(file, ignored);
  fs::remove(temporary_of(file), ignored);
}

std::optional<std::string> read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void make_dir(const fs::path& dir) {
  if (dir.empty() || fs::exists(dir)) return;
  make_dir(dir.parent_path());
  if (::mkdir(dir.c_str(), 0755) != 0) {
    if (errno == EEXIST) return;
    fail("make folder", dir);
  }
  ::chmod(dir.c_str(), 0755);  // whatever the umask: processes of others have to pass
  const Fd mark(::open((dir / made_mark).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

void prepare_runtime_dir(const fs::path& dir) {
  const auto refuse = [&](const std::string& why) {
    throw std::runtime_error("cannot use the runtime folder " + dir.string() + ": " + why +
                             ", or choose another with --runtime-dir");
  };
  try {
    make_dir(dir);
  } catch (const std::system_error& error) {
    refuse(std::string(error.what()) + ": make it there");
  }
  struct stat entry {
  }, folder{};
  if (::lstat(dir.c_str(), &entry) != 0 || ::stat(dir.c_str(), &folder) != 0)
    refuse(std::string(std::strerror(errno)) +
           (S_ISLNK(entry.st_mode) ? ", it is a link to nowhere: remove it" : ": make it"));
  if (!S_ISDIR(folder.st_mode)) refuse("it is not a folder: remove it");
  for (const struct stat& one : {entry, folder})
    if (one.st_uid != 0)
      refuse("it belongs to user " + std::to_string(one.st_uid) +
             ", who could put files in place of ours: `chown -h root:root` it");
  if ((folder.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    refuse("others may write there, and could put files in place of ours: `chmod go-w` it");
  if (::access(dir.c_str(), W_OK | X_OK) != 0)
    refuse(std::string(std::strerror(errno)) + ": make it writable");
}

void remove_made_dir(const fs::path& dir) {
  std::error_code ignored;
  for (fs::path at = dir; at.has_relative_path() && fs::exists(at / made_mark, ignored);
       at = at.parent_path()) {
    // Somebody else's file in it keeps the folder, and its mark.
    if (std::distance(fs::directory_iterator(at, ignored), fs::directory_iterator()) != 1) return;
    fs::remove(at / made_mark, ignored);
    if (::rmdir(at.c_str()) != 0) return;
  }
}

std::vector<std::filesystem::path> files_of(const std::filesystem::path& dir,
                                            const std::set<std::string>& extensions) {
  std::error_code missing;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir, missing))
    if (extensions.contains(entry.path().extension())) files.push_back(entry.path());
  return files;
}

}  // namespace tunorch
