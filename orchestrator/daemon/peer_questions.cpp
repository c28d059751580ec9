#include "orchestrator/daemon/peer_questions.hpp"

#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "orchestrator/daemon/explain.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds answer_limit{1};

}  // namespace

bool PeerQuestions::tell(const std::string& peer, const json& note) {
  worker::StateWord word;
  word.note = note.dump();
  for (const auto& [tunnel, one] : tunnels_.all())
    if (one->sessions().contains(peer)) {
      one->tell({peer}, word);
      return true;
    }
  return false;
}

void PeerQuestions::ask(const routing::FlowKey& flow, Send send) {
  const json ours = explain_(flow);
  const auto number = ++last_;
  if (!tell(ours.value("peer", ""), {{"question", number}, {"flow", to_json(reversed(flow))}}))
    return send({{"ours", ours}, {"peers", nullptr}});
  auto timer = std::make_unique<boost::asio::steady_timer>(io_, answer_limit);
  timer->async_wait([this, number](const boost::system::error_code& cancelled) {
    if (!cancelled) answer(number, nullptr);
  });
  questions_[number] = {std::move(send), ours, std::move(timer)};
}

void PeerQuestions::answer(std::uint64_t number, const json& theirs) {
  const auto question = questions_.find(number);
  if (question == questions_.end()) return;
  question->second.send({{"ours", question->second.ours}, {"peers", theirs}});
  questions_.erase(question);
}

void PeerQuestions::take(const std::string& peer, const std::string& text) {
  const json note = json::parse(text, nullptr, false);
  if (!note.is_object()) return;
  try {
    if (note.contains("answer")) return answer(note["answer"].get<std::uint64_t>(), note.at("way"));
    const json way = explain_(flow_of(flow_from(note.at("flow"))));
    tell(peer, {{"answer", note.at("question")}, {"way", way}});
  } catch (const std::exception& error) {
    spdlog::debug("cannot parse note peer={} reason=\"{}\"", peer, error.what());
  }
}

}  // namespace tunorch
