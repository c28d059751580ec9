// A bad path between two network namespaces, for kernels without netem: two TUN devices, and
// between them a delay, jitter, random loss, and a bottleneck with a queue. Packets stay in order.
//
//   path NETNS DEVICE NETNS DEVICE KEY=VALUE ...
//
//   delay=MS     one way (default 0)            rate=MBIT   a second, each way (default: no limit)
//   jitter=MS    more or less than the delay    queue=MS    of the bottleneck (default 50)
//   loss=PERCENT of packets, each way           seed=N      of loss and jitter (default 1)
//
// Prints "ready" when the devices are there; ends with its standard input. Addresses are the
// caller's business.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC, as the timer's
using Time = Clock::time_point;
using std::chrono::nanoseconds;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr std::size_t packet_bytes = 65536;
constexpr int packets_a_turn = 64;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "path: cannot %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

int open_tun(const std::string& netns, const std::string& device) {
  const int target = ::open(("/run/netns/" + netns).c_str(), O_RDONLY | O_CLOEXEC);
  if (target < 0 || ::setns(target, CLONE_NEWNET) != 0) fail("enter " + netns);
  ::close(target);
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device.c_str());
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (fd < 0 || ::ioctl(fd, TUNSETIFF, &request) != 0) fail("make " + device + " in " + netns);
  return fd;
}

struct Conditions {
  nanoseconds delay, jitter, queue;
  double loss;               // of 1
  double nanoseconds_a_bit;  // 0: no limit
};

class Direction {
 public:
  Direction(int from, int to, const Conditions& conditions, unsigned seed)
      : from_(from), to_(to), conditions_(conditions), random_(seed) {}

  void take(Time now) {
    std::uint8_t bytes[packet_bytes];
    for (int i = 0; i < packets_a_turn; ++i) {
      const ssize_t size = ::read(from_, bytes, sizeof bytes);
      if (size <= 0) return;
      if (chance_(random_) < conditions_.loss) continue;
      Time leaves = now;
      if (conditions_.nanoseconds_a_bit > 0) {
        const Time starts = std::max(free_, now);
        if (starts - now > conditions_.queue) continue;  // the queue is full
        leaves = starts + nanoseconds(static_cast<std::int64_t>(static_cast<double>(size) * 8 *
                                                                conditions_.nanoseconds_a_bit));
        free_ = leaves;
      }
      const double swing =
          (2 * chance_(random_) - 1) * static_cast<double>(conditions_.jitter.count());
      Time due = leaves + conditions_.delay + nanoseconds(static_cast<std::int64_t>(swing));
      if (!waiting_.empty()) due = std::max(due, waiting_.back().due);
      waiting_.push_back({due, {bytes, bytes + size}});
    }
  }

  void give(Time now) {
    while (!waiting_.empty() && waiting_.front().due <= now) {
      const auto& packet = waiting_.front().bytes;
      if (::write(to_, packet.data(), packet.size()) < 0 && errno != EIO && errno != EAGAIN)
        fail("deliver a packet");
      waiting_.pop_front();
    }
  }

  Time due() const { return waiting_.empty() ? Time::max() : waiting_.front().due; }

 private:
  struct Packet {
    Time due;
    std::vector<std::uint8_t> bytes;
  };

  int from_, to_;
  Conditions conditions_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> chance_{0, 1};
  Time free_{};  // when the bottleneck has sent all it has
  std::deque<Packet> waiting_;
};

double value_of(std::map<std::string, double>& values, const std::string& key, double otherwise) {
  const auto found = values.find(key);
  return found == values.end() ? otherwise : found->second;
}

void set_timer(int timer, Time due) {
  itimerspec when{};
  if (due != Time::max()) {
    const auto since = std::max<std::int64_t>(1, due.time_since_epoch() / nanoseconds(1));
    when.it_value = {since / 1'000'000'000, since % 1'000'000'000};
  }
  ::timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace

int main(int count, char** words) {
  if (count < 5) {
    std::fputs("usage: path NETNS DEVICE NETNS DEVICE [KEY=VALUE ...]\n", stderr);
    return 2;
  }
  std::map<std::string, double> values;
  for (int i = 5; i < count; ++i) {
    const std::string word = words[i];
    values[word.substr(0, word.find('='))] = std::atof(word.c_str() + word.find('=') + 1);
  }
  const auto time = [&](const char* key, double otherwise) {
    return std::chrono::duration_cast<nanoseconds>(Milliseconds(value_of(values, key, otherwise)));
  };
  const double rate = value_of(values, "rate", 0);
  const Conditions conditions{time("delay", 0), time("jitter", 0), time("queue", 50),
                              value_of(values, "loss", 0) / 100, rate > 0 ? 1000 / rate : 0};
  const auto seed = static_cast<unsigned>(value_of(values, "seed", 1));
  const int left = open_tun(words[1], words[2]), right = open_tun(words[3], words[4]);
  Direction there(left, right, conditions, seed), back(right, left, conditions, seed + 1);
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    set_timer(timer, std::min(there.due(), back.due()));
    pollfd waits[] = {{left, POLLIN, 0}, {right, POLLIN, 0}, {timer, POLLIN, 0}, {0, POLLIN, 0}};
    ::poll(waits, 4, -1);
    std::uint64_t expired = 0;
    (void)!::read(timer, &expired, sizeof expired);
    char end = 0;
    if (waits[3].revents && ::read(0, &end, 1) <= 0) return 0;
    const Time now = Clock::now();
    there.take(now);
    back.take(now);
    there.give(now);
    back.give(now);
  }
}
