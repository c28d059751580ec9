#include "orchestrator/pki/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include "base/fd.hpp"

namespace tunorch {

namespace fs = std::filesystem;

void pki_fail(std::string_view verb, const fs::path& path, std::string_view cause) {
  throw std::runtime_error(fmt::format("cannot {} {}: {}", verb, path.string(), cause));
}

namespace {

[[noreturn]] void fail_errno(std::string_view verb, const fs::path& path, int error) {
  pki_fail(verb, path, std::generic_category().message(error));
}

/// Takes a half-written file away again, whatever went wrong.
struct Unfinished {
  std::string path;
  ~Unfinished() {
    if (!path.empty()) ::unlink(path.c_str());
  }
};

}  // namespace

std::string read_pki_file(const fs::path& path, Secret secret) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() && errno == ENOENT)
    pki_fail(
        "read", path,
        "it does not exist; `tunorch pki init` makes it, once for all nodes: copy it from there");
  if (!file.valid()) fail_errno("read", path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno("read", path, errno);
  if (secret == Secret::yes && (status.st_mode & 077) != 0)
    pki_fail("use", path,
             fmt::format("others can read it (mode {:04o}); run chmod 600 {}",
                         status.st_mode & 07777, path.string()));
  constexpr std::size_t longest = 64 * 1024;  // a PEM file has a few hundred bytes
  std::string text(longest + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno("read", path, errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > longest) pki_fail("use", path, fmt::format("larger than {} bytes", longest));
  text.resize(size);
  return text;
}

/// mkostemp makes the file with mode 0600 and O_EXCL: a
/// key is never readable by others, not for an instant.
void write_pki_file(const fs::path& path, std::string_view text, mode_t mode) {
  Unfinished temporary{path.string() + ".XXXXXX"};
  const Fd file(::mkostemp(temporary.path.data(), O_CLOEXEC));
  if (!file.valid()) {
    temporary.path.clear();
    fail_errno("write", path, errno);
  }
  while (!text.empty()) {
    const ssize_t put = ::write(file.get(), text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_errno("write", path, errno);
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::fchmod(file.get(), mode) != 0 || ::fsync(file.get()) != 0 ||
      ::rename(temporary.path.c_str(), path.c_str()) != 0)
    fail_errno("write", path, errno);
  temporary.path.clear();
  const Fd folder(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) fail_errno("write", path.parent_path(), errno);
}

void make_pki_folder(const fs::path& dir) {
  std::error_code ignored;  // mkdir says it better
  fs::create_directories(dir.parent_path(), ignored);
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) fail_errno("make", dir, errno);
}

}  // namespace tunorch
