#include "worker/peer.hpp"

#include <algorithm>
#include <utility>

namespace tunorch::worker {

bool Peer::has_session() const {
  return std::ranges::any_of(streams, &PeerStream::live);
}

const PeerStream& Peer::first_live() const {
  return *std::ranges::find(streams, true, &PeerStream::live);
}

Counters Peer::counters() const {
  Counters sum = ended;
  for (const PeerStream& stream : streams)
    if (stream.live) sum += stream.counters;
  return sum;
}

std::uint32_t Peer::rtt_us() const {
  std::uint32_t shortest = 0;
  for (const PeerStream& stream : streams)
    if (stream.live && stream.rtt_us > 0)
      shortest = shortest == 0 ? stream.rtt_us : std::min(shortest, stream.rtt_us);
  return shortest;
}

SessionReport Peer::take_report() {
  SessionReport report;
  report.peer = spec.node;
  report.address = first_live().address;
  report.rtt_us = rtt_us();
  report.probes = std::exchange(decisions, {});
  const Counters sum = counters();
  report.tx_bytes = sum.tx_bytes;
  report.rx_bytes = sum.rx_bytes;
  report.tx_packets = sum.tx_packets;
  report.rx_packets = sum.rx_packets;
  report.retransmits = sum.retransmits;
  report.streams = view.streams;
  report.live_streams = 0;
  for (const PeerStream& stream : streams) {
    if (!stream.live) continue;
    ++report.live_streams;
    report.cwnd_segments += stream.cwnd_segments;
    report.queued_bytes += stream.queued_bytes;
  }
  return report;
}

std::vector<bool> merge_decisions(const std::vector<bool>& some, const std::vector<bool>& others) {
  const auto& longer = some.size() >= others.size() ? some : others;
  const auto& shorter = some.size() >= others.size() ? others : some;
  std::vector<bool> merged = longer;
  const std::size_t offset = longer.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i)
    merged[offset + i] = merged[offset + i] || shorter[i];
  return merged;
}

}  // namespace tunorch::worker
