// Tries what the kernel can do, in a network namespace of its own.
//
//   +------------- namespace of the child -------------+
//   |  lo   probe-0   probe-1: TUNs with no one at the  |
//   |       end; routes, nexthops and an nft table      |
//   +---------------------------------------------------+
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>

#include "base/fd.hpp"
#include "orchestrator/config/reserved.hpp"
#include "orchestrator/doctor/probe.hpp"
#include "routing/netlink.hpp"
#include "routing/nft.hpp"
#include "routing/steering.hpp"
#include "routing/sysctl.hpp"
#include "routing/tun.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using routing::Netlink;

constexpr std::uint8_t scratch_protocol = 116;
constexpr int patience_ms = 10'000;
const char* const devices[] = {"probe-0", "probe-1"};

Prefix prefix(const char* text) {
  return *Prefix::parse(text);
}

/// The kernel's words; empty: it works.
std::string problem_of(const std::function<void()>& action) {
  try {
    action();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

void make_tuns(Netlink& netlink) {
  netlink.set_up("lo");
  for (const char* device : devices) {
    routing::create_tun(device, 0);
    const Fd first = routing::open_tun_queue(device), second = routing::open_tun_queue(device);
    netlink.set_no_link_local(device);
    netlink.set_up(device);
  }
}

// TEST-NETs and the documentation prefix (RFC 5737, RFC 3849).
void add_multipath4(Netlink& netlink) {
  netlink.add_address({devices[0], prefix("192.0.2.1/32")});
  routing::Route route;
  route.dst = prefix("198.51.100.0/24");
  for (const char* device : devices) route.nexthops.push_back({device, std::nullopt, 1});
  netlink.add_route(route);
}

void add_multipath6(Netlink& netlink) {
  routing::Route route;
  route.dst = prefix("2001:db8::/32");
  route.metric = 1024;
  for (const char* device : devices) route.nexthops.push_back({device, prefix("fe80::1"), 1});
  netlink.add_route(route);
}

json try_kernel() {
  json tried;
  Netlink netlink(scratch_protocol);
  tried["tun"] = problem_of([&] { make_tuns(netlink); });
  // Without devices the rest says nothing that this has not said.
  if (tried["tun"] == "") {
    tried["multipath4"] = problem_of([&] { add_multipath4(netlink); });
    const char* const off = "net.ipv6.conf.all.disable_ipv6";  // a namespace may inherit it
    if (routing::read_sysctl(off)) {
      if (routing::sysctl_writable(off)) routing::write_sysctl({off, "0"});
      tried["multipath6"] = problem_of([&] { add_multipath6(netlink); });
    }
    tried["steering"] = problem_of([&] {
      const Fd queue = routing::open_tun_queue(devices[0]);
      routing::set_steering(queue, routing::load_steering());
    });
  }
  tried["nexthops"] = problem_of([&] {
    netlink.set_up("lo");
    const auto abilities = netlink.probe_nexthops(nexthop_id_base);
    if (!abilities.resilient) throw std::runtime_error(abilities.reason);
  });
  tried["nftables"] = problem_of([] {
    routing::write_nft_table(
        {routing::Masquerade{devices[0], {prefix("192.0.2.0/24"), prefix("2001:db8::/32")}},
         {{devices[0], devices[1]}}});
  });
  return tried;
}

/// In the child: answers and ends, without what a normal end would do to the parent's things.
[[noreturn]] void answer(const Fd& out) {
  json said;
  if (::unshare(CLONE_NEWNET) != 0) {
    said["unprobed"] = std::generic_category().message(errno);
  } else {
    const std::string problem = problem_of([&] { said = try_kernel(); });
    if (!problem.empty()) said["unprobed"] = problem;
  }
  const std::string text = said.dump();
  const bool whole = ::write(out.get(), text.data(), text.size()) ==
                     static_cast<ssize_t>(text.size());  // less than a pipe holds
  ::_exit(whole ? 0 : 1);
}

/// Empty where the child said nothing in time.
std::string read_until_closed(const Fd& in) {
  std::string text;
  std::array<char, 4096> chunk;
  for (;;) {
    pollfd ready{in.get(), POLLIN, 0};
    if (::poll(&ready, 1, patience_ms) <= 0) return "";
    const ssize_t size = ::read(in.get(), chunk.data(), chunk.size());
    if (size <= 0) return size == 0 ? text : "";
    text.append(chunk.data(), static_cast<std::size_t>(size));
  }
}

json ask_child() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {{"unprobed", "no pipe"}};
  const Fd in(ends[0]);
  Fd out(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) answer(out);
  out.reset();
  if (child < 0) return {{"unprobed", "no further process can be started"}};
  const std::string text = read_until_closed(in);
  if (text.empty()) ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  json said = json::parse(text, nullptr, false);
  if (!said.is_object()) said = {{"unprobed", "the probe gave no answer"}};
  return said;
}

std::set<std::string> words_of(const std::string& key) {
  std::istringstream stream(routing::read_sysctl(key).value_or(""));
  std::set<std::string> words;
  for (std::string word; stream >> word;) words.insert(word);
  return words;
}

bool has_module(const std::string& name) {
  utsname system{};
  ::uname(&system);
  std::ifstream list(std::string("/lib/modules/") + system.release + "/modules.dep");
  for (std::string line; std::getline(list, line);)
    if (line.substr(0, line.find(':')).find("/" + name + ".ko") != std::string::npos) return true;
  return false;
}

}  // namespace

void probe_kernel(HostFacts& host) {
  KernelFacts& kernel = host.kernel;
  kernel.tun_node = ::access("/dev/net/tun", F_OK) == 0;
  const json said = ask_child();
  if (said.contains("unprobed"))
    host.unseen.push_back("what the kernel can do (in a network namespace of its own): " +
                          said["unprobed"].get<std::string>());
  for (const auto& [name, trial] :
       {std::pair{"tun", &kernel.tun}, std::pair{"multipath4", &kernel.multipath4},
        std::pair{"multipath6", &kernel.multipath6}, std::pair{"nexthops", &kernel.nexthops},
        std::pair{"nftables", &kernel.nftables}, std::pair{"steering", &kernel.steering}})
    if (said.contains(name)) *trial = {true, said[name]};
  kernel.ipv6 = routing::read_sysctl("net.ipv6.conf.all.disable_ipv6").has_value();
  for (const char* device : {"all", "default", "lo"})
    if (const auto value =
            routing::read_sysctl(std::string("net.ipv6.conf.") + device + ".disable_ipv6"))
      kernel.ipv6_disabled[device] = *value == "1";
  kernel.congestion_available = words_of("net.ipv4.tcp_available_congestion_control");
  kernel.congestion_allowed = words_of("net.ipv4.tcp_allowed_congestion_control");
  kernel.bbr_module = has_module("tcp_bbr");
  kernel.default_qdisc = routing::read_sysctl("net.core.default_qdisc").value_or("");
}

}  // namespace tunorch
