#include "orchestrator/top/model.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <tuple>

#include "orchestrator/telemetry/log_lines.hpp"

namespace tunorch {
namespace {

/// Samples that a share is computed from: one alone jumps too much to be read.
constexpr std::size_t share_samples = 5;
/// Bytes per tunnel in those samples below which it is idle: PINGs alone move less.
constexpr double idle_bytes = 5000;
/// Less than this apart, two statuses make no rate.
constexpr double least_passed = 0.05;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The state that says most: that of its process, unless that runs; then whether it is drained.
std::string state_of(const TunnelStatus& tunnel) {
  if (tunnel.worker != "running") return harmless(tunnel.worker);
  return harmless(tunnel.drain == "no" || tunnel.drain.empty() ? tunnel.health : tunnel.drain);
}

Traffic traffic_of(std::uint64_t sent, std::uint64_t received) {
  return {static_cast<double>(sent), static_cast<double>(received)};
}

/// By session where they are counted, so that a session's start or end makes no jump; else the
/// tunnel's as one.
std::map<std::string, Traffic> counters_of(const TunnelStatus& tunnel) {
  std::map<std::string, Traffic> counters;
  for (const auto& [peer, session] : tunnel.sessions) {
    if (!session.tx_bytes || !session.rx_bytes)
      return {{"", traffic_of(tunnel.tx_bytes, tunnel.rx_bytes)}};
    counters[peer] = traffic_of(*session.tx_bytes, *session.rx_bytes);
  }
  if (counters.empty()) counters[""] = traffic_of(tunnel.tx_bytes, tunnel.rx_bytes);
  return counters;
}

/// What a counter grew by; one that went down was reset.
double growth(double before, double now) {
  return now >= before ? now - before : 0;
}

/// Percent of the bundle that the weights give to each tunnel, averaged over its peers where the
/// status tells the weights in force, else by the tunnels' own weights.
std::map<std::string, double> entitlements(const BundleStatus& bundle) {
  std::map<std::string, double> percent;
  int peers = 0;
  const auto add = [&](const std::map<std::string, unsigned>& weights) {
    double sum = 0;
    for (const auto& [tunnel, weight] : weights) sum += weight;
    if (sum <= 0) return;
    ++peers;
    for (const auto& [tunnel, weight] : weights) percent[tunnel] += 100 * weight / sum;
  };
  for (const PeerStatus& peer : bundle.peers) add(peer.weights);
  if (peers == 0) {
    std::map<std::string, unsigned> weights;
    for (const TunnelStatus& tunnel : bundle.tunnels)
      weights[harmless(tunnel.name)] = tunnel.weight;
    add(weights);
  }
  for (auto& [tunnel, value] : percent) value /= peers;
  return percent;
}

template <class T>
void keep(std::deque<T>& all, T next, std::size_t most) {
  all.push_back(std::move(next));
  if (all.size() > most) all.pop_front();
}

double key_of(const TunnelRow& row, Order order) {
  switch (order) {
    case Order::name:
      return 0;
    case Order::throughput:
      return row.rate.sum();
    case Order::rtt:
      return row.rtt_ms.value_or(-1);
    case Order::loss:
      return row.loss.value_or(-1);
    case Order::share:
      return row.share.value_or(-1);
    case Order::restarts:
      return row.restarts;
  }
  return 0;
}

}  // namespace

bool name_less(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    const auto end_of = [](std::string_view of, std::size_t from) {
      while (from < of.size() && is_digit(of[from])) ++from;
      return from;
    };
    while (i < a.size() && a[i] == '0') ++i;
    while (j < b.size() && b[j] == '0') ++j;
    const auto a_end = end_of(a, i), b_end = end_of(b, j);
    const std::string_view left = a.substr(i, a_end - i), right = b.substr(j, b_end - j);
    if (left != right) return std::tuple(left.size(), left) < std::tuple(right.size(), right);
    i = a_end;
    j = b_end;
  }
  return a.size() - i < b.size() - j;
}

void sort_rows(std::vector<TunnelRow>& rows, Order order, bool reversed) {
  std::ranges::stable_sort(rows, [&](const TunnelRow& a, const TunnelRow& b) {
    const double left = key_of(a, order), right = key_of(b, order);
    if (left != right) return reversed ? left < right : left > right;
    return order == Order::name && reversed ? name_less(b.name, a.name) : name_less(a.name, b.name);
  });
}

std::optional<double> seconds_of(const std::string& time) {
  int year = 0;
  unsigned month = 0, day = 0, hour = 0, minute = 0;
  double second = 0;
  char zone = 0;
  if (std::sscanf(time.c_str(), "%4d-%2u-%2uT%2u:%2u:%lf%c", &year, &month, &day, &hour, &minute,
                  &second, &zone) != 7 ||
      zone != 'Z')
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok() || hour > 23 || minute > 59 || !(second >= 0 && second < 61)) return std::nullopt;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  return static_cast<double>(days) * 86400 + hour * 3600.0 + minute * 60.0 + second;
}

TunnelRow TopModel::row_of(const TunnelStatus& tunnel, double passed) {
  TunnelRow row{
      .name = harmless(tunnel.name), .state = state_of(tunnel), .reason = harmless(tunnel.reason)};
  row.healthy = row.state == "up";
  row.broken = row.state == "down" || row.state == "quarantined";
  row.restarts = tunnel.restarts;
  if (tunnel.rtt_us > 0) row.rtt_ms = tunnel.rtt_us / 1000.0;
  for (const auto& [peer, session] : tunnel.sessions)
    if (session.loss_percent) row.loss = std::max(row.loss.value_or(0), *session.loss_percent);

  const bool known = counters_.contains(row.name);
  Counter& counter = counters_[row.name];
  const auto now = counters_of(tunnel);
  if (known && passed > 0) {
    Traffic bytes;
    for (const auto& [session, bytes_now] : now) {
      const auto before = counter.by_session.find(session);
      // What a session that is new here has counted, it may have counted long ago.
      if (before == counter.by_session.end()) continue;
      bytes.sent += growth(before->second.sent, bytes_now.sent);
      bytes.received += growth(before->second.received, bytes_now.received);
    }
    keep(counter.history, Traffic{bytes.sent / passed, bytes.received / passed}, history_length);
    keep(counter.recent, bytes, share_samples);
    ++counter.samples;
  }
  counter.by_session = now;
  if (!counter.history.empty()) row.rate = counter.history.back();
  row.history = counter.history;
  row.samples = counter.samples;
  return row;
}

void TopModel::take(const Status& status, double seconds) {
  const double now = seconds_of(status.time).value_or(seconds);
  const double passed = last_ ? now - *last_ : 0;
  // Two statuses too close together give no rate; after a clock was set back, rates start over.
  if (last_ && passed >= 0 && passed < least_passed) return;
  last_ = now;
  cluster_ = harmless(status.cluster);
  node_ = harmless(status.node);
  problems_.clear();
  if (status.problem) problems_.push_back(harmless(*status.problem));
  for (const std::string& conflict : status.conflicts.value_or(std::vector<std::string>{}))
    problems_.push_back("in the way: " + harmless(conflict));

  bundles_.clear();
  std::map<std::string, Counter> living;
  for (const BundleStatus& bundle : status.bundles) {
    BundleRow row{harmless(bundle.name),
                  harmless(bundle.role),
                  harmless(bundle.state),
                  static_cast<int>(bundle.live),
                  {}};
    const auto entitled = entitlements(bundle);
    double traffic = 0;
    const auto recent = [this](const TunnelRow& tunnel) {
      double bytes = 0;
      for (const Traffic& one : counters_[tunnel.name].recent) bytes += one.sum();
      return bytes;
    };
    for (const TunnelStatus& tunnel : bundle.tunnels) {
      row.tunnels.push_back(row_of(tunnel, passed));
      traffic += recent(row.tunnels.back());
    }
    const bool idle = traffic <= idle_bytes * static_cast<double>(row.tunnels.size());
    for (TunnelRow& tunnel : row.tunnels) {
      if (!idle) tunnel.share = 100 * recent(tunnel) / traffic;
      if (const auto part = entitled.find(tunnel.name); part != entitled.end())
        tunnel.entitled = part->second;
      else if (!entitled.empty())
        tunnel.entitled = 0;
      living[tunnel.name] = counters_[tunnel.name];
    }
    bundles_.push_back(std::move(row));
  }
  counters_ = std::move(living);
}

Traffic TopModel::total() const {
  Traffic sum;
  for (const BundleRow& bundle : bundles_)
    for (const TunnelRow& tunnel : bundle.tunnels) {
      sum.sent += tunnel.rate.sent;
      sum.received += tunnel.rate.received;
    }
  return sum;
}

std::string sparkline(const std::deque<Traffic>& history, std::uint64_t samples,
                      double Traffic::*side, double full, std::size_t columns) {
  constexpr std::array<const char*, 8> bars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (columns == 0) return "";
  const std::uint64_t each = (history_length + columns - 1) / columns;
  // Parts are counted from the first sample ever, so that they keep their samples as they move.
  const std::uint64_t last_part = samples == 0 ? 0 : (samples - 1) / each;
  const std::uint64_t first = samples - history.size();
  std::vector<std::optional<double>> parts(columns);
  for (std::size_t i = 0; i < history.size(); ++i) {
    const std::uint64_t back = last_part - (first + i) / each;
    if (back >= columns) continue;
    auto& part = parts[columns - 1 - back];
    part = std::max(part.value_or(0), history[i].*side);
  }
  std::string line;
  for (const auto& part : parts) {
    if (!part) {
      line += ' ';
      continue;
    }
    const double height = full > 0 ? std::clamp(*part / full, 0.0, 1.0) : 0;
    line += bars[std::min<std::size_t>(7, static_cast<std::size_t>(std::ceil(height * 7)))];
  }
  return line;
}

}  // namespace tunorch
