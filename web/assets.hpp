// The page's files, built into the program.
#pragma once

#include <string_view>

namespace tunorch::web {

struct Asset {
  std::string_view path;  // "/page.js"
  std::string_view type;  // of HTTP's Content-Type
  std::string_view body;
};

/// nullptr where there is none at that path.
const Asset* find_asset(std::string_view path);

}  // namespace tunorch::web
