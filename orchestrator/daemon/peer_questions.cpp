#include "orchestrator/daemon/peer_questions.hpp"

#include <spdlog/spdlog.h>

#include "orchestrator/daemon/explain.hpp"

namespace tunorch {
namespace {

constexpr std::chrono::seconds answer_limit{1};

}  // namespace

bool PeerQuestions::tell(const std::string& peer, const PeerNote& note) {
  worker::StateWord word;
  word.note = to_text(note);
  for (const auto& [tunnel, one] : tunnels_.all())
    if (one->sessions().contains(peer)) {
      one->tell({peer}, word);
      return true;
    }
  return false;
}

void PeerQuestions::ask(const routing::FlowKey& flow, Send send) {
  const Way ours = explain_(flow);
  const auto number = ++last_;
  PeerNote question;
  question.question = number;
  question.flow = flow_of(reversed(flow));
  if (!tell(ours.peer, question)) return send({ours, {}});
  auto timer = std::make_unique<boost::asio::steady_timer>(io_, answer_limit);
  timer->async_wait([this, number](const boost::system::error_code& cancelled) {
    if (!cancelled) answer(number, std::nullopt);
  });
  questions_[number] = {std::move(send), ours, std::move(timer)};
}

void PeerQuestions::answer(std::uint64_t number, const std::optional<Way>& theirs) {
  const auto question = questions_.find(number);
  if (question == questions_.end()) return;
  question->second.send({question->second.ours, {theirs}});
  questions_.erase(question);
}

void PeerQuestions::take(const std::string& peer, const std::string& text) {
  try {
    const PeerNote note = parse_peer_note(text);
    if (note.answer) return answer(*note.answer, note.way);
    if (!note.question || !note.flow) throw BadMessage("it is neither a question nor an answer");
    PeerNote reply;
    reply.answer = note.question;
    reply.way = explain_(flow_of(*note.flow));
    tell(peer, reply);
  } catch (const std::exception& error) {
    spdlog::debug("cannot parse note peer={} reason=\"{}\"", peer, error.what());
  }
}

}  // namespace tunorch
