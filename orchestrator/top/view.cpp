#include "orchestrator/top/view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace tunorch {
namespace {

constexpr std::size_t spark_columns = 10;
constexpr std::size_t most_events = 50;

const std::array<std::pair<Order, std::pair<const char*, const char*>>, 6> orders{
    {{Order::name, {"n", "name"}},
     {Order::throughput, {"t", "traffic"}},
     {Order::rtt, {"r", "RTT"}},
     {Order::loss, {"l", "loss"}},
     {Order::share, {"s", "share"}},
     {Order::restarts, {"R", "restarts"}}}};

constexpr std::array help_lines{
    "↑ ↓             select a tunnel",
    "d               drain it: new flows take other tunnels, old ones leave it in time",
    "u               undrain it",
    "x               restart its worker, drained first",
    "n t r l s R     sort by name, traffic, RTT, loss, share, restarts; again: turned round",
    "p               pause what is shown; again: go on",
    "q               quit",
    "",
    "SENT, RECEIVED  in the last second; the bars: a minute, against the highest of all tunnels",
    "LOSS            of the last 100 PINGs of its worst session",
    "SHARE           of its bundle's bytes in the last seconds, and of what its weight gives it",
    "",
    "? or any key    back",
};

Tone tone_of(const TunnelRow& row) {
  return row.healthy ? Tone::good : row.broken ? Tone::bad : Tone::warning;
}

Tone tone_of_bundle(const std::string& state) {
  return state == "up" ? Tone::good : state == "down" ? Tone::bad : Tone::warning;
}

ScreenLine one_span(std::string text, Tone tone = Tone::plain) {
  return {{{std::move(text), tone}}};
}

/// At spaces, where there are any.
std::vector<std::string> wrapped(std::string text, std::size_t columns) {
  std::vector<std::string> lines;
  while (width(text) > columns) {
    std::size_t end = text.rfind(' ', columns);
    if (end == text.npos || end == 0) end = columns;
    lines.push_back(text.substr(0, end));
    text.erase(0, text.find_first_not_of(' ', end));
  }
  lines.push_back(text);
  return lines;
}

void add_wrapped(std::vector<ScreenLine>& lines, const std::string& text, std::size_t columns,
                 Tone tone) {
  for (std::string& line : wrapped(text, columns)) lines.push_back(one_span(line, tone));
}

std::string three_digits(double value) {
  return fmt::format("{:.{}f}", value, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

std::string share_text(const TunnelRow& row) {
  const std::string share = row.share ? fmt::format("{:.0f} %", *row.share) : "idle";
  if (!row.entitled) return share;
  return fmt::format("{} of {:.0f} %", share, *row.entitled);
}

std::vector<Cell> cells_of(const TunnelRow& row, const Traffic& full) {
  const auto bars = [&](double Traffic::*side) {
    return sparkline(row.history, row.samples, side, full.*side, spark_columns);
  };
  const bool lossy = row.loss.value_or(0) > 0;
  return {
      {row.name},
      {row.state, tone_of(row)},
      {fmt::format("{:>11}", bits_text(row.rate.sent))},
      {bars(&Traffic::sent), Tone::good},
      {fmt::format("{:>11}", bits_text(row.rate.received))},
      {bars(&Traffic::received), Tone::good},
      {fmt::format("{:>7}", row.rtt_ms ? fmt::format("{} ms", three_digits(*row.rtt_ms)) : "-")},
      {fmt::format("{:>6}", row.loss ? fmt::format("{:.0f} %", *row.loss) : "-"),
       lossy ? Tone::warning : Tone::plain},
      {fmt::format("{:>12}", share_text(row))},
      {fmt::format("{:>8}", row.restarts), row.restarts > 0 ? Tone::warning : Tone::plain}};
}

const std::vector<Column>& table_columns() {
  static const std::vector<Column> columns{
      {"TUNNEL"},          {"STATE    "},     {"       SENT", 1}, {"LAST MIN. ", 7},
      {"   RECEIVED", 2},  {"LAST MIN. ", 8}, {"    RTT", 3},     {"  LOSS", 4},
      {"       SHARE", 5}, {"RESTARTS", 6}};
  return columns;
}

/// Of each direction: bars of all tunnels can be compared.
Traffic highest(const TopModel& model) {
  Traffic most;
  for (const BundleRow& bundle : model.bundles())
    for (const TunnelRow& row : bundle.tunnels)
      for (const Traffic& one : row.history) {
        most.sent = std::max(most.sent, one.sent);
        most.received = std::max(most.received, one.received);
      }
  return most;
}

std::vector<TunnelRow> sorted(const BundleRow& bundle, const TopState& state) {
  std::vector<TunnelRow> rows = bundle.tunnels;
  sort_rows(rows, state.order, state.reversed);
  return rows;
}

struct Body {
  std::vector<ScreenLine> lines;
  std::size_t selected = 0;  // which of them
};

ScreenLine line_of(const std::vector<Cell>& cells) {
  ScreenLine line;
  for (const Cell& cell : cells) line.spans.push_back({cell.text, cell.tone});
  return line;
}

/// One table over all bundles, so that their columns stand below each other.
Body bundles_body(const TopModel& model, const TopState& state, std::size_t columns) {
  std::vector<std::vector<Cell>> cells;
  std::vector<std::vector<TunnelRow>> rows;
  const Traffic full = highest(model);
  for (const BundleRow& bundle : model.bundles()) {
    rows.push_back(sorted(bundle, state));
    for (const TunnelRow& row : rows.back()) cells.push_back(cells_of(row, full));
  }
  const auto table = table_lines({.columns = columns}, table_columns(), cells);
  Body body;
  std::size_t next = 1;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const BundleRow& bundle = model.bundles()[i];
    if (i > 0) body.lines.emplace_back();
    body.lines.push_back({{{fmt::format("bundle {} ({}): ", bundle.name, bundle.role)},
                           {bundle.state, tone_of_bundle(bundle.state)},
                           {fmt::format(", {} of {} tunnels live", bundle.live, rows[i].size())}}});
    body.lines.push_back(line_of(table.front()));
    for (const TunnelRow& row : rows[i]) {
      body.lines.push_back(line_of(table.at(next++)));
      if (row.name == state.selected) {
        body.lines.back().inverse = true;
        body.selected = body.lines.size() - 1;
      }
      if (!row.reason.empty() && !row.healthy)
        body.lines.push_back(one_span("  " + row.reason, Tone::faint));
    }
  }
  return body;
}

Body body_of(const TopModel& model, const TopState& state, std::size_t columns) {
  Body body;
  if (state.help) {
    for (const char* const line : help_lines) body.lines.push_back(one_span(line));
    return body;
  }
  if (!state.away.empty()) {
    add_wrapped(body.lines, state.away, columns, Tone::bad);
    add_wrapped(body.lines, "Waiting for it. Tunnels that run go on without their daemon.", columns,
                Tone::plain);
    return body;
  }
  std::vector<ScreenLine> problems;
  for (const std::string& problem : model.problems())
    add_wrapped(problems, problem, columns, Tone::bad);
  if (model.cluster().empty() && problems.empty())
    problems.push_back(one_span("nothing is applied on this node"));
  if (!model.bundles().empty()) body = bundles_body(model, state, columns);
  body.selected += problems.size();
  body.lines.insert(body.lines.begin(), problems.begin(), problems.end());
  return body;
}

/// The part of it that has room, around what is selected.
void add_window(std::vector<ScreenLine>& lines, const Body& body, std::size_t room) {
  const std::size_t all = body.lines.size();
  std::size_t from = 0;
  if (all > room && body.selected > room / 2) from = std::min(body.selected - room / 2, all - room);
  for (std::size_t i = from; i < std::min(all, from + room); ++i) lines.push_back(body.lines[i]);
  if (from + room < all && room > 1)
    lines.back() = one_span(fmt::format("… {} more lines", all - from - room + 1), Tone::faint);
}

ScreenLine head_line(const TopModel& model, const TopState& state) {
  ScreenLine line{{{"tunorch top", Tone::heading}}};
  const auto add = [&](std::string text, Tone tone = Tone::plain) {
    line.spans.push_back({std::move(text), tone});
  };
  if (state.paused) add("  paused", Tone::warning);
  if (!state.away.empty()) {
    add("  node " + state.node + "  ");
    add("no daemon", Tone::bad);
    return line;
  }
  if (!model.cluster().empty()) add("  cluster " + model.cluster());
  add("  node " + (model.node().empty() ? state.node : model.node()));
  for (const BundleRow& bundle : model.bundles()) {
    add("  " + bundle.name + " ");
    add(bundle.state, tone_of_bundle(bundle.state));
    add(fmt::format(" {}/{}", bundle.live, bundle.tunnels.size()));
  }
  const Traffic total = model.total();
  add(fmt::format("  sent {}, received {}", bits_text(total.sent), bits_text(total.received)));
  return line;
}

/// Those that do not fit are left out from the end: what one needs most stands first.
ScreenLine key_line(const TopState& state, std::size_t columns) {
  ScreenLine line;
  std::size_t used = 0;
  const auto add = [&](const std::string& key, const std::string& what, std::size_t gap,
                       Tone tone = Tone::plain) {
    const std::size_t wide = width(key) + width(what) + 1;
    if (used + wide > columns) {
      used = columns;
      return;
    }
    used += wide + gap;
    line.spans.push_back({key + " ", Tone::heading});
    line.spans.push_back({what + std::string(gap, ' '), tone});
  };
  add("q", "quit", 2);
  add("?", "help", 2);
  add("↑↓", "move", 2);
  add("d", "drain", 2);
  add("u", "undrain", 2);
  add("x", "restart", 2);
  add("p", state.paused ? "go on" : "pause", 2, state.paused ? Tone::warning : Tone::plain);
  add("sort", "", 0);
  for (const auto& [order, words] : orders) {
    const bool now = order == state.order;
    add(words.first, std::string(words.second) + (now ? state.reversed ? "▲" : "▼" : ""), 1,
        now ? Tone::good : Tone::plain);
  }
  return line;
}

void cut_to(ScreenLine& line, std::size_t columns) {
  std::size_t left = columns;
  for (Span& span : line.spans) {
    span.text = cut(span.text, left);
    left -= width(span.text);
  }
}

void add_events(std::vector<ScreenLine>& lines, const TopState& state, std::size_t room) {
  if (room < 2) return;
  const std::size_t shown = std::min({room - 1, state.events.size(), most_events});
  lines.push_back(one_span("EVENTS", Tone::heading));
  for (std::size_t i = state.events.size() - shown; i < state.events.size(); ++i)
    lines.push_back(one_span(state.events[i]));
}

}  // namespace

std::string bits_text(double bytes_per_second) {
  constexpr std::array units{"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
  double value = bytes_per_second * 8;
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < units.size(); ++unit) value /= 1000;
  return fmt::format("{} {}", unit == 0 ? fmt::format("{:.0f}", value) : three_digits(value),
                     units[unit]);
}

std::vector<std::string> shown_tunnels(const TopModel& model, const TopState& state) {
  std::vector<std::string> names;
  for (const BundleRow& bundle : model.bundles())
    for (const TunnelRow& row : sorted(bundle, state)) names.push_back(row.name);
  return names;
}

std::vector<ScreenLine> top_view(const TopModel& model, const TopState& state, std::size_t columns,
                                 std::size_t lines) {
  std::vector<ScreenLine> view;
  if (columns < least_columns || lines < least_lines) {
    add_wrapped(view,
                fmt::format("{} x {} is too small for tunorch top: it needs {} x {}. q quits.",
                            columns, lines, least_columns, least_lines),
                std::max<std::size_t>(columns, 1), Tone::plain);
    view.resize(lines);
    return view;
  }
  view.push_back(head_line(model, state));
  const std::size_t room = lines - 3;  // without the head, the message and the keys
  const std::size_t for_events = lines >= 16 ? 7 : lines >= 12 ? 3 : 0;
  const Body body = body_of(model, state, columns);
  const std::size_t for_body = std::min(body.lines.size(), room - for_events);
  add_window(view, body, for_body);
  if (room - for_body >= 3) {
    view.emplace_back();
    add_events(view, state, room - for_body - 1);
  }
  view.resize(lines - 2);
  view.push_back({{state.message}});
  view.push_back(key_line(state, columns));
  for (ScreenLine& line : view) cut_to(line, columns);
  return view;
}

}  // namespace tunorch
