// The links that tunnels' connections go over.
#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "orchestrator/doctor/judges.hpp"

namespace tunorch {
namespace {

constexpr unsigned internet_mtu = 1500;
constexpr int strict = 1;

/// An outer link, and what it is used for.
struct Wan {
  std::string use;
  bool gateway = false;   // by a router: what lies behind it has its own MTU
  bool receives = false;  // connections come in by it, whichever way replies leave
  bool sends = false;
  unsigned route_mtu = 0;
};

std::string device_of(const NetworkFacts& network, const std::string& address) {
  const auto wanted = Prefix::parse(address);
  for (const routing::Address& there : network.addresses)
    if (wanted && there.prefix.address_text() == wanted->address_text()) return there.dev;
  return "";
}

/// A tunnel's `bind` is an address or a device.
std::string bound_device(const NetworkFacts& network, const std::string& bind) {
  return network.links.contains(bind) ? bind : device_of(network, bind);
}

std::map<std::string, Wan> wan_links(const Examined& examined) {
  const NetworkFacts& network = examined.host.network;
  std::map<std::string, Wan> links;
  const auto use = [&](const std::string& dev, const std::string& what) -> Wan& {
    Wan& link = links[dev];
    if (link.use.empty()) link.use = what;
    return link;
  };
  bool peers_anywhere = !examined.desired;
  for (const WayFacts& way : network.ways) {
    if (way.dev.empty()) continue;
    Wan& link = use(way.dev, fmt::format("leads to {} ({})", way.peer, way.address));
    link.sends = true;
    link.gateway |= way.gateway;
    link.route_mtu = way.mtu;
  }
  if (examined.desired)
    for (const DesiredTunnel& tunnel : examined.desired->tunnels) {
      if (tunnel.spec.listener) {
        if (tunnel.dialer.empty()) peers_anywhere = true;
        if (const std::string dev = device_of(network, tunnel.endpoint); !dev.empty())
          use(dev, "has our endpoint " + tunnel.endpoint).receives = true;
      } else if (!tunnel.spec.bind.empty()) {
        if (const std::string dev = bound_device(network, tunnel.spec.bind); !dev.empty())
          use(dev, "is what tunnels are bound to").receives = true;
      }
    }
  if (peers_anywhere)
    for (const std::string& dev : network.default_devices) {
      Wan& link = use(dev, "has the default route");
      link.sends = link.gateway = true;
    }
  links.erase("lo");
  return links;
}

void mend_mtu(const Examined& examined, const std::string& dev, Finding& finding) {
  finding.mend = fmt::format("ip link set dev {} mtu {}", dev, internet_mtu);
  const auto& running = examined.host.services.running;
  if (running.contains("NetworkManager"))
    finding.lasting = fmt::format(
        "nmcli connection modify \"$(nmcli -g GENERAL.CONNECTION device show {})\" "
        "802-3-ethernet.mtu {}",
        dev, internet_mtu);
  else if (running.contains("systemd-network"))
    finding.lasting = fmt::format(
        "MTUBytes={} in the [Link] part and UseMTU=no in the [DHCPv4] part of its .network file",
        internet_mtu);
  else
    finding.lasting =
        fmt::format("`mtu {}` below `iface {}` in /etc/network/interfaces", internet_mtu, dev);
}

void judge_mtu(const Examined& examined, const std::string& dev, const Wan& wan,
               Findings& findings) {
  const auto found = examined.host.network.links.find(dev);
  if (found == examined.host.network.links.end()) return;
  const unsigned mtu = found->second.link.mtu;
  const unsigned effective = wan.route_mtu == 0 ? mtu : std::min(mtu, wan.route_mtu);
  if (effective <= internet_mtu && effective >= 1280)
    return add_ok(findings, "links.mtu", fmt::format("{} has MTU {}", dev, effective));
  if (effective < 1280) {
    Finding finding{"links.mtu", Severity::warning,
                    fmt::format("{} {} and has MTU {}", dev, wan.use, effective)};
    finding.meaning = "IPv6 needs 1280 (RFC 8200), and many small packets cost speed";
    mend_mtu(examined, dev, finding);
    findings.push_back(finding);
    return;
  }
  Finding finding{"links.mtu", wan.gateway ? Severity::warning : Severity::note,
                  fmt::format("{} {} and has MTU {}", dev, wan.use, effective)};
  finding.meaning =
      wan.gateway ? "packets so large are lost on the way, often without a word: tunnels connect, "
                    "and stall when data flows; the internet carries 1500"
                  : "it works where every host and switch on this wire has the same MTU";
  mend_mtu(examined, dev, finding);
  findings.push_back(finding);
}

/// Strict: what comes in by another link than replies leave by is dropped (RFC 3704; ip-sysctl).
void judge_rp_filter(const Examined& examined, const std::map<std::string, Wan>& links,
                     Findings& findings) {
  std::vector<std::string> back;
  for (const auto& [dev, wan] : links)
    if (wan.sends) back.push_back(dev);
  for (const auto& [dev, wan] : links) {
    const auto found = examined.host.network.links.find(dev);
    if (found == examined.host.network.links.end()) continue;
    const bool other_way = wan.receives && !wan.sends && !back.empty();
    if (found->second.rp_filter != strict || !other_way) {
      add_ok(findings, "settings.rp-filter",
             fmt::format("rp_filter of {} is {}{}", dev, found->second.rp_filter,
                         found->second.rp_filter == strict ? ", and replies leave by it" : ""));
      continue;
    }
    Finding finding{"settings.rp-filter", Severity::warning,
                    fmt::format("rp_filter of {} is strict, and it {}; replies leave by {}", dev,
                                wan.use, listed(back))};
    finding.meaning = "the kernel drops what comes in by another link than it would answer by";
    std::string key = dev;
    std::ranges::replace(key, '.', '/');
    mend_setting(finding, "net.ipv4.conf." + key + ".rp_filter", "2");
    findings.push_back(finding);
  }
}

void judge_ways(const Examined& examined, Findings& findings) {
  for (const WayFacts& way : examined.host.network.ways) {
    if (way.error == 0) {
      add_ok(findings, "links.way",
             fmt::format("{} ({}) is reached by {}", way.peer, way.address, way.dev));
      continue;
    }
    Finding finding{"links.way", Severity::error,
                    fmt::format("there is no route to {} ({}): {}", way.peer, way.address,
                                std::generic_category().message(way.error))};
    finding.meaning = "no tunnel can connect: the host lacks a default route, or its link is down";
    finding.mend = "ip -br link; ip route get " + way.address;
    findings.push_back(finding);
  }
}

void judge_endpoints(const Examined& examined, Findings& findings) {
  std::set<std::string> seen;
  for (const DesiredTunnel& tunnel : examined.desired->tunnels) {
    if (!tunnel.spec.listener || !seen.insert(tunnel.endpoint).second) continue;
    const std::string dev = device_of(examined.host.network, tunnel.endpoint);
    if (!dev.empty()) {
      add_ok(findings, "links.endpoint", fmt::format("{} is on {}", tunnel.endpoint, dev));
      continue;
    }
    Finding finding{"links.endpoint", Severity::note,
                    fmt::format("endpoint {} is no address of this host", tunnel.endpoint)};
    finding.meaning =
        "right behind NAT, where a router or the provider sends the ports on; else "
        "dialers reach another host";
    findings.push_back(finding);
  }
}

}  // namespace

void judge_links(const Examined& examined, Findings& findings) {
  const auto links = wan_links(examined);
  judge_rp_filter(examined, links, findings);
  for (const auto& [dev, wan] : links) judge_mtu(examined, dev, wan, findings);
  judge_ways(examined, findings);
  if (examined.desired) judge_endpoints(examined, findings);
  if (!examined.desired && links.empty()) {
    Finding finding{"links.way", Severity::warning, "there is no default route"};
    finding.meaning = "peers can only be hosts on the same links";
    finding.mend = "ip -br link; ip route";
    findings.push_back(finding);
  }
}

}  // namespace tunorch
