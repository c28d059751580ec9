// The load of a soak run: one process a host, which dials its peer and is dialed by it. Every byte
// of a TCP connection belongs to a pseudo-random stream whose seed both ends know, and is compared
// as it comes; UDP packets are numbered. Bounded in connections, memory and time.
//
//   load run NAME OWN PEER PORT LONG SHORT_A_SECOND KBIT UDP_PPS STALL_SECONDS SECONDS SEED
//   load strangers ADDRESS PORT COUNT SECONDS      connections that say nothing
//
// Prints a JSON object a line, four a second. Ends in good order when its standard input says "end"
// or closes. A flow is lost when it is reset, ends early, is silent for STALL_SECONDS, or a byte is
// wrong. A connection that is refused is tried again, and lost after STALL_SECONDS.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/soak/stream.hpp"
#include "tests/soak/udp.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Seconds = std::chrono::duration<double>;
using nlohmann::json;
using tunorch::soak::Fd;
using tunorch::soak::Stream;

constexpr std::size_t max_flows = 2000;
constexpr std::size_t chunk_bytes = 64 << 10;
constexpr double stuck_seconds = 2;
constexpr int stuck_backoff = 3;  // times that TCP doubled its timeout
constexpr std::uint64_t magic = 0x746e736f616b3031;
constexpr std::uint64_t way_back = 0x9e3779b97f4a7c15;  // between the seeds of both directions
constexpr Seconds report_interval{0.25}, retry_interval{0.2}, quiet_end{1};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "load: cannot %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

double seconds_since(Time then) {
  return Seconds(Clock::now() - then).count();
}

sockaddr_in address_of(const char* text, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, text, &address.sin_addr) != 1) {
    errno = EINVAL;
    fail("read the address");
  }
  return address;
}

const sockaddr* generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

/// What a dialer says first.
struct Greeting {
  std::uint64_t magic, seed;
  std::uint64_t bytes;   // each way; 0: until the dialer ends it
  std::uint64_t rate;    // bytes a second, each way
  std::uint64_t number;  // of the dialer's flows
};

struct Flow {
  Fd fd;
  std::string name;
  Greeting greeting{};
  std::size_t greeted = 0;  // bytes of the greeting sent or received
  Stream out{0}, in{0};
  bool dialed = false, connected = false, in_over = false, out_over = false, ending = false;
  double allowance = 0;  // bytes
  Time began = Clock::now(), heard = Clock::now(), retry_at{};

  bool all_sent() const { return greeting.bytes == 0 ? ending : out.at() >= greeting.bytes; }
  bool over() const { return in_over && out_over; }
};

struct Options {
  std::string name;
  sockaddr_in own, peer;
  std::uint32_t longs;
  double shorts_a_second, bytes_a_second, udp_pps, stall_seconds, seconds;
  std::uint64_t seed;
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options),
        random_(options.seed),
        poller_(::epoll_create1(0)),
        udp_(options.own, options.peer, options.udp_pps, options.seed) {
    const int on = 1;
    listening_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    ::setsockopt(listening_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(listening_.get(), generic(options.own), sizeof options.own) != 0 ||
        ::listen(listening_.get(), 1024) != 0 || !udp_.bound())
      fail("listen");
    watch(listening_.get());
    watch(udp_.fd());
    watch(STDIN_FILENO);
  }

  void run() {
    for (std::uint32_t i = 0; i < options_.longs; ++i) dial(0, options_.bytes_a_second);
    Time before = Clock::now();
    while (!finished()) {
      epoll_event ready[256];
      const int count = ::epoll_wait(poller_.get(), ready, 256, 10);
      for (int i = 0; i < count; ++i) handle(ready[i].data.fd);
      const double passed = seconds_since(before);
      if (passed < 0.01) continue;
      before = Clock::now();
      turn(passed);
    }
    report(true);
  }

 private:
  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(poller_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  bool finished() const {
    if (seconds_since(began_) > options_.seconds) return true;
    return ending_ && flows_.empty() && seconds_since(last_flow_) > quiet_end.count();
  }

  void handle(int fd) {
    if (fd == STDIN_FILENO) {
      char word[16];
      // Whether a word or its end: it is over.
      (void)!::read(STDIN_FILENO, word, sizeof word);
      end();
    } else if (fd == listening_.get()) {
      accept();
    } else if (fd == udp_.fd()) {
      udp_.hear();
    } else if (const auto found = flows_.find(fd);
               found != flows_.end() && found->second->connected) {
      hear(*found->second);
    }
  }

  void end() {
    ending_ = true;
    ::epoll_ctl(poller_.get(), EPOLL_CTL_DEL, STDIN_FILENO, nullptr);
    for (const auto& [fd, flow] : flows_)
      if (flow->dialed) flow->ending = true;
    waiting_.clear();
  }

  // ---- TCP ----

  void dial(std::uint64_t bytes, double rate) {
    auto flow = std::make_unique<Flow>();
    flow->dialed = true;
    flow->greeting = {magic, random_(), bytes, static_cast<std::uint64_t>(rate), ++opened_};
    flow->name = options_.name + "-" + std::to_string(opened_);
    flow->out = Stream(flow->greeting.seed);
    flow->in = Stream(flow->greeting.seed ^ way_back);
    waiting_.push_back(std::move(flow));
  }

  void connect_waiting() {
    auto waiting = std::exchange(waiting_, {});
    for (auto& flow : waiting) {
      if (Clock::now() < flow->retry_at) {
        waiting_.push_back(std::move(flow));
        continue;
      }
      flow->fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      const int done = ::connect(flow->fd.get(), generic(options_.peer), sizeof options_.peer);
      if (done != 0 && errno != EINPROGRESS)
        refused(std::move(flow));
      else
        add(std::move(flow));
    }
  }

  void refused(std::unique_ptr<Flow> flow) {
    ++refused_;
    if (seconds_since(flow->began) > options_.stall_seconds)
      return lost(*flow, std::string("cannot be opened: ") + std::strerror(errno));
    flow->fd = Fd();
    flow->retry_at = Clock::now() + std::chrono::duration_cast<Clock::duration>(retry_interval);
    waiting_.push_back(std::move(flow));
  }

  void add(std::unique_ptr<Flow> flow) {
    const int on = 1;
    ::setsockopt(flow->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(flow->fd.get());
    flows_[flow->fd.get()] = std::move(flow);
  }

  void accept() {
    for (;;) {
      Fd socket(::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK));
      if (socket.get() < 0 || flows_.size() >= max_flows) return;
      auto flow = std::make_unique<Flow>();
      flow->fd = std::move(socket);
      flow->name = "unknown";
      flow->connected = true;
      add(std::move(flow));
    }
  }

  void lost(const Flow& flow, const std::string& why) {
    lost_.push_back({{"flow", flow.name},
                     {"why", why},
                     {"at_byte", flow.in.at()},
                     {"age_s", seconds_since(flow.began)}});
  }

  void remove(Flow& flow) {
    last_flow_ = Clock::now();
    flows_.erase(flow.fd.get());  // its descriptor closes, and leaves the poller
  }

  void lose(Flow& flow, const std::string& why) {
    lost(flow, why);
    remove(flow);
  }

  /// Whether the greeting is complete.
  bool hear_greeting(Flow& flow) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(&flow.greeting);
    const ssize_t size =
        ::recv(flow.fd.get(), bytes + flow.greeted, sizeof flow.greeting - flow.greeted, 0);
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
      // The dialer knows its name, and tells.
      remove(flow);
      return false;
    }
    if (size < 0) return false;
    flow.greeted += static_cast<std::size_t>(size);
    if (flow.greeted < sizeof flow.greeting) return false;
    if (flow.greeting.magic != magic) {
      lose(flow, "greets with wrong bytes");
      return false;
    }
    flow.name = "peer-" + std::to_string(flow.greeting.number);
    flow.in = Stream(flow.greeting.seed);
    flow.out = Stream(flow.greeting.seed ^ way_back);
    ++taken_;
    return true;
  }

  void hear(Flow& flow) {
    if (!flow.dialed && flow.greeted < sizeof flow.greeting && !hear_greeting(flow)) return;
    std::array<std::uint8_t, chunk_bytes> got, wanted;
    const ssize_t size = ::recv(flow.fd.get(), got.data(), got.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) return lose(flow, std::strerror(errno));
    flow.heard = Clock::now();
    if (size == 0) {
      const bool early = flow.greeting.bytes != 0 ? flow.in.at() != flow.greeting.bytes
                                                  : flow.dialed && !flow.ending;
      if (early) return lose(flow, "ends early");
      flow.in_over = flow.ending = true;
      ::epoll_ctl(poller_.get(), EPOLL_CTL_DEL, flow.fd.get(), nullptr);
      return finish(flow);
    }
    const auto bytes = static_cast<std::size_t>(size);
    flow.in.next(wanted.data(), bytes);
    if (std::memcmp(got.data(), wanted.data(), bytes) != 0) return lose(flow, "wrong bytes");
    bytes_in_ += bytes;
  }

  /// Closes a direction that is over, and the flow with the second.
  void finish(Flow& flow) {
    if (!flow.out_over && flow.all_sent()) {
      ::shutdown(flow.fd.get(), SHUT_WR);
      flow.out_over = true;
    }
    if (!flow.over()) return;
    ++finished_;
    remove(flow);
  }

  bool connect_done(Flow& flow) {
    int error = 0;
    socklen_t size = sizeof error;
    tcp_info info{};
    socklen_t info_size = sizeof info;
    ::getsockopt(flow.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      const auto found = flows_.extract(flow.fd.get());
      errno = error;
      refused(std::move(found.mapped()));
      return false;
    }
    ::getsockopt(flow.fd.get(), IPPROTO_TCP, TCP_INFO, &info, &info_size);
    flow.connected = info.tcpi_state != TCP_SYN_SENT;
    if (flow.connected) flow.heard = Clock::now();
    return flow.connected;
  }

  void send_some(Flow& flow, double passed) {
    if (flow.dialed && flow.greeted < sizeof flow.greeting) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(&flow.greeting);
      const ssize_t size = ::send(flow.fd.get(), bytes + flow.greeted,
                                  sizeof flow.greeting - flow.greeted, MSG_NOSIGNAL);
      if (size < 0 && errno != EAGAIN) return lose(flow, std::strerror(errno));
      if (size > 0) flow.greeted += static_cast<std::size_t>(size);
    }
    if (flow.greeted < sizeof flow.greeting || flow.out_over) return;
    flow.allowance = std::min(flow.allowance + static_cast<double>(flow.greeting.rate) * passed,
                              static_cast<double>(chunk_bytes));
    auto size = static_cast<std::size_t>(flow.allowance);
    if (flow.greeting.bytes != 0)
      size = static_cast<std::size_t>(
          std::min<std::uint64_t>(size, flow.greeting.bytes - flow.out.at()));
    if (flow.greeting.bytes == 0 && flow.ending) size = 0;
    if (size > 0) {
      std::array<std::uint8_t, chunk_bytes> bytes;
      flow.out.next(bytes.data(), size);
      const ssize_t sent = ::send(flow.fd.get(), bytes.data(), size, MSG_NOSIGNAL);
      const int error = errno;
      flow.out.back(size - static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
      if (sent < 0 && error != EAGAIN) return lose(flow, std::strerror(error));
      if (sent > 0) {
        flow.allowance -= static_cast<double>(sent);
        bytes_out_ += static_cast<std::uint64_t>(sent);
      }
    }
    finish(flow);
  }

  // ---- time ----

  void turn(double passed) {
    if (!ending_) {
      shorts_due_ += options_.shorts_a_second * passed;
      for (; shorts_due_ >= 1 && flows_.size() < max_flows; shorts_due_ -= 1)
        dial((32 << 10) + random_() % (224 << 10), 512e3);
      udp_.send(passed);
    }
    connect_waiting();
    std::vector<Flow*> all;
    for (const auto& [fd, flow] : flows_) all.push_back(flow.get());
    longest_silence_ = 0;
    stuck_ = json::array();
    for (Flow* flow : all) {
      const double silence = flow->in_over ? 0 : seconds_since(flow->heard);
      longest_silence_ = std::max(longest_silence_, silence);
      note_stuck(*flow, silence);
      if (silence > options_.stall_seconds)
        lose(*flow, flow->connected ? "silent" : "cannot be opened");
      else if (flow->connected || connect_done(*flow))
        send_some(*flow, passed);
    }
    if (seconds_since(reported_) > report_interval.count()) report(false);
  }

  /// One that is silent, or whose bytes TCP sends again and again.
  void note_stuck(const Flow& flow, double silence) {
    tcp_info info{};
    socklen_t size = sizeof info;
    ::getsockopt(flow.fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    if ((info.tcpi_backoff < stuck_backoff && silence < stuck_seconds) || stuck_.size() >= 5)
      return;
    sockaddr_in own{}, peer{};
    socklen_t own_size = sizeof own, peer_size = sizeof peer;
    ::getsockname(flow.fd.get(), reinterpret_cast<sockaddr*>(&own), &own_size);
    ::getpeername(flow.fd.get(), reinterpret_cast<sockaddr*>(&peer), &peer_size);
    stuck_.push_back({{"flow", flow.name},
                      {"from_port", ntohs(own.sin_port)},
                      {"to_port", ntohs(peer.sin_port)},
                      {"backoff", info.tcpi_backoff},
                      {"rto_ms", info.tcpi_rto / 1000},
                      {"connected", flow.connected}});
  }

  void report(bool last) {
    reported_ = Clock::now();
    if (last)
      for (const auto& [fd, flow] : flows_) lost(*flow, "did not end");
    json line{{"end", last},
              {"opened", opened_},
              {"taken", taken_},
              {"finished", finished_},
              {"open", flows_.size() + waiting_.size()},
              {"refused", refused_},
              {"bytes_in", bytes_in_},
              {"bytes_out", bytes_out_},
              {"silence_s", longest_silence_},
              {"stuck", stuck_},
              {"lost", std::exchange(lost_, json::array())}};
    udp_.report(line);
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }

  Options options_;
  std::mt19937_64 random_;
  Fd poller_, listening_;
  tunorch::soak::Udp udp_;
  std::map<int, std::unique_ptr<Flow>> flows_;  // by descriptor
  std::vector<std::unique_ptr<Flow>> waiting_;  // to be dialed, perhaps again
  Time began_ = Clock::now(), reported_ = Clock::now(), last_flow_ = Clock::now();
  bool ending_ = false;
  double shorts_due_ = 0, longest_silence_ = 0;
  json lost_ = json::array(), stuck_ = json::array();
  std::uint64_t opened_ = 0, taken_ = 0, finished_ = 0, refused_ = 0, bytes_in_ = 0, bytes_out_ = 0;
};

int strangers(const sockaddr_in& address, int count, double seconds) {
  std::vector<Fd> held;
  for (int i = 0; i < count; ++i) {
    held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    (void)::connect(held.back().get(), generic(address), sizeof address);
    ::usleep(1000);
  }
  ::usleep(static_cast<useconds_t>(seconds * 1e6));
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const std::string verb = count > 1 ? words[1] : "";
  const auto number = [&](int i) { return std::atof(words[i]); };
  if (verb == "strangers" && count == 6)
    return strangers(address_of(words[2], std::atoi(words[3])), std::min(std::atoi(words[4]), 900),
                     number(5));
  if (verb != "run" || count != 13) {
    std::fputs("usage: see the top of load.cpp\n", stderr);
    return 2;
  }
  const int port = std::atoi(words[5]);
  Load({words[2], address_of(words[3], port), address_of(words[4], port),
        static_cast<std::uint32_t>(std::min(number(6), 500.0)), number(7), number(8) * 1000 / 8,
        number(9), number(10), number(11), std::strtoull(words[12], nullptr, 10)})
      .run();
  return 0;
}
