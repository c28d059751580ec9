// Runs a fuzz target over the files of folders, without libFuzzer: each whole, and small ones cut
// off at every length. Any compiler builds it, so every test run replays the corpora.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

namespace {

constexpr std::size_t longest_cut = 2048;

/// In a block of just its size, so that a sanitizer sees the first byte too many.
void run(const std::vector<char>& bytes, std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> copy(new std::uint8_t[size]);
  if (size > 0) std::memcpy(copy.get(), bytes.data(), size);
  LLVMFuzzerTestOneInput(copy.get(), size);
}

}  // namespace

int main(int count, char** folders) {
  std::size_t files = 0, runs = 0;
  for (int i = 1; i < count; ++i)
    for (const auto& entry : std::filesystem::directory_iterator(folders[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
      std::fprintf(stderr, "%s\n", entry.path().c_str());  // the last one is where it fell
      run(bytes, bytes.size());
      const std::size_t cuts = std::min(bytes.size(), longest_cut);
      for (std::size_t size = 0; size < cuts; ++size) run(bytes, size);
      ++files;
      runs += cuts + 1;
    }
  std::printf("%zu files, %zu inputs\n", files, runs);
  return files > 0 ? 0 : 1;
}
