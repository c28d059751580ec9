// How a flow goes and comes back: the answer to ExplainRequest, and what two daemons ask each other
// for it in-band.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "protocol/daemon.hpp"
#include "protocol/or_null.hpp"

namespace tunorch {

/// Where one node's kernel sends a flow.
struct Way {
  Flow flow;
  std::string dev, tunnel;  // `tunnel` and `peer` are empty where it does not go into a bundle
  std::string peer;
  std::optional<std::string> route;      // as ip-route(8) prints it
  std::optional<std::string> mechanism;  // of the peer's group
  std::optional<std::string> error;      // where it has no route
};
BOOST_DESCRIBE_STRUCT(Way, (), (flow, dev, tunnel, peer, route, mechanism, error))

struct Explanation {
  Way ours;
  OrNull<Way> peers;  // null: the peer did not answer
};
BOOST_DESCRIBE_STRUCT(Explanation, (), (ours, peers))

/// From daemon to daemon (StateWord::note): a question with the flow, or its answer with the way.
struct PeerNote {
  std::optional<std::uint64_t> question, answer;  // its number
  std::optional<Flow> flow;
  std::optional<Way> way;
};
BOOST_DESCRIBE_STRUCT(PeerNote, (), (question, answer, flow, way))

std::string to_line(const Explanation& explanation);
std::string to_text(const PeerNote& note);
/// Fields that are missing have their defaults. Both throw BadMessage.
Explanation explanation_from(const nlohmann::json& json);
PeerNote parse_peer_note(const std::string& text);

}  // namespace tunorch
