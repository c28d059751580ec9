// Secrets as they stand in files and logs: none of them is left, and what is around them is.
#include "orchestrator/support/redact.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "orchestrator/config/yaml.hpp"
#include "orchestrator/support/redact_pem.hpp"
#include "orchestrator/support/redact_text.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// Made up here, in the shape that such keys have.
const std::string pem =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n"
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2\n"
    "d3h5eg==\n"
    "-----END PRIVATE KEY-----\n";
const std::string certificate =
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUAAAA\n-----END CERTIFICATE-----\n";

struct Line {
  std::string before, after;
};

class RedactsLine : public testing::TestWithParam<Line> {};

TEST_P(RedactsLine, AndOnlyTheSecret) {
  EXPECT_EQ(redact_text(GetParam().before), GetParam().after);
}

INSTANTIATE_TEST_SUITE_P(
    Urls, RedactsLine,
    testing::Values(Line{"postgresql://vpn:hunter2@10.0.0.1:5432/vpn",
                         "postgresql://vpn:[redacted]@10.0.0.1:5432/vpn"},
                    Line{"cannot reach postgres://vpn:hunter2@h/db: refused",
                         "cannot reach postgres://vpn:[redacted]@h/db: refused"},
                    Line{"postgresql://vpn:p@ss:w/o?rd@h/db", "postgresql://vpn:[redacted]@h/db"},
                    Line{"postgresql://vpn@10.0.0.1:5432/vpn",
                         "postgresql://vpn@10.0.0.1:5432/vpn"},
                    Line{"postgresql://vpn@h/db?password=hunter2&sslmode=require",
                         "postgresql://vpn@h/db?password=[redacted]&sslmode=require"},
                    Line{"a://u:1@h b://v:2@i", "a://u:[redacted]@h b://v:[redacted]@i"},
                    Line{"https://ghp0123@example.net/x", "https://[redacted]@example.net/x"},
                    Line{"see https://example.net:8443/x", "see https://example.net:8443/x"}));

INSTANTIATE_TEST_SUITE_P(
    Assignments, RedactsLine,
    testing::Values(
        Line{"host=h password=hunter2 user=vpn", "host=h password=[redacted] user=vpn"},
        Line{"host=h password='it\\'s it' user=vpn", "host=h password='[redacted]' user=vpn"},
        Line{"host=h password='a''b c' user=vpn", "host=h password='[redacted]' user=vpn"},
        Line{"host=h password=a\\ b user=vpn", "host=h password=[redacted] user=vpn"},
        Line{"host=h password = hunter2 user=vpn", "host=h password = [redacted] user=vpn"},
        Line{"PrivateKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
             "PrivateKey = [redacted]"},
        Line{"PresharedKey=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
             "PresharedKey=[redacted]"},
        Line{"private_key=00112233445566778899aabbccddeeff", "private_key=[redacted]"},
        Line{"  private key: 0123", "  private key: \"[redacted]\""},
        Line{"export DB_PASSWORD=\"a b\" X=1", "export DB_PASSWORD=\"[redacted]\" X=1"},
        Line{"Authorization: Bearer abc.def", "Authorization: \"[redacted]\""},
        Line{"password: hunter2  # the old one: hunter1", "password: \"[redacted]\""},
        Line{"- token: \"a\\\"b\"", "- token: \"[redacted]\""},
        Line{"token: 'it''s'  # c", "token: '[redacted]'  # c"},
        Line{"{X_TOKEN: abc, Y: 1}", "{X_TOKEN: \"[redacted]\", Y: 1}"},
        Line{"env: {A: b, C: d}", "env: \"[redacted]\""},
        Line{"stable_secret = 2001:db8::1", "stable_secret = [redacted]"},
        Line{"secret \"0011aabb\";", "secret \"[redacted]\";"},
        Line{"<password>hunter2</password>", "<password>[redacted]</password>"},
        Line{"sent {\"password\":\"a,b}\",\"n\":1} to",
             "sent {\"password\":\"[redacted]\",\"n\":1} to"},
        Line{R"(sent "{\"psk\":\"a\\\"b\",\"n\":1}" to)",
             R"(sent "{\"psk\":\"[redacted]\",\"n\":1}" to)"},
        Line{"{\"secret\": \"ends in a backslash \\\\\", \"n\": 1}",
             "{\"secret\": \"[redacted]\", \"n\": 1}"},
        Line{"prog --token=[redacted] --port 5", "prog --token=[redacted] --port 5"},
        Line{"host=h password=[a]b user=vpn", "host=h password=[redacted] user=vpn"},
        Line{"password: [a] b", "password: \"[redacted]\""},
        Line{"tokens: [a, b]  # c", "tokens: \"[redacted]\"  # c"},
        Line{"{tokens: [a, b], c: 1}", "{tokens: \"[redacted]\", c: 1}"},
        Line{"X_TOKEN='a'b\"c d\" e=f", "X_TOKEN='[redacted]' e=f"},
        Line{"prog --password hunter2 --port 5", "prog --password [redacted] --port 5"},
        Line{"prog --token=abc --port 5", "prog --token=[redacted] --port 5"},
        Line{"prog --pass 'a b' -x", "prog --pass '[redacted]' -x"}));

INSTANTIATE_TEST_SUITE_P(
    Harmless, RedactsLine,
    testing::Values(Line{"fe_sendauth: no password supplied", "fe_sendauth: no password supplied"},
                    Line{"worker killed tunnel=backbone-0 pid=12 reason=signal",
                         "worker killed tunnel=backbone-0 pid=12 reason=signal"},
                    Line{"10.77.0.1/32 dev backbone-0 proto 116",
                         "10.77.0.1/32 dev backbone-0 proto 116"},
                    Line{"peer: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                         "peer: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
                    Line{"prog --password --port 5", "prog --password --port 5"}, Line{"", ""},
                    Line{"\n\n", "\n\n"}, Line{"password", "password"}));

INSTANTIATE_TEST_SUITE_P(
    Keys, RedactsLine,
    testing::Values(Line{"X-API-Key: 8f3e", "X-API-Key: \"[redacted]\""},
                    Line{"run --api-key correcthorsebattery -v", "run --api-key [redacted] -v"},
                    Line{"run --authkey=correct-horse", "run --authkey=[redacted]"},
                    Line{"encryption_key=abc x", "encryption_key=[redacted]"},
                    Line{"a pw=abc b", "a pw=[redacted] b"},
                    Line{"took password hunter2 there", "took password [redacted] there"},
                    Line{"the password file is missing", "the password file is missing"},
                    Line{"private 10.77.0.0/16 dev lo", "private 10.77.0.0/16 dev lo"},
                    Line{"publickey: abc", "publickey: abc"},
                    Line{"privateKey q83vEjR4 x", "privateKey [redacted] x"}));

TEST(RedactText, TakesWholeBlocksBelowAKey) {
  EXPECT_EQ(redact_text("a: 1\npassword: |\n  one\n  two\nb: 2\n"),
            "a: 1\npassword: \"[redacted]\"\nb: 2\n");
  EXPECT_EQ(redact_text("tokens:\n- one\n- two\nb: 2\n"), "tokens:\n  \"[redacted]\"\nb: 2\n");
  EXPECT_EQ(redact_text("x:\n  env:\n    A: one\n    B: two\n  c: 3\n"),
            "x:\n  env:\n    \"[redacted]\"\n  c: 3\n");
  EXPECT_EQ(redact_text("- password: one\n    two\n  user: u\n"),
            "- password: \"[redacted]\"\n  user: u\n");
}

TEST(RedactText, OfAValueTakesQuotesToo) {
  EXPECT_EQ(redact_text("postgresql://vpn:a\"b@h/db", TextKind::value),
            "postgresql://vpn:[redacted]@h/db");
  EXPECT_EQ(redact_text("user=u password=a\"b host=h", TextKind::value),
            "user=u password=[redacted] host=h");
}

TEST(RedactPem, TakesPrivateBlocksWhole) {
  EXPECT_EQ(redact_pem("a\n" + pem + "b\n"), "a\n[redacted]\nb\n");
  EXPECT_EQ(redact_pem(pem + pem), "[redacted]\n[redacted]\n");
  EXPECT_EQ(redact_pem(certificate), certificate);
  EXPECT_EQ(redact_pem(certificate + pem + certificate),
            certificate + "[redacted]\n" + certificate);
}

TEST(RedactPem, TakesEveryKindThatIsNotPublic) {
  for (const char* kind :
       {"RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK", "OpenVPN Static key V1", "OpenVPN tls-crypt-v2 client key", "ANY"})
    EXPECT_EQ(redact_pem(std::string("-----BEGIN ") + kind + "-----\nc2VjcmV0\n-----END " + kind +
                         "-----\n"),
              "[redacted]\n")
        << kind;
  EXPECT_EQ(redact_pem("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nc2VjcmV0\n"
                       "---- END SSH2 ENCRYPTED PRIVATE KEY ----\n"),
            "[redacted]\n");
}

TEST(RedactPem, TakesWhatALogPutsItsWordsBefore) {
  std::string text, line;
  for (const char c : pem) {
    line += c;
    if (c == '\n') text += "2026-11-22 host prog[1]: " + std::exchange(line, "");
  }
  EXPECT_EQ(redact_pem(text), "2026-11-22 host prog[1]: [redacted]\n");
}

/// Wherever a log is cut, no line of the key is left.
TEST(RedactPem, TakesPartsOfABlock) {
  const std::string text = "before the key\n" + pem + "after the key\n";
  const std::string key = "before the key\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string head = redact_pem(text.substr(0, cut));
    EXPECT_THAT(head, Not(HasSubstr("MIGHAgE"))) << cut;
    EXPECT_THAT(head, Not(HasSubstr("QUJDR"))) << cut;
    if (cut >= key.size()) {
      EXPECT_THAT(head, HasSubstr("before the key")) << cut;
    }
  }
  for (std::size_t at = text.find("QUJD"); at < text.find("-----END"); ++at) {
    const std::string tail = redact_pem(text.substr(at));
    EXPECT_THAT(tail, Not(HasSubstr("ZWZnaGlqa2"))) << at;
    EXPECT_THAT(tail, Not(HasSubstr("d3h5eg"))) << at;
    EXPECT_THAT(tail, HasSubstr("after the key")) << at;
  }
}

TEST(RedactPem, TakesItInsideJsonAndYaml) {
  const json value{{"key_pem", pem}, {"n", 1}};
  const std::string clean = redact_text(value.dump());
  EXPECT_EQ(json::parse(clean), (json{{"key_pem", "[redacted]\n"}, {"n", 1}}));
  EXPECT_EQ(redact_pem(
                "k: |\n  -----BEGIN PRIVATE KEY-----\n  c2Vj\n  -----END PRIVATE KEY-----\nb: 1\n"),
            "k: |\n  [redacted]\nb: 1\n");
}

TEST(Redact, JsonStaysJson) {
  const json before{{"url", "postgresql://u:hunter2@h/db"},
                    {"env", {{"A", "one"}, {"B", {1, 2}}}},
                    {"db", {{"password", "x\"y"}, {"PassCount", 7}, {"user", "u"}}},
                    {"argv", {"prog", "--token", "abc", "--port", "5"}},
                    {"key", pem},
                    {"n", {1, 2.5, true, nullptr}},
                    {"log", "user=u password=a\"b host=h"}};
  const json after{{"url", "postgresql://u:[redacted]@h/db"},
                   {"env", {{"A", "[redacted]"}, {"B", {"[redacted]", "[redacted]"}}}},
                   {"db", {{"password", "[redacted]"}, {"PassCount", "[redacted]"}, {"user", "u"}}},
                   {"argv", {"prog", "--token", "[redacted]", "--port", "5"}},
                   {"key", "[redacted]\n"},
                   {"n", {1, 2.5, true, nullptr}},
                   {"log", "user=u password=[redacted] host=h"}};
  EXPECT_EQ(json::parse(redact(before.dump())), after);
  EXPECT_EQ(json::parse(redact(before.dump(2) + "\n")), after);
  const std::string lines = redact(before.dump() + "\n" + before.dump() + "\n");
  const auto middle = lines.find('\n');
  EXPECT_EQ(json::parse(lines.substr(0, middle)), after);
  EXPECT_EQ(json::parse(lines.substr(middle + 1)), after);
}

/// As where a program's output was cut after some line.
TEST(Redact, WhatIsNoWholeJsonIsStillClean) {
  const json value{{"a", {{"password", "hunter2"}, {"url", "a://u:hunter2@h"}}},
                   {"tokens", {"hunter2", "hunter2"}},
                   {"z", pem}};
  const std::string text = value.dump(2);
  for (auto at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
    EXPECT_THAT(redact(text.substr(0, at + 1)), Not(HasSubstr("hunter2"))) << text.substr(0, at);
    EXPECT_THAT(redact(text.substr(0, at + 1)), Not(HasSubstr("QUJD"))) << text.substr(0, at);
  }
}

TEST(Redact, TakesKnownSecretsWhereverTheyStand) {
  const KnownSecrets known{"abc-123-xyz", "abc-123-xyz-longer"};
  EXPECT_EQ(redact("/usr/bin/prog -p abc-123-xyz-longer x\n", known),
            "/usr/bin/prog -p [redacted] x\n");
  EXPECT_EQ(redact("{\"argv\":[\"-pabc-123-xyz\"]}", known), "{\"argv\":[\"-p[redacted]\"]}");
}

/// Whatever a log has in it: no exception, no bound overstepped, and PEM stays out.
TEST(Redact, SurvivesAnything) {
  const std::vector<std::string> pieces{
      "password", "token", "env",  "key",    ":",    "=",      "\"",   "'", "\\", "{",
      "}",        "[",     "]",    ",",      " ",    "  ",     "\n",   "-", "|",  "://",
      "@",        "?a=",   "&",    "<",      ">",    "--pass", "word", "1", "#",  "é",
      "\t",       "\xff",  "\r\n", "BEGIN ", "END ", "-----",  pem};
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (auto left = random() % 30; left > 0; --left) text += pieces[random() % pieces.size()];
    EXPECT_THAT(redact(text, {"word"}), Not(HasSubstr("QUJDREVGR0h"))) << text;
    redact_text(text, TextKind::value);
    redact_cluster_file(text);
  }
}

TEST(Redact, IsQuickWithWhatIsMadeToBeSlow) {
  const auto begin = std::chrono::steady_clock::now();
  constexpr std::size_t size = 1024 * 1024;
  for (const char* unit : {"://", "://a:", "password=", "password: {", "\\\"", "-----BEGIN ", "[",
                           "{\"a\":", "-----BEGIN X-----\n", "-----END X-----\nAAAA\n", "- ",
                           "password:\n ", "@", "'", "token '"}) {
    std::string text;
    while (text.size() < size) text += unit;
    redact(text);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

const std::string file = R"(# the password was hunter0
cluster: demo
nodes: {gateway: {endpoint: 10.66.0.1, inner: [10.77.0.1/32]}, edge: {inner: ["10.77.0.2/32"]}}
bundles:
  rows:
    listen: gateway
    dial: [edge]
    tunnels: 2
    transport: postgres
    postgres: {url: "postgresql://vpn:hunter2-long@10.66.0.1/vpn", keep: 1h}
  mesh:
    listen: gateway
    dial: [edge]
    engine: command
    command:
      listen: [prog, --key-from, "{dir}", --api-token=s3cr3t-token-1, -p, hunter3x, plain]
      dial: [prog, --password, hunter4-long]
      env: {X_TOKEN: hunter5-long, LEVEL: debug}
      files:
        prog.conf: |
          secret "0123456789abcdef0123";
          login hunter6
    openvpn: {extra_args: [--auth, hunter7]}
)";

TEST(RedactFile, KeepsTheFilesStructureAndNoSecret) {
  const RedactedFile clean = redact_cluster_file(file);
  for (const char* secret : {"hunter", "s3cr3t", "0123456789abcdef", "debug", "plain"})
    EXPECT_THAT(clean.text, Not(HasSubstr(secret)));
  const YamlNode root = read_yaml(clean.text, "clean");
  const YamlNode& bundles = *root.find("bundles");
  EXPECT_EQ(root.find("cluster")->text, "demo");
  EXPECT_EQ(root.find("nodes")->find("edge")->find("inner")->items.at(0).text, "10.77.0.2/32");
  EXPECT_EQ(bundles.find("rows")->find("tunnels")->text, "2");
  EXPECT_FALSE(bundles.find("rows")->find("tunnels")->quoted);
  EXPECT_EQ(bundles.find("rows")->find("postgres")->find("url")->text,
            "postgresql://vpn:[redacted]@10.66.0.1/vpn");
  const YamlNode& command = *bundles.find("mesh")->find("command");
  std::vector<std::string> words;
  for (const YamlNode& word : command.find("listen")->items) words.push_back(word.text);
  EXPECT_THAT(words, testing::ElementsAre("prog", "--key-from", "{dir}", "--api-token=[redacted]",
                                          "-p", "[redacted]", "[redacted]"));
  EXPECT_EQ(command.find("dial")->items.at(2).text, "[redacted]");
  EXPECT_EQ(command.find("env")->find("X_TOKEN")->text, "[redacted]");
  EXPECT_EQ(command.find("files")->find("prog.conf")->text, "[redacted]");
}

TEST(RedactFile, LearnsWhatIsSecretElsewhere) {
  const KnownSecrets secrets = redact_cluster_file(file).secrets;
  for (const char* secret : {"hunter2-long", "s3cr3t-token-1", "hunter3x", "hunter4-long",
                             "hunter5-long", "0123456789abcdef0123"})
    EXPECT_THAT(secrets, testing::Contains(secret));
  for (const char* word : {"gateway", "prog", "10.77.0.1/32", "plain", "--password", "2"})
    EXPECT_THAT(secrets, Not(testing::Contains(word)));
}

TEST(RedactFile, StaysAsItWasWhereThereIsNoSecret) {
  const std::string text =
      "cluster: demo\nempty: {}\nnone: null\nlist:\n  - 1\n  - \"2\"\n  -\n    a: \"b: c\"\n";
  EXPECT_EQ(redact_cluster_file(text).text, text);
  EXPECT_EQ(redact_cluster_file(redact_cluster_file(file).text).text,
            redact_cluster_file(file).text);
}

TEST(RedactFile, OfABrokenFileTakesSecretsByItsLines) {
  const std::string clean = redact_cluster_file("a: [\npassword: hunter2\n").text;
  EXPECT_THAT(clean, HasSubstr("password: \"[redacted]\""));
}

}  // namespace
}  // namespace tunorch
