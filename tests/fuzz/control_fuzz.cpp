// The two local protocols, as whoever reaches the socket may speak them: a client's request to the
// daemon (C), a daemon's request to a worker (W), and what a peer's daemon answers to `explain`
// (E). The first byte says which.
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "orchestrator/daemon/control_server.hpp"
#include "orchestrator/daemon/explain.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "worker/control.hpp"

namespace {

using namespace tunorch;

void read_request(std::string_view line) {
  try {
    const DaemonRequest request = parse_daemon_request(line);
    const std::string again = to_line(request);
    require(to_line(parse_daemon_request(again)) == again);
    const auto* question = std::get_if<ExplainRequest>(&request);
    if (!question) return;
    require(only_reads(request));
    const routing::FlowKey flow = flow_of(question->flow);
    require(flow.source.v6 == flow.destination.v6);
    require(flow.source.is_host() && flow.destination.is_host());
    require(to_json(reversed(reversed(flow))) == to_json(flow));
  } catch (const std::runtime_error& error) {  // becomes the client's {"error": …}
    to_json(Failure{error.what()}).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
}

void read_workers_request(std::string_view text) {
  const auto request = worker::parse_request(text);
  if (!request) return;
  const std::string said = nlohmann::json(*request).dump();
  const auto again = worker::parse_request(said);
  require(again && nlohmann::json(*again).dump() == said);
}

void show_answer(std::string_view text) {
  const nlohmann::json peers = nlohmann::json::parse(text, nullptr, false);
  if (peers.is_discarded()) return;
  const nlohmann::json ours{{"flow", nlohmann::json::object()}, {"tunnel", "backbone-0"}};
  const std::string shown = explanation(ours, peers);
  for (const char c : shown) require(c == '\n' || (c >= ' ' && c <= '~'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text = text_of(data + 1, size - 1);
  if (data[0] == 'C') read_request(text);
  if (data[0] == 'W') read_workers_request(text);
  if (data[0] == 'E') show_answer(text);
  return 0;
}
