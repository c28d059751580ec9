#include "orchestrator/config/nodes.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "orchestrator/config/keys.hpp"
#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

using Item = Section::Item;

struct SpecialRange {
  std::string_view prefix;
  std::string_view what;
  bool may_be_dialed;
};

// IANA's special-purpose registries (RFC 6890), as far as they cannot carry a tunnel's traffic.
constexpr std::array special_ranges = {
    SpecialRange{"0.0.0.0/8", "this host (RFC 1122)", false},
    SpecialRange{"127.0.0.0/8", "loopback", true},
    SpecialRange{"169.254.0.0/16", "link-local", false},
    SpecialRange{"224.0.0.0/4", "multicast", false},
    SpecialRange{"255.255.255.255/32", "broadcast", false},
    SpecialRange{"::/128", "no address", false},
    SpecialRange{"::1/128", "loopback", true},
    SpecialRange{"::ffff:0:0/96", "an IPv4 address written as IPv6", false},
    SpecialRange{"fe80::/10", "link-local", false},
    SpecialRange{"ff00::/8", "multicast", false},
};

}  // namespace

std::string special_use(const Prefix& prefix, bool dialed) {
  for (const SpecialRange& range : special_ranges)
    if (!(dialed && range.may_be_dialed) && Prefix::parse(range.prefix)->contains(prefix))
      return std::string(range.what);
  return "";
}

namespace {

/// A literal without a length, or what is wrong with it.
std::string address_fault(const std::string& text, const std::optional<Prefix>& parsed) {
  if (!parsed || text.find('/') != text.npos)
    return fmt::format(
        "{} is not an IP address (a name would need DNS, perhaps through the tunnel: give an IP "
        "address)",
        shown(text));
  if (const std::string use = special_use(*parsed, true); !use.empty())
    return fmt::format("{} is {}; allowed: an IP address that can be dialed", text, use);
  return "";
}

std::string inner_fault(const std::string& text, const std::optional<Prefix>& parsed) {
  if (!parsed)
    return fmt::format("{} is not an IP address; allowed: as in 10.77.0.1/32 or fd77::1/128",
                       shown(text));
  if (!parsed->is_host())
    return fmt::format("{} is more than one address; allowed: {}/{} (networks go under subnets)",
                       text, parsed->address_text(), parsed->v6 ? 128 : 32);
  if (const std::string use = special_use(*parsed, false); !use.empty())
    return fmt::format("{} is {}; allowed: an address of one's own", text, use);
  return "";
}

std::string subnet_fault(const std::string& text, const std::optional<Prefix>& parsed) {
  if (!parsed)
    return fmt::format("{} is not a network; allowed: as in 192.168.50.0/24 or fd50::/64",
                       shown(text));
  if (parsed->has_host_bits())
    return fmt::format("{} has host bits set; allowed: {}", text, parsed->network().text());
  if (parsed->length == 0) return "";
  if (const std::string use = special_use(*parsed, false); !use.empty())
    return fmt::format("{} is {}; allowed: a network that can be routed", text, use);
  return "";
}

/// Which node has which prefix. A prefix of two nodes would have two ways and no rule to choose.
class Claims {
 public:
  Claims(const Prefix& link_net, Report& report) : link_net_(link_net), report_(report) {}

  void add(const Prefix& prefix, const std::string& node, const std::string& pointer) {
    // A default route contains everything, link_net too, and loses to it.
    if (prefix.length > 0 && (link_net_.contains(prefix) || prefix.contains(link_net_)))
      report_.add(pointer,
                  fmt::format("{} overlaps link_net {}; change link_net to another network",
                              prefix.text(), link_net_.text()));
    const auto [found, fresh] = owners_.try_emplace(prefix, node);
    if (fresh) return;
    report_.add(pointer,
                found->second == node
                    ? fmt::format("{} is listed twice by node '{}'", prefix.text(), node)
                    : fmt::format("{} belongs to two nodes, '{}' and '{}'; allowed: one, though "
                                  "prefixes may nest",
                                  prefix.text(), found->second, node));
  }

 private:
  Prefix link_net_;
  Report& report_;
  std::map<Prefix, std::string> owners_;
};

using Fault = std::string (*)(const std::string&, const std::optional<Prefix>&);

/// The items that are sound, with their places.
std::vector<std::pair<Prefix, std::string>> read_prefixes(const std::vector<Item>& items,
                                                          Fault fault, Report& report) {
  std::vector<std::pair<Prefix, std::string>> sound;
  for (const Item& item : items) {
    const std::optional<Prefix> parsed = Prefix::parse(item.text);
    const std::string wrong = fault(item.text, parsed);
    if (wrong.empty())
      sound.emplace_back(*parsed, item.pointer);
    else
      report.add(item.pointer, wrong);
  }
  return sound;
}

/// Of the node, or else of the file.
std::optional<SocketAddress> read_metrics(const Section& section, Report& report) {
  const std::string text = section.text("metrics");
  if (text.empty() || text == "off") return std::nullopt;
  const std::size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const auto port = parse_whole(text.substr(colon + 1)).value.value_or(0);
  const std::optional<Prefix> parsed = Prefix::parse(host);
  if (parsed && port >= 1 && port <= 65535)
    return SocketAddress{parsed->address_text(), static_cast<std::uint16_t>(port)};
  report.add(section.pointer_to("metrics"),
             fmt::format("metrics {} is not valid; allowed: {}", shown(text),
                         find_key("", "metrics")->words));
  return std::nullopt;
}

Node read_node(const std::string& name, const Section& section, Claims& claims, Report& report) {
  Node node;
  node.name = name;
  for (const auto& [address, place] :
       read_prefixes(section.list("endpoint"), address_fault, report))
    node.endpoints.push_back(address.address_text());
  for (const auto& [prefix, place] : read_prefixes(section.list("inner"), inner_fault, report)) {
    node.inner.push_back(prefix);
    claims.add(prefix, name, place);
  }
  for (const auto& [prefix, place] : read_prefixes(section.list("subnets"), subnet_fault, report)) {
    node.subnets.push_back(prefix);
    claims.add(prefix, name, place);
  }
  node.masquerade = section.text("masquerade");
  if (!node.masquerade.empty() && !section.has("subnets"))
    report.add(section.pointer_to("masquerade"),
               fmt::format("masquerade {} without subnets: nothing leaves the bundle through this "
                           "node; add subnets or remove it",
                           node.masquerade));
  node.metrics = read_metrics(section, report);
  node.link_host = static_cast<std::uint32_t>(section.integer("link_host").value_or(0));
  return node;
}

}  // namespace

std::string SocketAddress::text() const {
  const bool v6 = address.find(':') != address.npos;
  return fmt::format("{}:{}", v6 ? "[" + address + "]" : address, port);
}

void read_nodes(const Section& file, Cluster& cluster, Report& report) {
  Claims claims(cluster.link_net, report);
  const auto metrics = read_metrics(file, report);
  for (const auto& [name, section] : file.named("nodes")) {
    Node& node = cluster.nodes.emplace_back(read_node(name, section, claims, report));
    if (!section.has("metrics")) node.metrics = metrics;
  }
}

}  // namespace tunorch
