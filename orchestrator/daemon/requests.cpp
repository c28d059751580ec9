// What clients ask of a running daemon besides apply: status, events, drains, restarts, failback,
// explain.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/problem.hpp"
#include "orchestrator/daemon/explain.hpp"
#include "orchestrator/daemon/status.hpp"
#include "orchestrator/daemon/supervisor.hpp"
#include "orchestrator/plan/carriage.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

/// A tunnel that was restarted is to carry again within this time.
constexpr std::chrono::seconds return_limit{30};
constexpr std::chrono::seconds answer_limit{1};

}  // namespace

void Supervisor::handle(const json& request, const Client& client) {
  const std::string op = request["op"];
  try {
    if (down_) throw std::runtime_error("this daemon is going down: try again in a moment");
    if (op == "apply") return handle_apply(request, client);
    if (op == "plan") return handle_plan(request, client);
    if (op == "confirm") return handle_confirm(client);
    if (op == "revert") return handle_revert(client);
    if (op == "status") return handle_status(request, client);
    if (op == "events") return handle_events(request, client);
    if (op == "logs") return handle_logs(request, client);
    if (op == "drain") return handle_drain(request, client);
    if (op == "undrain") return handle_undrain(request, client);
    if (op == "restart") return handle_restart(request, client);
    if (op == "failback") return handle_failback(request, client);
    if (op == "explain") return handle_explain(request, client);
    if (op != "down") throw std::runtime_error("unknown request '" + op + "'");
    take_down(
        [client](const std::string& step) {
          client->send({{"step", step}});
        },
        [client, node = host_.paths.node](const std::vector<std::string>& problems) {
          client->send({{"done", problems.empty()}, {"problems", problems}, {"node", node}});
        });
  } catch (const ConfigError& error) {
    client->send({{"error", error.what()}, {"kind", "config"}, {"idle", !applied_}});
  } catch (const std::exception& error) {
    client->send({{"error", error.what()}, {"idle", !applied_}});
  }
}

void Supervisor::handle_status(const json& request, const Client& client) {
  std::map<std::string, std::map<std::string, std::uint64_t>> packets;
  std::map<std::uint32_t, std::string> tunnel_of;
  for (const DesiredTunnel& tunnel : desired_.tunnels) tunnel_of[tunnel.nexthop_id] = tunnel.name;
  if (observed_.abilities.counters)
    for (const DesiredGroup& group : desired_.groups)
      for (const routing::NexthopGroup& now : observed_.carriage.groups)
        if (now.id == group.id || now.id == group.id + 1)
          for (const auto& [id, count] : kernel_->netlink().group_packets(now.id))
            packets[group.peer][tunnel_of[id]] = count;
  client->send(make_status({desired_, observed_, host_.paths.node, workers_, drains_,
                            std::move(packets), load_problem_, conflicts_, events_.counts(), tally_,
                            web_.status(), request.value("histograms", false), started_}));
}

void Supervisor::handle_events(const json& request, const Client& client) {
  for (const json& event : events_.recent()) client->send(event);
  if (!request.value("follow", false)) return;
  const auto number = events_.follow([client](const json& event) { return client->send(event); });
  client->watch_for_end([this, number] { events_.unfollow(number); });
}

void Supervisor::handle_logs(const json& request, const Client& client) {
  const std::string tunnel = request.value("tunnel", "");
  if (!tunnel.empty() && !desired_.find_tunnel(tunnel)) {
    std::string names;
    for (const DesiredTunnel& one : desired_.tunnels)
      names += (names.empty() ? "" : ", ") + one.name;
    throw std::runtime_error("there is no tunnel '" + tunnel + "' here: " +
                             (names.empty() ? "nothing is applied" : "there are " + names));
  }
  const auto lines = request.value("lines", std::size_t{0});
  for (const LogLine& line : log_.last(tunnel, lines)) client->send(to_json(line));
  if (!request.value("follow", false)) {
    client->send({{"done", true}});
    return;
  }
  const auto number =
      log_.follow(tunnel, [client](const LogLine& line) { return client->send(to_json(line)); });
  client->watch_for_end([this, number] { log_.unfollow(number); });
}

// ---- drains ----

std::set<std::string> Supervisor::peers_carried_by(const std::string& tunnel) const {
  std::set<std::string> peers;
  for (const auto& [peer, tunnels] : carrying(desired_, observed_.carriage))
    if (tunnels.contains(tunnel)) peers.insert(peer);
  return peers;
}

/// Draining the last tunnel to somebody would cut it off, which is what `down` is for.
void Supervisor::refuse_if_last(const std::string& tunnel) const {
  if (!desired_.find_tunnel(tunnel))
    throw std::runtime_error("there is no tunnel '" + tunnel +
                             "' here: `tunorch status` names them");
  for (const auto& [peer, tunnels] : carrying(desired_, observed_.carriage))
    if (tunnels.contains(tunnel) && std::ranges::all_of(tunnels, [&](const std::string& other) {
          return other == tunnel || drains_.state(other) != Drain::none;
        }))
      throw std::runtime_error(tunnel + " is the last tunnel that carries to " + peer +
                               ": bring another one up first");
}

void Supervisor::handle_drain(const json& request, const Client& client) {
  const std::string tunnel = request.value("tunnel", "");
  refuse_if_last(tunnel);
  const milliseconds deadline(request.value("deadline_ms", 60000));
  drains_.begin(tunnel, Clock::now() + deadline);
  events_.add({"draining", tunnel, "", "deadline in " + std::to_string(deadline.count()) + " ms"});
  waiting_drains_.push_back({tunnel, client});
  tick();
}

void Supervisor::handle_undrain(const json& request, const Client& client) {
  const std::string tunnel = request.value("tunnel", "");
  if (drains_.state(tunnel) == Drain::none)
    throw std::runtime_error("tunnel '" + tunnel + "' is not drained");
  drains_.end(tunnel);
  events_.add({"undrained", tunnel, "", ""});
  tick();
  client->send({{"done", true}});
}

void Supervisor::follow_drains() {
  const auto left = [this](const std::string& tunnel) {
    unsigned buckets = 0;
    const DesiredTunnel* wanted = desired_.find_tunnel(tunnel);
    if (!wanted) return buckets;
    for (const routing::NexthopGroup& group : observed_.carriage.groups) {
      const auto member = [&](const auto& one) { return one.id == wanted->nexthop_id; };
      if (std::ranges::none_of(group.members, member)) continue;
      const auto shares = kernel_->netlink().bucket_shares(group.id);
      for (const routing::BucketShare& share : shares)
        if (share.id == wanted->nexthop_id) buckets += share.buckets;
    }
    return buckets;
  };
  std::vector<std::string> done;
  try {
    done = drains_.finish(Clock::now(), left);
  } catch (const std::system_error& error) {
    spdlog::debug("buckets not read: {}", error.what());
  }
  for (const std::string& tunnel : done) {
    tick();
    events_.add({"drained", tunnel, "", ""});
  }
  std::erase_if(waiting_drains_, [&](const WaitingDrain& waiting) {
    const Drain state = drains_.state(waiting.tunnel);
    if (state == Drain::draining) return false;
    waiting.client->send({{"done", state == Drain::done}});
    return true;
  });
}

// ---- restarts ----

void Supervisor::handle_restart(const json& request, const Client& client) {
  if (restart_) throw std::runtime_error("a restart is under way: wait for its end");
  const std::string tunnel = request.value("tunnel", "");
  const bool rolling = request.value("rolling", false);
  Restart restart;
  restart.client = client;
  restart.deadline = milliseconds(request.value("deadline_ms", 10000));
  for (const DesiredTunnel& one : desired_.tunnels)
    if (tunnel.empty() || one.name == tunnel) restart.left.push_back(one.name);
  if (restart.left.empty())
    throw std::runtime_error("there is no tunnel '" + tunnel +
                             "' here: `tunorch status` names them");
  if (!rolling && tunnel.empty()) {
    for (const std::string& one : restart.left) workers_.at(one)->stop();
    client->send({{"done", true}});
    return;
  }
  restart_ = std::move(restart);
  begin_restart();
}

void Supervisor::begin_restart() {
  const std::string& tunnel = restart_->left.front();
  restart_->client->send({{"step", "draining " + tunnel}});
  restart_->peers = peers_carried_by(tunnel);
  restart_->phase = Restart::Phase::draining;
  restart_->since = Clock::now();
  try {
    refuse_if_last(tunnel);
  } catch (const std::exception& error) {
    restart_->client->send({{"error", error.what()}});
    restart_.reset();
    return;
  }
  drains_.begin(tunnel, Clock::now() + restart_->deadline);
  tick();
}

void Supervisor::go_on_restarting() {
  if (!restart_) return;
  const std::string tunnel = restart_->left.front();
  TunnelWorker& one = *workers_.at(tunnel);
  switch (restart_->phase) {
    case Restart::Phase::draining:
      if (drains_.state(tunnel) != Drain::done) return;
      restart_->client->send({{"step", "restarting the worker of " + tunnel}});
      restart_->phase = Restart::Phase::stopping;
      restart_->since = Clock::now();
      one.stop();
      return;
    case Restart::Phase::stopping:
      if (one.lifecycle().state() != WorkerState::running) break;
      drains_.end(tunnel);
      restart_->phase = Restart::Phase::returning;
      restart_->since = Clock::now();
      return arm();
    case Restart::Phase::returning:
      break;
  }
  const std::set<std::string> back = peers_carried_by(tunnel);
  if (restart_->phase != Restart::Phase::returning ||
      !std::ranges::includes(back, restart_->peers)) {
    if (Clock::now() - restart_->since < return_limit) return;
    restart_->client->send({{"error", tunnel +
                                          " does not carry again: the others were left as they "
                                          "are (" +
                                          one.reason() + ")"}});
    restart_.reset();
    return;
  }
  restart_->client->send({{"step", tunnel + " carries again"}});
  restart_->left.erase(restart_->left.begin());
  if (!restart_->left.empty()) return begin_restart();
  restart_->client->send({{"done", true}});
  restart_.reset();
}

void Supervisor::handle_failback(const json& request, const Client& client) {
  const std::string bundle = request.value("bundle", "");
  const auto wanted = std::ranges::find(desired_.bundles, bundle, &DesiredBundle::name);
  if (wanted == desired_.bundles.end())
    throw std::runtime_error("there is no bundle '" + bundle +
                             "' here: `tunorch status` names them");
  for (const std::string& tunnel : wanted->tunnels)
    for (auto& [peer, path] : workers_.at(tunnel)->paths()) path.fail_back(Clock::now());
  events_.add({"failback", "", "", "asked for, bundle " + bundle});
  tick();
  client->send({{"done", true}});
}

// ---- explain ----

/// Our kernel is asked at once; the peer's daemon, in-band, how its kernel would answer.
void Supervisor::handle_explain(const json& request, const Client& client) {
  routing::FlowKey flow = flow_of(request);
  if (request.value("in", false)) flow = reversed(flow);
  const json ours = explain(flow, desired_, observed_, *kernel_);
  const std::string peer = ours.value("peer", "");
  const auto number = ++last_question_;
  bool asked = false;
  for (const auto& [tunnel, one] : workers_)
    if (!asked && one->sessions().contains(peer)) {
      tell_note(*one, peer, {{"question", number}, {"flow", to_json(reversed(flow))}});
      asked = true;
    }
  if (!asked) {
    client->send({{"ours", ours}, {"peers", nullptr}});
    return;
  }
  auto timer = std::make_shared<boost::asio::steady_timer>(io_, answer_limit);
  timer->async_wait([this, number](const boost::system::error_code& cancelled) {
    if (!cancelled) answer_question(number, nullptr);
  });
  questions_[number] = {client, ours, std::move(timer)};
}

void Supervisor::tell_note(TunnelWorker& by, const std::string& peer, const json& note) {
  worker::StateWord word;
  word.note = note.dump();
  by.tell({peer}, word);
}

void Supervisor::answer_question(std::uint64_t number, const json& answer) {
  const auto question = questions_.find(number);
  if (question == questions_.end()) return;
  question->second.client->send({{"ours", question->second.ours}, {"peers", answer}});
  questions_.erase(question);
}

/// What a peer's daemon asks or answers; it may be of another version, or worse.
void Supervisor::heed_note(const std::string& peer, const std::string& text) {
  const json note = json::parse(text, nullptr, false);
  if (!note.is_object()) return;
  try {
    if (note.contains("answer"))
      return answer_question(note["answer"].get<std::uint64_t>(), note.at("way"));
    const json way = explain(flow_of(note.at("flow")), desired_, observed_, *kernel_);
    for (const auto& [tunnel, one] : workers_)
      if (one->sessions().contains(peer))
        return tell_note(*one, peer, {{"answer", note.at("question")}, {"way", way}});
  } catch (const std::exception& error) {
    spdlog::debug("note not understood peer={} reason=\"{}\"", peer, error.what());
  }
}

}  // namespace tunorch
