// Gathers a support bundle's parts into a folder, each without its secrets, and tells how. What
// there is to gather is parts.hpp's, what a secret is redact.hpp's. Changes nothing.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "orchestrator/support/redact.hpp"
#include "orchestrator/system/files.hpp"

namespace tunorch {

/// One line of MANIFEST.
struct SupportPart {
  std::string name, how;
  std::size_t bytes = 0;
  std::string note;  // with no bytes: why it is missing
  bool missing = false;
};

struct SupportRequest {
  Paths paths;
  std::filesystem::path folder;  // empty and private
  std::chrono::steady_clock::time_point until;
  std::function<void()> between;  // called between parts; what it throws ends the gathering
};

/// Writes the parts, and returns what was written and what is missing. Throws std::system_error
/// where the folder cannot be written.
std::vector<SupportPart> gather_support(const SupportRequest& request);

/// `about`: its first lines.
std::string manifest_text(const std::string& about, const std::vector<SupportPart>& parts);

}  // namespace tunorch
