// Where a flow goes: which route, group, tunnel and device the kernel picks for it here. Asks the
// kernel and puts the answer into words; changes nothing.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "orchestrator/kernel/kernel.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

/// The flow as the kernel is asked for it. Throws std::runtime_error, in words, for addresses that
/// are none, or of two families, and for an unknown protocol.
routing::FlowKey flow_of(const Flow& flow);
/// The same flow as the one who answers sees it.
routing::FlowKey reversed(const routing::FlowKey& flow);
nlohmann::json to_json(const routing::FlowKey& flow);

/// {flow, route, mechanism, tunnel, dev, peer, error}: `tunnel` and `peer` are empty where it does
/// not go into a bundle, `error` where it has a route.
nlohmann::json explain(const routing::FlowKey& flow, const Desired& desired,
                       const Observed& observed, Kernel& kernel);

/// For a terminal: our way, and the peer's way back (null: it did not answer).
std::string explanation(const nlohmann::json& ours, const nlohmann::json& peers);

}  // namespace tunorch
