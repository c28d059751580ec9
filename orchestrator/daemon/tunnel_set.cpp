#include "orchestrator/daemon/tunnel_set.hpp"

#include <algorithm>

#include "orchestrator/tunnels/foreign_worker.hpp"
#include "orchestrator/tunnels/native_worker.hpp"

namespace tunorch {

TunnelWorker* TunnelSet::find(const std::string& tunnel) const {
  const auto found = workers_.find(tunnel);
  return found == workers_.end() ? nullptr : found->second.get();
}

TunnelWorker& TunnelSet::of(const DesiredTunnel& wanted) {
  auto& one = workers_[wanted.name];
  if (!one) one = make(wanted.name, wanted.engine);
  return *one;
}

std::unique_ptr<TunnelWorker> TunnelSet::make(const std::string& tunnel, Engine engine) {
  if (engine == Engine::native) return std::make_unique<NativeWorker>(host_, tunnel, owner_);
  return std::make_unique<ForeignWorker>(host_, tunnel, owner_, engine);
}

void TunnelSet::adopt(const Desired& desired) {
  for (const std::filesystem::path& file : files_of(host_.paths.workers(), {".process"})) {
    const std::string tunnel = file.stem();
    const auto process = ProcessFile::parse(read_text(file).value_or(""));
    const Engine engine = process ? process->engine : Engine::native;
    TunnelWorker& one = *(workers_[tunnel] = make(tunnel, engine));
    const DesiredTunnel* wanted = desired.find_tunnel(tunnel);
    if (wanted && wanted->engine == engine) one.configure(*wanted);
    if (!one.adopt()) workers_.erase(tunnel);
  }
}

void TunnelSet::configure(const Desired& desired) {
  for (const DesiredTunnel& wanted : desired.tunnels)
    if (TunnelWorker& one = of(wanted); one.engine() == wanted.engine) one.configure(wanted);
}

void TunnelSet::reset() {
  for (const auto& [tunnel, one] : workers_) one->reset();
}

void TunnelSet::check(TunnelWorker::Clock::time_point now, bool forgive) {
  for (const auto& [tunnel, one] : workers_) one->check(now, forgive);
}

void TunnelSet::perform(const WorkerStep& step, const Desired& desired) {
  const std::string& tunnel = step.after ? step.after->tunnel : step.before->tunnel;
  const DesiredTunnel* wanted = step.after ? desired.find_tunnel(tunnel) : nullptr;
  TunnelWorker& one = wanted ? of(*wanted) : *workers_.at(tunnel);
  if (!wanted || one.engine() != wanted->engine) return one.stop();  // its end makes room
  const WorkerState state = one.lifecycle().state();
  if (state != WorkerState::stopped) {
    // Without a `before` it is still stopping: its exit makes the tick that starts it.
    if (step.before) one.change(*wanted);
    return;
  }
  try {
    one.start(*wanted);
  } catch (const std::exception& error) {
    if (wanted->engine == Engine::native) throw;
    one.start_failed(error.what());
  }
}

void TunnelSet::start_failed(const std::string& tunnel, const std::string& reason) {
  workers_.at(tunnel)->start_failed(reason);
}

std::map<std::string, ObservedWorker> TunnelSet::observed() const {
  std::map<std::string, ObservedWorker> observed;
  for (const auto& [tunnel, one] : workers_) observed[tunnel] = one->observed();
  return observed;
}

HealthTable TunnelSet::health(const Desired& desired, const Drains& drains) const {
  HealthTable table;
  for (const DesiredGroup& group : desired.groups)
    for (const DesiredMember& member : group.members)
      if (const TunnelWorker* one = find(member.tunnel)) {
        TunnelHealth health = one->health(group.peer);
        health.drain = std::max(health.drain, drains.state(member.tunnel));
        table[group.peer][member.tunnel] = health;
      }
  return table;
}

bool TunnelSet::any_alive() const {
  return std::ranges::any_of(workers_,
                             [](const auto& entry) { return entry.second->lifecycle().alive(); });
}

void TunnelSet::salvage(TunnelWorker& dead, const Desired& desired) {
  TunnelWorker* living = nullptr;
  for (const DesiredBundle& bundle : desired.bundles) {
    if (std::ranges::find(bundle.tunnels, dead.tunnel()) == bundle.tunnels.end()) continue;
    for (const std::string& tunnel : bundle.tunnels) {
      TunnelWorker* other = find(tunnel);
      if (!other || other == &dead || !other->can_carry()) continue;
      if (!living || other->sessions().size() > living->sessions().size()) living = other;
    }
  }
  if (living) living->carry(dead.queues());
  dead.drop_carrier();
}

bool TunnelSet::replace_ended(const std::string& tunnel, const Desired& desired) {
  const TunnelWorker* ended = find(tunnel);
  if (!ended || ended->lifecycle().alive()) return false;
  const DesiredTunnel* wanted = desired.find_tunnel(tunnel);
  if (wanted && wanted->engine == ended->engine()) return false;
  workers_.erase(tunnel);
  if (!wanted) return false;
  of(*wanted).configure(*wanted);
  return true;
}

}  // namespace tunorch
