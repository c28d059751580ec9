// Questions that daemons ask each other in-band, through a tunnel: how does your kernel route this
// flow? Carries questions and answers; explain.hpp makes the answers.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "orchestrator/daemon/tunnel_set.hpp"
#include "protocol/explanation.hpp"
#include "routing/decision.hpp"

namespace tunorch {

class PeerQuestions {
 public:
  using Explain = std::function<Way(const routing::FlowKey&)>;
  using Send = std::function<void(const Explanation&)>;

  PeerQuestions(boost::asio::io_context& io, const TunnelSet& tunnels, Explain explain)
      : io_(io), tunnels_(tunnels), explain_(std::move(explain)) {}

  /// Explains the flow here, and asks the peer behind it how it goes back there. `send` gets
  /// both once; the peer's is missing if it does not answer within a second.
  void ask(const routing::FlowKey& flow, Send send);
  /// A peer's question or answer. It may be of another version, or worse: what cannot be parsed is
  /// ignored.
  void take(const std::string& peer, const std::string& note);

 private:
  struct Question {
    Send send;
    Way ours;
    std::unique_ptr<boost::asio::steady_timer> timer;
  };
  /// By any tunnel with a session to it; false if there is none.
  bool tell(const std::string& peer, const PeerNote& note);
  void answer(std::uint64_t number, const std::optional<Way>& theirs);

  boost::asio::io_context& io_;
  const TunnelSet& tunnels_;
  Explain explain_;
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t last_ = 0;
};

}  // namespace tunorch
