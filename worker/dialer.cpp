#include "worker/dialer.hpp"

#include <algorithm>
#include <exception>

namespace tunorch::worker {

Dialer::Dialer(const Spec& spec, ConnectionMaker& maker)
    : maker_(maker), spec_(spec), streams_(static_cast<std::size_t>(spec.streams)) {}

void Dialer::configure(const Spec& spec) {
  spec_.backoff_ms = spec.backoff_ms;
  spec_.max_backoff_ms = spec.max_backoff_ms;
}

void Dialer::dial(Clock::time_point now) {
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    Stream& stream = streams_[i];
    if (stream.busy || now < stream.due) continue;
    stream.busy = true;
    const int number = static_cast<int>(i);
    const std::string address = maker_.way_text();
    try {
      Fd socket = maker_.open_way(number);
      if (!maker_.make_connection(std::move(socket), address, number, ConnectionState::connecting))
        on_closed(number, now);
    } catch (const std::exception& error) {
      maker_.refused(spec_.peers.at(0).node, address, error.what());
      on_closed(number, now);
    }
  }
}

Dialer::Clock::time_point Dialer::next_due() const {
  auto next = Clock::time_point::max();
  for (const Stream& stream : streams_)
    if (!stream.busy) next = std::min(next, stream.due);
  return next;
}

void Dialer::on_live(int stream) {
  streams_[static_cast<std::size_t>(stream)].lived = true;
}

void Dialer::on_closed(int number, Clock::time_point now) {
  Stream& stream = streams_[static_cast<std::size_t>(number)];
  stream.failures = stream.lived ? 1 : stream.failures + 1;
  stream.busy = stream.lived = false;
  stream.due = now + pause_after(stream.failures);
}

/// Doubles with each failure; between three and five quarters of it, so that a fleet that lost its
/// listener does not come back all at once.
std::chrono::milliseconds Dialer::pause_after(int failures) {
  const std::uint64_t doubled = std::uint64_t{spec_.backoff_ms} << std::min(failures - 1, 20);
  const auto pause = std::min<std::uint64_t>(doubled, spec_.max_backoff_ms);
  std::uniform_int_distribution<std::uint64_t> spread(pause * 3 / 4, pause * 5 / 4);
  return std::chrono::milliseconds(spread(random_));
}

}  // namespace tunorch::worker
