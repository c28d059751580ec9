// What `tunorch top` makes of one status after another: rates, shares, histories, an order. Pure:
// statuses and times in, numbers out; view.hpp makes lines of them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/status.hpp"

namespace tunorch {

/// Samples kept of each tunnel: a minute at one per second.
inline constexpr std::size_t history_length = 60;

/// Both directions, in bytes or bytes per second.
struct Traffic {
  double sent = 0, received = 0;

  double sum() const { return sent + received; }
};

struct TunnelRow {
  std::string name{}, state{}, reason{};
  bool healthy = false, broken = false;  // neither: it is on its way
  Traffic rate{};
  std::deque<Traffic> history{};     // rates, oldest first
  std::uint64_t samples = 0;         // how many there were; history holds the last of them
  std::optional<double> rtt_ms{};    // nothing: no session measures it
  std::optional<double> loss{};      // percent, of the worst session
  std::optional<double> share{};     // percent of its bundle's traffic; nothing: there is none
  std::optional<double> entitled{};  // percent, by the weights
  int restarts = 0;
};

struct BundleRow {
  std::string name{}, role{}, state{};
  int live = 0;
  std::vector<TunnelRow> tunnels{};
};

enum class Order : std::uint8_t { name, throughput, rtt, loss, share, restarts };

/// Names first to last, all else largest first; those alike by name. `reversed` turns it round.
void sort_rows(std::vector<TunnelRow>& rows, Order order, bool reversed);

/// `backbone-2` before `backbone-10`.
bool name_less(std::string_view a, std::string_view b);

class TopModel {
 public:
  /// `seconds`: when it came in, by the own clock; of no use where the status says its own time.
  void take(const Status& status, double seconds);

  const std::vector<BundleRow>& bundles() const { return bundles_; }
  const std::string& cluster() const { return cluster_; }
  const std::string& node() const { return node_; }
  /// In words, why it is not as it should be: what could not be loaded, what is in the way.
  const std::vector<std::string>& problems() const { return problems_; }
  Traffic total() const;

 private:
  struct Counter {
    std::map<std::string, Traffic> by_session;  // as the last status had them
    std::deque<Traffic> history;
    std::deque<Traffic> recent;  // bytes of the last few seconds
    std::uint64_t samples = 0;
  };

  TunnelRow row_of(const TunnelStatus& tunnel, double passed);

  std::optional<double> last_;  // seconds
  std::map<std::string, Counter> counters_;
  std::vector<BundleRow> bundles_;
  std::string cluster_, node_;
  std::vector<std::string> problems_;
};

/// Seconds since 1970 of an RFC 3339 time in UTC, as 2026-01-02T03:04:05.678Z; nothing where it is
/// none.
std::optional<double> seconds_of(const std::string& time);

/// `columns` bars for the history, newest last, each the highest of its part of a minute, against
/// `full`; blanks where nothing is known. What was drawn does not change but moves on.
std::string sparkline(const std::deque<Traffic>& history, std::uint64_t samples,
                      double Traffic::*side, double full, std::size_t columns);

}  // namespace tunorch
