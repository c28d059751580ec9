#include "routing/route.hpp"

namespace tunorch::routing {

namespace {

constexpr std::uint32_t main_table = 254;  // RT_TABLE_MAIN

std::string way_text(const Nexthop& nexthop) {
  const std::string dev = "dev " + nexthop.dev;
  return nexthop.gateway ? "via " + nexthop.gateway->address_text() + ' ' + dev : dev;
}

}  // namespace

std::string Route::text() const {
  std::string text = type == RouteType::unreachable ? "unreachable " : "";
  text += dst.text();
  if (nexthops.size() == 1) text += ' ' + way_text(nexthops.front());
  if (table != main_table) text += " table " + std::to_string(table);
  if (src) text += " src " + src->address_text();
  if (metric != 0) text += " metric " + std::to_string(metric);
  if (mtu != 0) text += " mtu " + std::to_string(mtu);
  if (nexthops.size() > 1)
    for (const Nexthop& nexthop : nexthops)
      text += " nexthop " + way_text(nexthop) + " weight " + std::to_string(nexthop.weight);
  return text;
}

}  // namespace tunorch::routing
