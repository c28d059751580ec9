// What a worker gives up before it hears its first stranger: system calls that carrying packets
// does not take, files, core dumps. Knows libseccomp and landlock for all others.
#pragma once

#include <cstdint>

namespace tunorch::worker {

/// What is left of the file system. `read`: libpq finds hosts, names and locales by files, and
/// reads its keys by /proc/self/fd; whatever this user may read can be read, and nothing written.
enum class FileAccess : std::uint8_t { none, read };

/// For this thread and those it makes; there is no way back. A call that is not the data path's
/// ends the process (seccomp(2)); opening a file is refused with EACCES, and again by landlock(7)
/// where the kernel has it (Linux 5.13). No core dump holds its keys, and without FileAccess::read
/// nobody but root may look into it (PR_SET_DUMPABLE). Throws std::runtime_error where a filter
/// cannot be had: it is not to run without. A build with sanitizers has no filter: their runtimes
/// need more.
void enter_sandbox(FileAccess files);

}  // namespace tunorch::worker
