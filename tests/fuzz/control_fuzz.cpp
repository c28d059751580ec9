// The two local protocols, as whoever reaches the socket may speak them: a client's request to the
// daemon (C), a daemon's request to a worker (W), and what a peer's daemon answers to `explain`
// (E). The first byte says which.
#include <stdexcept>
#include <string>

#include "orchestrator/daemon/control_server.hpp"
#include "orchestrator/daemon/explain.hpp"
#include "protocol/worker.hpp"
#include "tests/fuzz/fuzz.hpp"

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
    const routing::FlowKey flow = flow_of(*question);
    require(flow.source.v6 == flow.destination.v6);
    require(flow.source.is_host() && flow.destination.is_host());
    require(to_line(ExplainRequest{flow_of(reversed(reversed(flow)))}) ==
            to_line(ExplainRequest{flow_of(flow)}));
  } catch (const std::runtime_error& error) {  // becomes the client's {"error": …}
    to_line(Failure{error.what()});
  }
}

void read_workers_request(std::string_view text) {
  try {
    const std::string said = to_packet(worker::parse_request(text));
    require(to_packet(worker::parse_request(said)) == said);
  } catch (const BadMessage&) {  // ends the connection
  }
}

void show_answer(std::string_view text) {
  try {
    const PeerNote note = parse_peer_note(std::string(text));
    require(to_text(parse_peer_note(to_text(note))) == to_text(note));
    Explanation both;
    both.ours.tunnel = "backbone-0";
    both.peers = note.way;
    for (const char c : explanation_text(both)) require(c == '\n' || (c >= ' ' && c <= '~'));
  } catch (const BadMessage&) {  // logged
  }
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
