#include "orchestrator/config/protocols.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace tunorch {
namespace {

struct KnownProtocol {
  int number;
  std::string_view owner;
};

// linux/rtnetlink.h, RTPROT_*: with one of these, another daemon would take our routes for its own
// and flush them at its start.
constexpr std::array known_protocols = {
    KnownProtocol{8, "GateD"},       KnownProtocol{9, "router advertisements"},
    KnownProtocol{10, "MRT"},        KnownProtocol{11, "Zebra (FRR)"},
    KnownProtocol{12, "BIRD"},       KnownProtocol{13, "DECnet"},
    KnownProtocol{14, "XORP"},       KnownProtocol{15, "Netsukuku"},
    KnownProtocol{16, "DHCP"},       KnownProtocol{17, "mrouted"},
    KnownProtocol{18, "keepalived"}, KnownProtocol{42, "Babel"},
    KnownProtocol{84, "OVN"},        KnownProtocol{99, "Open/R"},
    KnownProtocol{186, "BGP"},       KnownProtocol{187, "IS-IS"},
    KnownProtocol{188, "OSPF"},      KnownProtocol{189, "RIP"},
    KnownProtocol{192, "EIGRP"},
};

}  // namespace

std::uint8_t read_protocol(const Section& file, Report& report) {
  const auto number = static_cast<std::uint8_t>(file.integer("protocol").value());
  for (const KnownProtocol& known : known_protocols)
    if (known.number == number)
      report.add("protocol", fmt::format("protocol {} marks the routes of {}; allowed: a number "
                                         "that no other daemon uses, such as 116",
                                         number, known.owner));
  return number;
}

}  // namespace tunorch
