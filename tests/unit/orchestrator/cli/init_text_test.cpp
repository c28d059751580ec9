#include "orchestrator/cli/init_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "orchestrator/config/load.hpp"

namespace tunorch {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Variant {
  std::string name;
  InitAnswers answers;
};

std::vector<std::string> many(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back("edge-" + std::to_string(i));
  return names;
}

InitAnswers answered(const InitAnswers& some) {
  return filled_up(some);
}

std::vector<Variant> variants() {
  return {
      {"defaults", answered({})},
      {"metrics", answered({.metrics = usual_metrics})},
      {"metrics_at_an_ipv6_address", answered({.metrics = "[::1]:9810"})},
      {"one_tunnel", answered({.tunnels = "1"})},
      {"most_tunnels", answered({.tunnels = "64"})},
      {"two_dialers", answered({.dialers = {"edge", "branch"}})},
      {"a_list_of_dialers", answered({.dialers = many(5)})},
      {"more_dialers_than_a_byte", answered({.dialers = many(600)})},
      {"v6_endpoint", answered({.endpoint = "2001:db8::"})},
      {"loopback6_endpoint", answered({.endpoint = "::1"})},
      {"names_with_dots", answered({.listener = "gw.example.net", .dialers = {"1.example.net"}})},
      {"numbers_as_names", answered({.cluster = "1", .listener = "007", .dialers = {"8", "1e3"}})},
      {"words_of_yaml",
       answered({.cluster = "null", .listener = "no", .dialers = {"true", "null", "y"}})},
  };
}

class EachVariant : public testing::TestWithParam<Variant> {};

TEST_P(EachVariant, IsLoadedAndSaysWhatWasAnswered) {
  const InitAnswers& answers = GetParam().answers;
  EXPECT_EQ(init_fault(answers), "");
  const Cluster cluster = parse_cluster(init_text(answers, "schema.json"), "cluster.yaml", "/x");
  EXPECT_EQ(cluster.name, answers.cluster);
  EXPECT_EQ(cluster.pki_dir, "/x/pki");
  ASSERT_EQ(cluster.bundles.size(), 1U);
  const Bundle& bundle = cluster.bundles.front();
  EXPECT_EQ(bundle.listen, answers.listener);
  EXPECT_EQ(bundle.dial, answers.dialers);
  EXPECT_EQ(bundle.tunnels.size(), std::stoul(answers.tunnels));
  EXPECT_EQ(bundle.port, 4430);
  ASSERT_EQ(cluster.nodes.size(), answers.dialers.size() + 1);
  EXPECT_EQ(cluster.nodes[0].name, answers.listener);
  EXPECT_EQ(cluster.nodes[0].endpoints.size(), 1U);
  EXPECT_EQ(cluster.nodes[0].inner[0].text(), "10.77.0.1/32");
  EXPECT_EQ(cluster.nodes[0].inner[1].text(), "fd77::1/128");
  EXPECT_EQ(cluster.nodes[1].inner[0].text(), "10.77.0.2/32");
}

TEST_P(EachVariant, SaysWhatEachKeyIsFor) {
  const std::string text = init_text(GetParam().answers, "/s/cluster.schema.json");
  EXPECT_THAT(text, StartsWith("# yaml-language-server: $schema=/s/cluster.schema.json\n"));
  for (const char* key : {"cluster", "endpoint", "listen", "dial", "tunnels", "port", "pki"})
    EXPECT_THAT(text, testing::ContainsRegex(std::string("\n *") + key + ":[^\n]*  # [a-z]"))
        << key;
}

INSTANTIATE_TEST_SUITE_P(Files, EachVariant, testing::ValuesIn(variants()),
                         [](const auto& info) { return info.param.name; });

TEST(InitText, HasThePageOnlyWhereItIsWanted) {
  EXPECT_THAT(init_text(answered({.metrics = usual_metrics}), ""),
              HasSubstr("\nmetrics: 127.0.0.1:9810  "));
  EXPECT_THAT(init_text(answered({.metrics = "[::1]:9810"}), ""),
              HasSubstr("\nmetrics: \"[::1]:9810\"  "));
  EXPECT_THAT(init_text(answered({.metrics = metrics_off}), ""),
              testing::Not(HasSubstr("metrics")));
}

TEST(InitText, NamesTheFirewallsPorts) {
  EXPECT_THAT(init_text(answered({.tunnels = "4"}), ""), HasSubstr("let TCP 4430 to 4433 in"));
  EXPECT_THAT(init_text(answered({.tunnels = "1"}), ""), HasSubstr("let TCP 4430 in"));
}

struct Bad {
  std::string name;
  InitAnswers answers;
  std::string says;
};

class BadAnswer : public testing::TestWithParam<Bad> {};

TEST_P(BadAnswer, IsRefusedInTheLoadersWords) {
  EXPECT_THAT(init_fault(answered(GetParam().answers)), HasSubstr(GetParam().says));
}

// Also what would say more than one key, were it not quoted.
INSTANTIATE_TEST_SUITE_P(
    Each, BadAnswer,
    testing::Values(Bad{"cluster", {.cluster = "My Cluster"}, "My Cluster"},
                    Bad{"listener", {.listener = "Gateway"}, "Gateway"},
                    Bad{"ca", {.listener = "ca"}, "ca"},
                    Bad{"itself", {.listener = "edge", .dialers = {"edge"}}, "edge"},
                    Bad{"twice", {.dialers = {"edge", "edge"}}, "edge"},
                    Bad{"endpoint", {.endpoint = "gateway.example.net"}, "not an IP address"},
                    Bad{"no_tunnels", {.tunnels = "0"}, "0"},
                    Bad{"too_many_tunnels", {.tunnels = "65"}, "65"},
                    Bad{"words_for_tunnels", {.tunnels = "four"}, "four"},
                    Bad{"a_list_for_tunnels", {.tunnels = "[{weight: 3}]"}, "weight"},
                    Bad{"another_key", {.cluster = "demo\nprotocol: 7"}, "demo"},
                    Bad{"a_comment", {.endpoint = "203.0.113.10 # here"}, "not an IP address"},
                    Bad{"no_utf8", {.cluster = "\xff\x01"}, "allowed"}),
    [](const auto& info) { return info.param.name; });

TEST(InitText, SplitsNames) {
  EXPECT_THAT(split_names("edge"), testing::ElementsAre("edge"));
  EXPECT_THAT(split_names(" edge, branch,,third "),
              testing::ElementsAre("edge", "branch", "third"));
  EXPECT_TRUE(split_names(" , ").empty());
}

TEST(InitText, FillsUpWithoutAConflict) {
  EXPECT_EQ(filled_up({.listener = "edge"}).dialers, std::vector<std::string>{"branch"});
  EXPECT_EQ(filled_up({.dialers = {"gateway"}}).listener, "hub");
  const InitAnswers given{"a", "b", "192.0.2.1", {"c"}, "2", "off"};
  EXPECT_EQ(filled_up(given), given);
}

TEST(InitText, NextStepsNameEachHostsFilesAndNoOthersKey) {
  const std::string text = init_next_steps(
      answered({.endpoint = "2001:db8::1", .dialers = {"edge", "branch"}}), "try", "demo.yaml");
  EXPECT_THAT(text, HasSubstr("\n  cd try\n"));
  EXPECT_THAT(text, HasSubstr("scp pki/ca.crt pki/gateway.crt pki/gateway.key "
                              "\"root@[2001:db8::1]:/etc/tunorch/pki/\""));
  EXPECT_THAT(text, HasSubstr("scp pki/ca.crt pki/branch.crt pki/branch.key "));
  EXPECT_THAT(text, HasSubstr("tunorch doctor /etc/tunorch/demo.yaml"));
  EXPECT_THAT(text, HasSubstr("tunorch apply /etc/tunorch/demo.yaml"));
  EXPECT_THAT(text, testing::Not(HasSubstr("scp pki/ca.key")));
  EXPECT_THAT(init_next_steps(answered({.dialers = many(9)}), "try", "a.yaml"),
              HasSubstr("scp pki/ca.crt pki/$node.crt pki/$node.key \"root@$node:"));
}

}  // namespace
}  // namespace tunorch
