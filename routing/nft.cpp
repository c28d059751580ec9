#include "routing/nft.hpp"

#include <linux/netlink.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "base/fd.hpp"
#include "base/owned.hpp"

namespace tunorch::routing {

namespace {

using nlohmann::json;

using Context = Owned<nft_ctx, nft_ctx_free>;

constexpr std::string_view table_name = "tunorch";
constexpr const char* needs =
    " (`modprobe nf_tables`: CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET of the kernel, "
    "CONFIG_NFT_MASQ for `masquerade`)";

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), "cannot " + what);
}

// libnftables ends the process where it gets no socket (src/mnl.c, nft_mnl_socket_open).
bool has_netfilter() {
  const Fd probe(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  return probe.valid();
}

// Buffered, so that libnftables prints nothing itself.
Context make_context() {
  if (!has_netfilter()) fail(errno, std::string("open nftables") + needs);
  Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context || nft_ctx_buffer_output(context.get()) != 0 ||
      nft_ctx_buffer_error(context.get()) != 0)
    fail(ENOMEM, "open nftables");
  return context;
}

// "Error: Could not process rule: No such file or directory", then the command and a caret.
std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  constexpr std::string_view error_prefix = "Error: ";
  return text.starts_with(error_prefix) ? text.substr(error_prefix.size()) : text;
}

// What a kernel without nf_tables says (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg and _batch).
bool lacks_nftables(int error) {
  return error == EOPNOTSUPP || error == EINVAL || error == EPROTONOSUPPORT ||
         error == EAFNOSUPPORT;
}

void run(const Context& context, const std::string& commands, const std::string& what) {
  errno = 0;
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) return;
  // libnftables has no error codes. It leaves errno as the last failed call set it, if one did.
  const int error = errno != 0 ? errno : EIO;
  fail(error, what + " (" + first_line(nft_ctx_get_error_buffer(context.get())) + ')' +
                  (lacks_nftables(error) ? needs : ""));
}

json run_json(const std::string& command) {
  const Context context = make_context();
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_JSON);
  run(context, command, "read nftables");
  const json answer = json::parse(nft_ctx_get_output_buffer(context.get()), nullptr, false);
  if (!answer.is_object() || !answer.contains("nftables")) fail(EBADMSG, "read nftables");
  return answer.at("nftables");
}

// nftables takes a trailing * for a wildcard, and a quote would end the name.
void check_device(const std::string& dev) {
  const bool quotable = std::ranges::none_of(
      dev, [](char c) { return c <= ' ' || c == '"' || c == '*' || c == '\\'; });
  if (dev.empty() || dev.size() >= IFNAMSIZ || !quotable)
    fail(EINVAL, "write a rule for device \"" + dev + '"');
}

// One rule a prefix: an interval set would refuse nested prefixes, or with auto-merge not give them
// back as written. Only the first packet of a flow comes here (nf_nat_core.c).
std::string rule_text(const std::string& dev, const Prefix& source) {
  return "    oifname \"" + dev + "\" " + (source.v6 ? "ip6" : "ip") + " saddr " +
         source.network().text() + " masquerade\n";
}

std::string chain_text(const char* name, const char* type, const std::string& rules) {
  return std::string("  chain ") + name + " {\n    type " + type + "; policy accept;\n" + rules +
         "  }\n";
}

std::string rule_text(const std::vector<std::string>& isolated) {
  std::string set;
  for (const std::string& dev : isolated) set += (set.empty() ? "\"" : ", \"") + dev + '"';
  return "    iifname { " + set + " } oifname { " + set + " } drop\n";
}

// "add" first, for to delete a table that is not there is an error, and an error undoes it all.
std::string transaction_text(const NftTable& table) {
  std::string nat, isolation;
  if (table.masquerade)
    for (const Prefix& source : table.masquerade->sources)
      nat += rule_text(table.masquerade->dev, source);
  for (const auto& devices : table.isolated) isolation += rule_text(devices);
  std::string text =
      "add table inet tunorch\n"
      "delete table inet tunorch\n"
      "table inet tunorch {\n"
      "  comment \"made by tunorch; removed by tunorch down\"\n";
  if (table.masquerade)
    text += chain_text("postrouting", "nat hook postrouting priority srcnat", nat);
  if (!table.isolated.empty())
    text += chain_text("forward", "filter hook forward priority filter", isolation);
  return text + "}\n";
}

bool has_table() {
  for (const json& item : run_json("list tables inet"))
    if (item.contains("table") && item["table"].value("name", "") == table_name) return true;
  return false;
}

// {"prefix": {"addr": "10.0.0.0", "len": 8}}, or "10.0.0.1" for a whole address
// (libnftables-json(5)).
std::optional<Prefix> parse_source(const json& right) {
  if (right.is_string()) return Prefix::parse(right.get<std::string>());
  const json& prefix = right.at("prefix");
  return Prefix::parse(prefix.at("addr").get<std::string>() + '/' +
                       std::to_string(prefix.at("len").get<unsigned>()));
}

/// Whether an expression compares this key of a packet with something.
bool matches(const json& expression, const char* key) {
  const json& match = expression.at("match");
  return match.at("op") == "==" && match.at("left").at("meta").at("key") == key;
}

// Nothing for a rule that rule_text() cannot have written. at() throws where the shape differs.
std::optional<Masquerade> parse_masquerade(const json& expressions) {
  if (expressions.size() != 3 || !expressions[2].contains("masquerade")) return std::nullopt;
  const json &device = expressions[0].at("match"), &source = expressions[1].at("match");
  const bool expected = matches(expressions[0], "oifname") && source.at("op") == "==" &&
                        source.at("left").at("payload").at("field") == "saddr";
  const auto prefix = parse_source(source.at("right"));
  if (!expected || !prefix) return std::nullopt;
  return Masquerade{device.at("right").get<std::string>(), {*prefix}};
}

/// {"set": ["a", "b"]}, or "a" where it is alone.
std::vector<std::string> parse_devices(const json& right) {
  if (right.is_string()) return {right.get<std::string>()};
  auto devices = right.at("set").get<std::vector<std::string>>();
  std::ranges::sort(devices);
  return devices;
}

std::optional<std::vector<std::string>> parse_isolated(const json& expressions) {
  if (expressions.size() != 3 || !expressions[2].contains("drop")) return std::nullopt;
  if (!matches(expressions[0], "iifname") || !matches(expressions[1], "oifname"))
    return std::nullopt;
  const auto devices = parse_devices(expressions[0].at("match").at("right"));
  if (devices != parse_devices(expressions[1].at("match").at("right"))) return std::nullopt;
  return devices;
}

std::optional<NftTable> parse_table(const json& items) try {
  NftTable table;
  for (const json& item : items) {
    if (!item.contains("rule")) continue;
    const json& expressions = item["rule"].at("expr");
    if (const auto isolated = parse_isolated(expressions)) {
      table.isolated.push_back(*isolated);
      continue;
    }
    const auto rule = parse_masquerade(expressions);
    if (!rule || (table.masquerade && table.masquerade->dev != rule->dev)) return std::nullopt;
    if (!table.masquerade) table.masquerade = Masquerade{rule->dev, {}};
    table.masquerade->sources.push_back(rule->sources.front());
  }
  if (table.masquerade) std::ranges::sort(table.masquerade->sources);
  std::ranges::sort(table.isolated);
  return table;
} catch (const json::exception&) {
  return std::nullopt;
}

}  // namespace

std::string NftTable::text() const {
  std::string text;
  if (masquerade) {
    text += "masquerade by " + masquerade->dev + " from";
    for (const Prefix& source : masquerade->sources) text += ' ' + source.text();
  }
  for (const auto& devices : isolated) {
    text += text.empty() ? "nothing forwarded among" : ", nothing forwarded among";
    for (const std::string& dev : devices) text += ' ' + dev;
  }
  return text;
}

std::optional<NftTable> read_nft_table() {
  try {
    if (!has_netfilter() || !has_table()) return std::nullopt;
  } catch (const std::system_error& error) {
    // What a kernel cannot have is not there; to write it is what fails.
    if (lacks_nftables(error.code().value())) return std::nullopt;
    throw;
  }
  return parse_table(run_json("list table inet tunorch")).value_or(NftTable{});
}

void write_nft_table(const NftTable& table) {
  if (table.masquerade) check_device(table.masquerade->dev);
  for (const auto& devices : table.isolated)
    for (const std::string& dev : devices) check_device(dev);
  run(make_context(), transaction_text(table), "write nftables table inet tunorch");
}

void delete_nft_table() {
  run(make_context(), "add table inet tunorch\ndelete table inet tunorch\n",
      "delete nftables table inet tunorch");
}

}  // namespace tunorch::routing
