// Where a node keeps its files, and how they are written: whole, or not at all. Knows names and
// atomicity, not contents.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace tunorch {

struct Paths {
  std::filesystem::path runtime = "/run/tunorch";    // sockets, journal; gone after a reboot
  std::filesystem::path state = "/var/lib/tunorch";  // what must survive a reboot, by node
  std::string node;

  std::filesystem::path control_socket() const { return runtime / "control.sock"; }
  std::filesystem::path log() const { return runtime / "daemon.log"; }
  std::filesystem::path journal() const { return runtime / "journal.json"; }
  std::filesystem::path web_process() const { return runtime / "web.process"; }
  std::filesystem::path workers() const { return runtime / "w"; }
  std::filesystem::path worker_socket(const std::string& tunnel) const {
    return workers() / (tunnel + ".sock");
  }
  std::filesystem::path worker_process(const std::string& tunnel) const {
    return workers() / (tunnel + ".process");
  }
  /// What a tunnel's process prints.
  std::filesystem::path worker_log(const std::string& tunnel) const {
    return workers() / (tunnel + ".log");
  }
  /// Of a foreign process: its files and sockets.
  std::filesystem::path tunnel_dir(const std::string& tunnel) const { return workers() / tunnel; }
  std::filesystem::path applied() const { return state / node / "applied.json"; }
};

/// Default node name of this host: /etc/tunorch/node, else the
/// host name up to its first dot.
std::string default_node();

/// Written beside it, fsynced, renamed over it: a reader sees the old text or the new one, never a
/// part (rename(2)). Mode 0600. Throws std::system_error: "cannot write FILE: …".
void write_whole(const std::filesystem::path& file, const std::string& text);

/// The file, and what a write_whole() of it left that was killed half way. Never throws.
void remove_whole(const std::filesystem::path& file);

/// Nothing where the file does not exist or cannot be read.
std::optional<std::string> read_text(const std::filesystem::path& file);

/// The files of a folder with one of these extensions (".sock"); none if there is no such folder.
std::vector<std::filesystem::path> files_of(const std::filesystem::path& dir,
                                            const std::set<std::string>& extensions);

/// Makes missing folders and remembers, by a mark in each, that we did: remove_made_dir() takes
/// away only those.
void make_dir(const std::filesystem::path& dir);
void remove_made_dir(const std::filesystem::path& dir);

/// Makes it, and throws in words where others could put files of theirs into it, or we could not:
/// not a folder, not root's own, writable by others, on a read-only file system.
void prepare_runtime_dir(const std::filesystem::path& dir);

}  // namespace tunorch
