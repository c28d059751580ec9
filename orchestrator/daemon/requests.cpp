// What clients ask of a running daemon, and the answers.
#include <algorithm>

#include "orchestrator/config/problem.hpp"
#include "orchestrator/daemon/explain.hpp"
#include "orchestrator/daemon/load.hpp"
#include "orchestrator/daemon/status.hpp"
#include "orchestrator/daemon/supervisor.hpp"

namespace tunorch {
namespace {

using std::chrono::milliseconds;

std::string names_of(const std::vector<DesiredTunnel>& tunnels) {
  std::string names;
  for (const DesiredTunnel& one : tunnels) names += (names.empty() ? "" : ", ") + one.name;
  return names.empty() ? "nothing is applied" : "there are " + names;
}

}  // namespace

void Supervisor::handle(const DaemonRequest& request, const Client& client) {
  Failure failure;
  try {
    if (down_) throw std::runtime_error("this daemon is going down: try again in a moment");
    return std::visit([&](const auto& one) { answer(one, client); }, request);
  } catch (const ConfigError& error) {
    failure = {error.what(), true, false};
  } catch (const std::exception& error) {
    failure = {error.what(), false, false};
  }
  failure.idle = !node_.applied;
  client->answer(failure);
}

// ---- apply, and the clients that wait for its end ----

void Supervisor::answer(const PlanRequest& request, const Client& client) {
  const Desired wanted = load(request);
  use_protocol(wanted.protocol);
  client->answer(plan_report(wanted, machine_.observe(wanted), health()));
}

void Supervisor::answer(const ApplyRequest& request, const Client& client) {
  const Applied applied =
      applier_.next(request, milliseconds(request.confirm_ms), std::chrono::system_clock::now());
  const Desired wanted = load(request);
  WaitingApply waiting{[client](const DaemonAnswer& answer) { client->answer(answer); },
                       Clock::now() + milliseconds(request.timeout_ms), request.wait_peers};
  for (const auto& [tunnel, one] : machine_.tunnels().all())
    for (const auto& [peer, session] : one->sessions()) waiting.lived.insert({tunnel, peer});
  try {
    apply(applied, wanted, [&](const std::string& step) { client->answer(StepAnswer{step}); });
    counters_.applied(true);
  } catch (...) {
    counters_.applied(false);
    throw;
  }
  await_confirmation();
  waiting_.add(std::move(waiting));
  answer_waiting();
}

void Supervisor::answer_waiting() {
  ApplyDone done;
  done.web = machine_.web().status();
  if (const auto left = applier_.time_left(std::chrono::system_clock::now()))
    done.confirm_within_ms = left->count();
  waiting_.answer(
      Clock::now(),
      [this](const WaitingApply& one) {
        return missing_of(node_.desired, machine_.tunnels(), one);
      },
      done);
  const auto next = waiting_.next();
  if (!next) return;
  wait_timer_.expires_at(*next);
  wait_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) answer_waiting();
  });
}

void Supervisor::answer(const ConfirmRequest&, const Client& client) {
  applier_.confirm();
  confirm_timer_.cancel();
  events_.add({"confirmed", "", "", "cluster " + node_.desired.cluster});
  client->answer(DoneAnswer{});
}

void Supervisor::answer(const RevertRequest&, const Client& client) {
  revert("asked for");
  client->answer(DoneAnswer{});
}

void Supervisor::answer(const DownRequest&, const Client& client) {
  take_down([client](const std::string& step) { client->answer(StepAnswer{step}); },
            [client, node = host_.paths.node](const std::vector<std::string>& problems) {
              client->answer(DownDone{problems.empty(), problems, node});
            });
}

// ---- what only reads ----

void Supervisor::answer(const StatusRequest& request, const Client& client) {
  std::map<std::string, std::map<std::string, std::uint64_t>> packets;
  std::map<std::uint32_t, std::string> tunnel_of;
  for (const DesiredTunnel& tunnel : node_.desired.tunnels)
    tunnel_of[tunnel.nexthop_id] = tunnel.name;
  if (node_.observed.abilities.counters)
    for (const DesiredGroup& group : node_.desired.groups)
      for (const routing::NexthopGroup& now : node_.observed.multipath.groups)
        if (now.id == group.id || now.id == group.id + 1)
          for (const auto& [id, count] : machine_.kernel().netlink().group_packets(now.id))
            packets[group.peer][tunnel_of[id]] = count;
  client->send(to_line(make_status({node_.desired, node_.observed, host_.paths.node,
                                    machine_.tunnels().all(), drains_.drains(), std::move(packets),
                                    load_problem_, node_.conflicts, events_.counts(), counters_,
                                    machine_.web().status(), request.histograms, started_})));
}

void Supervisor::answer(const EventsRequest& request, const Client& client) {
  for (const Event& event : events_.recent()) client->send(to_line(event));
  if (!request.follow) return;
  const auto number =
      events_.follow([client](const Event& event) { return client->send(to_line(event)); });
  client->watch_for_end([this, number] { events_.unfollow(number); });
}

void Supervisor::answer(const LogsRequest& request, const Client& client) {
  const std::string& tunnel = request.tunnel;
  if (!tunnel.empty() && !node_.desired.find_tunnel(tunnel))
    throw std::runtime_error("there is no tunnel '" + tunnel +
                             "' here: " + names_of(node_.desired.tunnels));
  for (const LogLine& line : log_.last(tunnel, request.lines)) client->send(to_line(line));
  if (!request.follow) {
    client->answer(DoneAnswer{});
    return;
  }
  const auto number =
      log_.follow(tunnel, [client](const LogLine& line) { return client->send(to_line(line)); });
  client->watch_for_end([this, number] { log_.unfollow(number); });
}

/// Our kernel is asked at once; the peer's daemon, in-band, how its kernel would answer.
void Supervisor::answer(const ExplainRequest& request, const Client& client) {
  const routing::FlowKey flow = flow_of(request);
  questions_.ask(request.in ? reversed(flow) : flow,
                 [client](const Explanation& both) { client->send(to_line(both)); });
}

// ---- drains, restarts, failback ----

void Supervisor::answer(const DrainRequest& request, const Client& client) {
  drains_.begin(request.tunnel, Clock::now() + milliseconds(request.deadline_ms));
  events_.add({"draining", request.tunnel, "",
               "deadline in " + std::to_string(request.deadline_ms) + " ms"});
  drains_.wait(request.tunnel, [client](const DaemonAnswer& answer) { client->answer(answer); });
}

void Supervisor::answer(const UndrainRequest& request, const Client& client) {
  if (drains_.drains().state(request.tunnel) == Drain::none)
    throw std::runtime_error("tunnel '" + request.tunnel + "' is not drained");
  drains_.end(request.tunnel);
  events_.add({"undrained", request.tunnel, "", ""});
  client->answer(DoneAnswer{});
}

void Supervisor::answer(const RestartRequest& request, const Client& client) {
  if (restart_.under_way()) throw std::runtime_error("a restart is under way: wait for its end");
  std::vector<std::string> tunnels;
  for (const DesiredTunnel& one : node_.desired.tunnels)
    if (request.tunnel.empty() || one.name == request.tunnel) tunnels.push_back(one.name);
  if (tunnels.empty())
    throw std::runtime_error("there is no tunnel '" + request.tunnel +
                             "' here: `tunorch status` names them");
  if (request.rolling || !request.tunnel.empty())
    return restart_.begin(
        std::move(tunnels), milliseconds(request.deadline_ms),
        [client](const DaemonAnswer& answer) { client->answer(answer); }, Clock::now());
  for (const std::string& one : tunnels) machine_.tunnels().find(one)->stop();
  client->answer(DoneAnswer{});
}

void Supervisor::answer(const FailbackRequest& request, const Client& client) {
  const auto wanted =
      std::ranges::find(node_.desired.bundles, request.bundle, &DesiredBundle::name);
  if (wanted == node_.desired.bundles.end())
    throw std::runtime_error("there is no bundle '" + request.bundle +
                             "' here: `tunorch status` names them");
  for (const std::string& tunnel : wanted->tunnels)
    for (auto& [peer, path] : machine_.tunnels().find(tunnel)->paths())
      path.fail_back(Clock::now());
  events_.add({"failback", "", "", "asked for, bundle " + request.bundle});
  tick();
  client->answer(DoneAnswer{});
}

}  // namespace tunorch
