// The files of the PKI folder, read and written: keys are readable by their owner alone, and a file
// is whole or not there. Knows nothing of what is in them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tunorch {

/// Throws std::runtime_error "cannot VERB PATH: CAUSE".
[[noreturn]] void pki_fail(std::string_view verb, const std::filesystem::path& path,
                           std::string_view cause);

enum class Secret : std::uint8_t { no, yes };

/// Refuses a secret that others can read, and anything but a small file.
std::string read_pki_file(const std::filesystem::path& path, Secret secret);

/// Whole or not at all, also over a power cut.
void write_pki_file(const std::filesystem::path& path, std::string_view text, mode_t mode);

/// With its parents; mode 0700. One that is there stays as it is.
void make_pki_folder(const std::filesystem::path& dir);

}  // namespace tunorch
