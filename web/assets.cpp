#include "web/assets.hpp"

#include <algorithm>

// page_files.inc is CMake's: PAGE_FILE(number, path, file) for each. The assembler takes the files
// in as they are (.incbin).
#define PAGE_FILE(number, path, file)                                                              \
  asm(".pushsection .rodata\n.global embedded_" #number "\nembedded_" #number ":\n.incbin \"" file \
      "\"\n.global embedded_" #number "_end\nembedded_" #number "_end:\n.byte 0\n.popsection");    \
  extern "C" const char embedded_##number[], embedded_##number##_end[];
#include "page_files.inc"
#undef PAGE_FILE

namespace tunorch::web {
namespace {

constexpr std::string_view type_of(std::string_view path) {
  if (path.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (path.ends_with(".css")) return "text/css; charset=utf-8";
  if (path.ends_with(".svg")) return "image/svg+xml";
  return "text/html; charset=utf-8";
}

const Asset assets[] = {
#define PAGE_FILE(number, path, file) \
  {path, type_of(path), {embedded_##number, embedded_##number##_end}},
#include "page_files.inc"
#undef PAGE_FILE
};

}  // namespace

const Asset* find_asset(std::string_view path) {
  const auto found = std::ranges::find(assets, path, &Asset::path);
  return found == std::end(assets) ? nullptr : found;
}

}  // namespace tunorch::web
