// Preloaded into a soak's daemons, whose workers inherit it: moves their CLOCK_REALTIME, and no
// other clock, by the nanoseconds (a native 64-bit number) in the file that SOAK_CLOCK names. The
// machine's own clock, which is everybody's, stays as it is.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

constexpr std::int64_t a_second = 1'000'000'000;

/// Mapped at the start, before a program may shut itself off from files.
const volatile std::int64_t* map_offset() {
  const char* const path = std::getenv("SOAK_CLOCK");
  const int fd = path ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return nullptr;
  void* const at = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  return at == MAP_FAILED ? nullptr : static_cast<const std::int64_t*>(at);
}

const volatile std::int64_t* offset_ns() {
  static const volatile std::int64_t* const at = map_offset();
  return at;
}

[[gnu::constructor]] void begin() {
  offset_ns();
}

using ClockGettime = int (*)(clockid_t, timespec*);

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static const auto real = reinterpret_cast<ClockGettime>(::dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, time);
  if (result != 0 || clock != CLOCK_REALTIME || !offset_ns()) return result;
  const std::int64_t moved = time->tv_sec * a_second + time->tv_nsec + *offset_ns();
  *time = {moved / a_second, moved % a_second};
  return 0;
}

int gettimeofday(timeval* time, void*) noexcept {
  timespec now{};
  const int result = clock_gettime(CLOCK_REALTIME, &now);
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return result;
}

time_t time(time_t* to) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
}
