// Where a flow goes: which route, group, tunnel and device the kernel picks for it here. Asks the
// kernel and puts the answer into words; changes nothing.
#pragma once

#include "orchestrator/kernel/kernel.hpp"
#include "protocol/explanation.hpp"

namespace tunorch {

/// The flow as the kernel is asked for it. Throws std::runtime_error, in words, for addresses that
/// are none, or of two families, and for an unknown protocol.
routing::FlowKey flow_of(const Flow& flow);
/// The same flow as the one who answers sees it.
routing::FlowKey reversed(const routing::FlowKey& flow);
Flow flow_of(const routing::FlowKey& flow);

/// Which route and device this node's kernel takes for the flow, and which group and tunnel those
/// are.
Way explain(const routing::FlowKey& flow, const Desired& desired, const Observed& observed,
            Kernel& kernel);

/// For a terminal: our way, and the peer's way back.
std::string explanation_text(const Explanation& explanation);

}  // namespace tunorch
