// The text of a new cluster file, made from a few answers, and what is wrong with an answer. Pure:
// asking and writing are init.cpp's.
#pragma once

#include <string>
#include <vector>

namespace tunorch {

/// As they were typed; what is empty was not answered. The loader judges them.
struct InitAnswers {
  std::string cluster = {};
  std::string listener = {};
  std::string endpoint = {};  // the listener's address
  std::vector<std::string> dialers = {};
  std::string tunnels = {};
  std::string metrics = {};  // ADDRESS:PORT, or "off"

  bool operator==(const InitAnswers&) const = default;
};

inline constexpr const char* installed_schema = "/usr/share/tunorch/cluster.schema.json";
inline constexpr const char* metrics_off = "off";

inline constexpr const char* usual_metrics = "127.0.0.1:9810";

/// Something valid for all that was not answered, so that the rest can be judged. The endpoint is
/// an address of RFC 5737, 3: nobody's.
InitAnswers filled_up(InitAnswers answers);

/// Words between commas or blanks.
std::vector<std::string> split_names(const std::string& text);

/// A commented cluster file; answers need not be valid, and cannot be more than what they stand
/// for: they are quoted where YAML would read them otherwise. `schema`: a path for editors.
std::string init_text(const InitAnswers& answers, const std::string& schema);

/// What the loader has against the file of these answers, without a position; empty: nothing.
std::string init_fault(const InitAnswers& answers);

/// What there is to do next, for who has just made `file` in `folder` (empty: the current one).
std::string init_next_steps(const InitAnswers& answers, const std::string& folder,
                            const std::string& file);

}  // namespace tunorch
