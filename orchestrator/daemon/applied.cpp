#include "orchestrator/daemon/applied.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

namespace tunorch {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::system_clock;

json to_json(const FileText& file) {
  return {{"text", file.text}, {"name", file.name}, {"base_dir", file.base_dir}};
}

FileText from_json(const json& saved) {
  return {saved.value("text", ""), saved.value("name", ""), saved.value("base_dir", "")};
}

}  // namespace

void save_applied(const Paths& paths, const Applied& applied) {
  json saved = to_json(applied.file);
  if (applied.unconfirmed) {
    saved["before"] = applied.before ? to_json(*applied.before) : json();
    saved["confirm_by_ms"] =
        std::chrono::duration_cast<milliseconds>(applied.confirm_by.time_since_epoch()).count();
  }
  try {
    make_dir(paths.applied().parent_path());
    write_whole(paths.applied(), saved.dump(2));
  } catch (const std::system_error& error) {
    throw std::runtime_error(std::string(error.what()) +
                             ": what is applied is kept there for the next boot; make it writable, "
                             "or choose another folder with --state-dir");
  }
}

std::optional<Applied> load_applied(const Paths& paths) {
  const auto text = read_text(paths.applied());
  const json saved = text ? json::parse(*text, nullptr, false) : json();
  if (!saved.is_object()) return std::nullopt;
  Applied applied{from_json(saved), saved.contains("confirm_by_ms"), std::nullopt, {}};
  if (applied.unconfirmed) {
    if (saved["before"].is_object()) applied.before = from_json(saved["before"]);
    applied.confirm_by =
        system_clock::time_point(milliseconds(saved["confirm_by_ms"].get<std::int64_t>()));
  }
  return applied;
}

void forget_applied(const Paths& paths) {
  remove_whole(paths.applied());
}

}  // namespace tunorch
