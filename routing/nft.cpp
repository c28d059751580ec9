#include "routing/nft.hpp"

#include <net/if.h>
#include <nftables/libnftables.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

namespace tunorch::routing {

namespace {

using nlohmann::json;

struct FreeContext {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, FreeContext>;

constexpr std::string_view table_name = "tunorch";

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), "cannot " + what);
}

// Buffered, so that libnftables prints nothing itself.
Context make_context() {
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

void run(const Context& context, const std::string& commands, const std::string& what) {
  errno = 0;
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) return;
  // libnftables has no error codes. It leaves errno as the last failed call set it, if one did.
  const int error = errno != 0 ? errno : EIO;
  fail(error, what + " (" + first_line(nft_ctx_get_error_buffer(context.get())) + ')');
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
    fail(EINVAL, "masquerade by device \"" + dev + '"');
}

// One rule a prefix: an interval set would refuse nested prefixes, or with auto-merge not give them
// back as written. Only the first packet of a flow comes here (nf_nat_core.c).
std::string rule_text(const std::string& dev, const Prefix& source) {
  return "    oifname \"" + dev + "\" " + (source.v6 ? "ip6" : "ip") + " saddr " +
         source.network().text() + " masquerade\n";
}

// "add" first, for to delete a table that is not there is an error, and an error undoes it all.
std::string transaction_text(const Masquerade& masquerade) {
  std::string text =
      "add table inet tunorch\n"
      "delete table inet tunorch\n"
      "table inet tunorch {\n"
      "  comment \"made by tunorch; removed by tunorch down\"\n"
      "  chain postrouting {\n"
      "    type nat hook postrouting priority srcnat; policy accept;\n";
  for (const Prefix& source : masquerade.sources) text += rule_text(masquerade.dev, source);
  return text + "  }\n}\n";
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

struct Rule {
  std::string dev;
  Prefix source;
};

// Nothing for a rule that rule_text() cannot have written. at() throws where the shape differs.
std::optional<Rule> parse_rule(const json& expressions) {
  if (expressions.size() != 3 || !expressions[2].contains("masquerade")) return std::nullopt;
  const json device = expressions[0].at("match"), source = expressions[1].at("match");
  const bool expected = device.at("op") == "==" && source.at("op") == "==" &&
                        device.at("left").at("meta").at("key") == "oifname" &&
                        source.at("left").at("payload").at("field") == "saddr";
  const auto prefix = parse_source(source.at("right"));
  if (!expected || !prefix) return std::nullopt;
  return Rule{device.at("right").get<std::string>(), *prefix};
}

std::optional<Masquerade> parse_table(const json& items) try {
  Masquerade masquerade;
  for (const json& item : items) {
    if (!item.contains("rule")) continue;
    const auto rule = parse_rule(item["rule"].at("expr"));
    if (!rule || (!masquerade.dev.empty() && masquerade.dev != rule->dev)) return std::nullopt;
    masquerade.dev = rule->dev;
    masquerade.sources.push_back(rule->source);
  }
  std::ranges::sort(masquerade.sources);
  return masquerade;
} catch (const json::exception&) {
  return std::nullopt;
}

}  // namespace

std::string Masquerade::text() const {
  std::string text = "masquerade by " + dev + " from";
  for (const Prefix& source : sources) text += ' ' + source.text();
  return text;
}

std::optional<Masquerade> read_masquerade() {
  if (!has_table()) return std::nullopt;
  return parse_table(run_json("list table inet tunorch")).value_or(Masquerade{});
}

void write_masquerade(const Masquerade& masquerade) {
  check_device(masquerade.dev);
  run(make_context(), transaction_text(masquerade), "write nftables table inet tunorch");
}

void delete_masquerade() {
  run(make_context(), "add table inet tunorch\ndelete table inet tunorch\n",
      "delete nftables table inet tunorch");
}

}  // namespace tunorch::routing
