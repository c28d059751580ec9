// Takes secrets out of what goes to others, and keeps its structure: JSON stays JSON, a cluster
// file stays YAML. Pure. How secrets look in a line is redact_text.hpp's.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace tunorch {

/// Values that a cluster file gives as secrets; they are taken out wherever else they stand, as in
/// the command lines that systemd shows.
using KnownSecrets = std::set<std::string>;

/// JSON, lines of JSON, or any text. Each secret becomes redacted_word; so does every value below a
/// key whose name says that it is one.
std::string redact(std::string_view text, const KnownSecrets& known = {});

struct RedactedFile {
  std::string text;  // YAML, without the comments; any text where the file was no YAML
  KnownSecrets secrets;
};

/// Of a command engine, also every word of its command lines that is no option, and its files'
/// texts: what they mean is not known here.
RedactedFile redact_cluster_file(const std::string& text);

}  // namespace tunorch
