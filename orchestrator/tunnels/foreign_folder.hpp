// The folder of a foreign process: its configuration, its sockets. Of its user alone, in memory
// (/run), and gone with it. What it prints is not in it: its user could put a link there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "orchestrator/plan/launch.hpp"

namespace tunorch {

class ForeignFolder {
 public:
  explicit ForeignFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  /// Makes it anew. Throws std::runtime_error where the user cannot get there, or
  /// std::system_error.
  void make(std::uint32_t user) const;
  /// Whole files, the user's, mode 0600; links that its user put in the way are not followed.
  /// Throws std::system_error.
  void write(const std::vector<LaunchFile>& files, std::uint32_t user) const;
  void remove() const;

  /// A socket in it that the program is to listen on (unix(7)), the user's. Throws
  /// std::system_error.
  Fd listen(const std::string& socket, std::uint32_t user) const;
  /// A link to that from outside. Throws std::runtime_error where somebody else's file is there.
  void link(const std::string& socket, const std::filesystem::path& from) const;
  /// Where it still leads here, and the folder it is in where link() made that.
  void unlink(const std::filesystem::path& from) const;

 private:
  std::filesystem::path path_;
};

}  // namespace tunorch
