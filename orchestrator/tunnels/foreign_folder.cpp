#include "orchestrator/tunnels/foreign_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <stdexcept>
#include <system_error>

#include "orchestrator/system/files.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

constexpr int backlog = 16;

void give_to(const fs::path& path, std::uint32_t user) {
  if (::lchown(path.c_str(), user, user) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot give away " + path.string());
}

void make_own_dir(const fs::path& dir, std::uint32_t user) {
  fs::create_directory(dir);
  fs::permissions(dir, fs::perms::owner_all);
  give_to(dir, user);
}

[[noreturn]] void cannot_write(const fs::path& name) {
  throw std::system_error(errno, std::generic_category(), "cannot write " + name.string());
}

Fd open_folder(int at, const fs::path& name) {
  Fd fd(::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) cannot_write(name);
  return fd;
}

/// Made where it is missing, and the user's.
Fd open_folder(int at, const fs::path& name, std::uint32_t user) {
  if (::mkdirat(at, name.c_str(), 0700) != 0 && errno != EEXIST) cannot_write(name);
  Fd fd = open_folder(at, name);
  if (::fchown(fd.get(), user, user) != 0) cannot_write(name);
  return fd;
}

void write_file(int folder, const fs::path& name, const std::string& text, std::uint32_t user) {
  const std::string fresh = name.string() + ".new";
  ::unlinkat(folder, fresh.c_str(), 0);
  const Fd fd(
      ::openat(folder, fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid() ||
      ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fchown(fd.get(), user, user) != 0 ||
      ::renameat(folder, fresh.c_str(), folder, name.c_str()) != 0)
    cannot_write(name);
}

/// Its program would only find that there is no such file.
void check_passable(const fs::path& dir, std::uint32_t user) {
  for (fs::path at = dir; user != 0 && at.has_relative_path(); at = at.parent_path())
    if ((fs::status(at).permissions() & fs::perms::others_exec) == fs::perms::none)
      throw std::runtime_error(
          fmt::format("cannot start it: user {} cannot get to {} through {}; run chmod o+x {}",
                      user, dir.string(), at.string(), at.string()));
}

}  // namespace

void ForeignFolder::make(std::uint32_t user) const {
  check_passable(path_.parent_path(), user);
  fs::remove_all(path_);
  make_own_dir(path_, user);
}

void ForeignFolder::write(const std::vector<LaunchFile>& files, std::uint32_t user) const {
  for (const LaunchFile& file : files) {
    const fs::path path = file.name;
    Fd folder = open_folder(AT_FDCWD, path_);
    for (const fs::path& part : path.parent_path()) folder = open_folder(folder.get(), part, user);
    write_file(folder.get(), path.filename(), file.text, user);
  }
}

Fd ForeignFolder::listen(const std::string& socket, std::uint32_t user) const {
  const fs::path path = path_ / socket;
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  if (!fd.valid() || path.string().size() >= sizeof address.sun_path ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), backlog) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot listen on " + path.string());
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  give_to(path, user);
  return fd;
}

void ForeignFolder::link(const std::string& socket, const fs::path& from) const {
  if (fs::exists(fs::symlink_status(from)) && !fs::is_symlink(from))
    throw std::runtime_error(fmt::format(
        "cannot start it: {} is somebody else's; end the program that has it, or remove it",
        from.string()));
  make_dir(from.parent_path());
  fs::remove(from);
  fs::create_symlink(path_ / socket, from);
}

void ForeignFolder::unlink(const fs::path& from) const {
  std::error_code ignored;
  if (from.empty() || fs::read_symlink(from, ignored).parent_path() != path_) return;
  fs::remove(from, ignored);
  remove_made_dir(from.parent_path());
}

void ForeignFolder::remove() const {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace tunorch
