#include "orchestrator/plan/step.hpp"

#include <fmt/format.h>

namespace tunorch {
namespace {

std::string text(const SysctlSetting& s) {
  return s.setting.value;
}
std::string text(const routing::Tun& tun) {
  return fmt::format("mtu {} txqueuelen {}", tun.mtu, tun.txqueuelen);
}
std::string text(const routing::Address& address) {
  return address.prefix.text();
}
std::string text(const routing::NftTable& table) {
  return table.text();
}
std::string text(const WorkerRef& worker) {
  return worker.text;
}
std::string text(const SocketAddress& address) {
  return address.text();
}
std::string text(const routing::NexthopObject& nexthop) {
  return fmt::format("dev {}", nexthop.dev);
}
std::string text(const routing::NexthopGroup& group) {
  return group.text();
}
std::string text(const routing::Route& route) {
  return route.text();
}
std::string text(const routing::Rule& rule) {
  return rule.text();
}

std::string name(const SysctlSetting& s) {
  return "sysctl " + s.setting.key;
}
std::string name(const routing::Tun& tun) {
  return "tun " + tun.name;
}
std::string name(const routing::Address& address) {
  return "address on " + address.dev;
}
std::string name(const routing::NftTable&) {
  return "nftables table inet tunorch";
}
std::string name(const WorkerRef& worker) {
  return "worker " + worker.tunnel;
}
std::string name(const SocketAddress&) {
  return "page and metrics";
}
std::string name(const routing::NexthopObject& nexthop) {
  return fmt::format("nexthop {}", nexthop.id);
}
std::string name(const routing::NexthopGroup&) {
  return "nexthop group";
}
std::string name(const routing::Route&) {
  return "route";
}
std::string name(const routing::Rule&) {
  return "rule";
}

std::string change_text(const SysctlStep& step) {
  // A setting is never made or removed, only written over and put back.
  const auto value = [](const auto& side) { return side ? text(*side) : std::string("(new)"); };
  return fmt::format("~ {}: {} -> {}", name(step.after ? *step.after : *step.before),
                     value(step.before), value(step.after));
}

std::string change_text(const WorkerStep& step) {
  if (step.before && step.after)
    return fmt::format("~ {}: takes the new spec, {}", name(*step.after), text(*step.after));
  return step.after ? fmt::format("+ {}: {}", name(*step.after), text(*step.after))
                    : fmt::format("- {}", name(*step.before));
}

template <class T>
std::string change_text(const Change<T>& step) {
  if (!step.before) return fmt::format("+ {}: {}", name(*step.after), text(*step.after));
  if (!step.after) return fmt::format("- {}: {}", name(*step.before), text(*step.before));
  return fmt::format("~ {}: {} -> {}", name(*step.after), text(*step.before), text(*step.after));
}

}  // namespace

std::string describe(const Step& step) {
  return std::visit([](const auto& change) { return change_text(change); }, step);
}

Step inverse(const Step& step) {
  return std::visit(
      [](const auto& change) -> Step {
        return std::decay_t<decltype(change)>{change.after, change.before};
      },
      step);
}

}  // namespace tunorch
