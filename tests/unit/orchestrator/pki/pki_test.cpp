// Certificates made, kept and refused, in a folder of the test's own.
#include "orchestrator/pki/pki.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "orchestrator/pki/wireguard.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using std::chrono::days;
using std::chrono::hours;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::StartsWith;

const PkiTime now = std::chrono::system_clock::now();

std::string contents(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

std::string failure_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

class Pki : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tunorch-pki-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    dir_ = root_ / "pki";
  }
  void TearDown() override { fs::remove_all(root_); }

  Cluster cluster(const std::vector<std::string>& nodes) const {
    Cluster cluster;
    cluster.name = "demo";
    cluster.pki_dir = dir_.string();
    for (const std::string& name : nodes) cluster.nodes.emplace_back().name = name;
    return cluster;
  }
  std::vector<std::string> init(PkiTime at = now) const {
    return init_pki(cluster({"gateway", "edge"}), at);
  }
  std::string load_failure(const std::string& node, PkiTime at = now) const {
    return failure_of([&] { load_keys(dir_, node, at); });
  }
  /// What `load_keys` or `init` says of a file in the folder: "cannot VERB PATH: CAUSE".
  auto says(const std::string& verb, const std::string& file, const std::string& cause) const {
    return AllOf(StartsWith("cannot " + verb + " " + (dir_ / file).string() + ": "),
                 HasSubstr(cause));
  }
  void copy(const std::string& from, const std::string& to) const {
    fs::copy_file(dir_ / from, dir_ / to, fs::copy_options::overwrite_existing);
  }

  fs::path root_, dir_;
};

TEST_F(Pki, MakesACaAndAPairANode) {
  const std::vector<std::string> lines = init();
  EXPECT_EQ(lines.size(), 6U);
  EXPECT_THAT(lines, Each(StartsWith("made " + dir_.string())));
  const NodeKeys keys = load_keys(dir_, "edge", now);
  EXPECT_EQ(keys.ca_pem, contents(dir_ / "ca.crt"));
  EXPECT_EQ(keys.certificate_pem, contents(dir_ / "edge.crt"));
  EXPECT_EQ(keys.key_pem, contents(dir_ / "edge.key"));
  EXPECT_THAT(keys.key_pem, StartsWith("-----BEGIN PRIVATE KEY-----"));
}

TEST_F(Pki, HidesKeysWhateverTheUmask) {
  const mode_t before = ::umask(0);
  init();
  ::umask(before);
  EXPECT_EQ(mode_of(dir_), 0700U);
  for (const char* key : {"ca.key", "gateway.key", "edge.key"})
    EXPECT_EQ(mode_of(dir_ / key), 0600U) << key;
  for (const char* certificate : {"ca.crt", "gateway.crt", "edge.crt"})
    EXPECT_EQ(mode_of(dir_ / certificate), 0644U) << certificate;
}

TEST_F(Pki, LeavesNoTemporaryFiles) {
  init();
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(dir_)) ++files;
  EXPECT_EQ(files, 6U);
}

TEST_F(Pki, KeepsWhatIsThere) {
  init();
  const std::string before = contents(dir_ / "edge.crt") + contents(dir_ / "ca.crt");
  EXPECT_THAT(init(now + hours(1)), Each(StartsWith("kept ")));
  EXPECT_EQ(contents(dir_ / "edge.crt") + contents(dir_ / "ca.crt"), before);
}

TEST_F(Pki, AddsANodeThatCameLater) {
  init();
  const std::string before = contents(dir_ / "edge.crt");
  const auto lines = init_pki(cluster({"edge", "third"}), now);
  EXPECT_THAT(lines, testing::Contains("made " + (dir_ / "third.crt").string()));
  EXPECT_THAT(lines, testing::Contains("kept " + (dir_ / "edge.crt").string()));
  EXPECT_EQ(contents(dir_ / "edge.crt"), before);
  EXPECT_EQ(load_failure("third"), "");
}

TEST_F(Pki, RenewsARemovedCertificateForTheSameKey) {
  init();
  const std::string key = contents(dir_ / "edge.key");
  fs::remove(dir_ / "edge.crt");
  init();
  EXPECT_EQ(contents(dir_ / "edge.key"), key);
  EXPECT_EQ(load_failure("edge"), "");
}

TEST_F(Pki, GivesEachCertificateItsOwnSerial) {
  init();
  const std::string first = contents(dir_ / "edge.crt");
  fs::remove(dir_ / "edge.crt");
  init();
  EXPECT_NE(contents(dir_ / "edge.crt"), first);
}

TEST_F(Pki, RefusesHalfACa) {
  init();
  fs::rename(dir_ / "ca.key", root_ / "ca.key");
  EXPECT_THAT(failure_of([&] { init(); }), says("sign with", "ca.crt", "ca.key is missing"));
  fs::remove(dir_ / "ca.crt");
  fs::rename(root_ / "ca.key", dir_ / "ca.key");
  EXPECT_THAT(failure_of([&] { init(); }), says("sign with", "ca.key", "ca.crt is missing"));
}

TEST_F(Pki, RefusesACaKeyOfAnotherCa) {
  init();
  copy("edge.key", "ca.key");
  EXPECT_THAT(failure_of([&] { init(); }), says("use", "ca.key", "it is not the key of"));
}

TEST_F(Pki, RefusesToSignWithACaKeyOthersCanRead) {
  init();
  ::chmod((dir_ / "ca.key").c_str(), 0640);
  EXPECT_THAT(failure_of([&] { init(); }), says("use", "ca.key", "run chmod 600"));
}

TEST_F(Pki, RefusesToKeepACertificateWithoutItsKey) {
  init();
  fs::remove(dir_ / "edge.key");
  EXPECT_THAT(failure_of([&] { init(); }), says("use", "edge.crt", "edge.key is missing"));
}

TEST_F(Pki, RefusesToKeepACertificateOfAnotherCa) {
  init();
  fs::remove(dir_ / "ca.crt");
  fs::remove(dir_ / "ca.key");
  EXPECT_THAT(failure_of([&] { init(); }), says("use", "gateway.crt", "it is not signed by"));
}

TEST_F(Pki, SaysWhichFileIsMissing) {
  init();
  EXPECT_THAT(load_failure("nobody"),
              says("read", "nobody.crt", "`tunorch pki init` makes it, once for all nodes"));
  fs::remove(dir_ / "edge.key");
  EXPECT_THAT(load_failure("edge"), says("read", "edge.key", "it does not exist"));
}

TEST_F(Pki, RefusesAKeyOthersCanRead) {
  init();
  for (const mode_t mode : {0640U, 0604U, 0610U}) {
    ::chmod((dir_ / "edge.key").c_str(), mode);
    EXPECT_THAT(load_failure("edge"),
                says("use", "edge.key", "run chmod 600 " + (dir_ / "edge.key").string()));
  }
  ::chmod((dir_ / "edge.key").c_str(), 0400);
  EXPECT_EQ(load_failure("edge"), "");
}

TEST_F(Pki, RefusesAKeyOfAnotherCertificate) {
  init();
  copy("gateway.key", "edge.key");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.key", "it is not the key of"));
}

TEST_F(Pki, RefusesTheCertificateOfAnotherNode) {
  init();
  copy("gateway.key", "edge.key");
  copy("gateway.crt", "edge.crt");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it is not for node 'edge'"));
}

TEST_F(Pki, RefusesTheCertificateOfAnotherCaOfTheSameName) {
  init();
  fs::rename(dir_ / "ca.crt", root_ / "ca.crt");
  for (const auto& entry : fs::directory_iterator(dir_)) fs::remove(entry.path());
  init();
  fs::remove(dir_ / "ca.crt");
  fs::rename(root_ / "ca.crt", dir_ / "ca.crt");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it is not signed by"));
}

TEST_F(Pki, RefusesTheCaAsANode) {
  init();
  copy("ca.key", "edge.key");
  copy("ca.crt", "edge.crt");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it is not for node 'edge'"));
}

TEST_F(Pki, RenewsANodesPairByTheSameCa) {
  init();
  const auto all = [&] {
    std::vector<std::string> texts;
    for (const char* file :
         {"ca.crt", "ca.key", "gateway.crt", "gateway.key", "edge.crt", "edge.key"})
      texts.push_back(contents(dir_ / file));
    return texts;
  };
  const auto before = all();
  EXPECT_THAT(renew_pki(cluster({"gateway", "edge"}), {"edge"}, now + days(700)),
              testing::ElementsAre("made " + (dir_ / "edge.crt").string(),
                                   "made " + (dir_ / "edge.key").string()));
  auto after = all();
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 4, after.begin())) << "only edge's";
  EXPECT_NE(before[4], after[4]);
  EXPECT_NE(before[5], after[5]);
  EXPECT_EQ(load_failure("edge", now + days(1000)), "") << "it lives on";
  EXPECT_EQ(renew_pki(cluster({"gateway", "edge"}), {}, now).size(), 4U);
  EXPECT_NE(all()[2], after[2]) << "all, where none is named";
}

TEST_F(Pki, RenewsNothingWhereItCannotSign) {
  init();
  const std::string before = contents(dir_ / "edge.key");
  EXPECT_THAT(failure_of([&] { renew_pki(cluster({"edge"}), {"egde"}, now); }),
              StartsWith("cannot renew egde: cluster 'demo' has no such node"));
  fs::rename(dir_ / "ca.key", dir_ / "away");
  EXPECT_THAT(failure_of([&] { renew_pki(cluster({"edge"}), {}, now); }),
              says("sign with", "ca.key", "it is not here"));
  EXPECT_EQ(contents(dir_ / "edge.key"), before);
  EXPECT_EQ(load_failure("edge"), "");
}

TEST_F(Pki, RefusesWhatIsNoPem) {
  init();
  std::ofstream(dir_ / "edge.crt") << "not a certificate\n";
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it is not a certificate in PEM"));
  init_pki(cluster({"third"}), now);
  std::ofstream(dir_ / "third.key") << "not a key\n";
  EXPECT_THAT(load_failure("third"), says("use", "third.key", "it is not a private key in PEM"));
}

TEST_F(Pki, CertificatesLiveAsLongAsPromised) {
  init();
  EXPECT_EQ(load_failure("edge", now - backdated + std::chrono::seconds(1)), "");
  EXPECT_EQ(load_failure("edge", now + node_life - hours(1)), "");
  EXPECT_THAT(load_failure("edge", now + node_life + hours(1)),
              says("use", "edge.crt", "it has expired"));
}

TEST_F(Pki, RefusesACertificateOfTheFuture) {
  init(now + days(2));
  EXPECT_THAT(load_failure("edge"),
              AllOf(StartsWith("cannot use "), HasSubstr("set this host's clock")));
}

TEST_F(Pki, NamesTheCaWhereThatHasExpired) {
  init();
  const PkiTime late = now + ca_life - days(30);
  fs::remove(dir_ / "edge.crt");
  init_pki(cluster({"edge"}), late);
  EXPECT_EQ(load_failure("edge", late), "");
  EXPECT_THAT(load_failure("edge", late + days(60)), says("use", "ca.crt", "it has expired"));
}

TEST_F(Pki, WireGuardKeysAreMadeWhereTheyAreNeeded) {
  Cluster with = cluster({"a", "b", "c"});
  init_pki(with);
  EXPECT_FALSE(fs::exists(dir_ / "a.wg.key"));
  Bundle& bundle = with.bundles.emplace_back();
  bundle.listen = "a";
  bundle.dial = {"b"};
  bundle.tunnels.emplace_back().engine = Engine::wireguard;
  init_pki(with);
  EXPECT_FALSE(fs::exists(dir_ / "c.wg.key")) << "no part in it";
  const auto a = load_wireguard_keys(dir_, "a", {"b"}), b = load_wireguard_keys(dir_, "b", {"a"});
  EXPECT_EQ(a.private_key.size(), 64U);
  EXPECT_NE(a.private_key, b.private_key);
  EXPECT_NE(a.public_keys.at("b"), b.public_keys.at("a"));
  init_pki(with);
  EXPECT_EQ(load_wireguard_keys(dir_, "a", {"b"}).private_key, a.private_key) << "kept";
  EXPECT_EQ(fs::status(dir_ / "a.wg.key").permissions(), fs::perms(0600));
}

TEST_F(Pki, WireGuardKeysThatAreWrongAreNamed) {
  Cluster with = cluster({"a", "b"});
  Bundle& bundle = with.bundles.emplace_back();
  bundle.listen = "a";
  bundle.dial = {"b"};
  bundle.tunnels.emplace_back().engine = Engine::wireguard;
  init_pki(with);
  const auto says = [&](const char* words, const auto& call) {
    try {
      call();
      FAIL() << "nothing was said of " << words;
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  };
  fs::permissions(dir_ / "a.wg.key", fs::perms(0644));
  says("chmod 600", [&] { load_wireguard_keys(dir_, "a", {"b"}); });
  fs::permissions(dir_ / "a.wg.key", fs::perms(0600));
  std::ofstream(dir_ / "b.wg.pub") << "no key\n";
  says("b.wg.pub: it is not a WireGuard key", [&] { load_wireguard_keys(dir_, "a", {"b"}); });
  fs::copy_file(dir_ / "a.wg.pub", dir_ / "b.wg.pub", fs::copy_options::overwrite_existing);
  says("it is not the public key of", [&] { init_pki(with); });
  fs::remove(dir_ / "b.wg.key");
  says("b.wg.key is missing", [&] { init_pki(with); });
}

TEST_F(Pki, RevokesACertificateForGood) {
  init();
  copy("edge.crt", "old.crt");
  copy("edge.key", "old.key");
  const auto lines = revoke_pki(cluster({"gateway", "edge"}), {"edge"}, now);
  EXPECT_EQ(lines.size(), 4U);
  EXPECT_FALSE(fs::exists(dir_ / "edge.crt"));
  EXPECT_FALSE(fs::exists(dir_ / "edge.key"));
  EXPECT_EQ(load_keys(dir_, "gateway", now).crl_pem, contents(dir_ / "ca.crl"));
  copy("old.crt", "edge.crt");
  copy("old.key", "edge.key");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it was revoked"));
  // It may come back with new keys, and another one's revocation keeps the first on the list.
  fs::remove(dir_ / "edge.crt");
  fs::remove(dir_ / "edge.key");
  init();
  EXPECT_EQ(load_failure("edge"), "");
  revoke_pki(cluster({"gateway", "edge"}), {"gateway"}, now);
  copy("old.crt", "edge.crt");
  copy("old.key", "edge.key");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it was revoked"));
}

TEST_F(Pki, RevokesOnlyNodesOfThisCasAndAllOrNone) {
  init();
  const auto refusal = [&](const std::vector<std::string>& nodes) {
    return failure_of([&] { revoke_pki(cluster({"gateway", "edge"}), nodes, now); });
  };
  EXPECT_THAT(refusal({"gateway", "gone"}), HasSubstr("no such node; it has gateway, edge"));
  EXPECT_THAT(refusal({"edge", "ca"}), says("revoke", "ca.crt", "no node's certificate"));
  fs::create_directory(root_ / "elsewhere");
  copy("edge.crt", "../elsewhere/web.crt");
  EXPECT_THAT(refusal({"../elsewhere/web"}), HasSubstr("it is not for node '../elsewhere/web'"));
  EXPECT_TRUE(fs::exists(root_ / "elsewhere/web.crt"));
  EXPECT_FALSE(fs::exists(dir_ / "ca.crl"));
  EXPECT_EQ(load_failure("gateway") + load_failure("edge"), "");
  fs::remove(dir_ / "edge.crt");
  EXPECT_THAT(refusal({"edge"}), says("revoke", "edge.crt", "--certificate FILE"));
}

TEST_F(Pki, RevokesAnOldCertificateAndLeavesTheNewOne) {
  init();
  copy("edge.crt", "old.crt");
  copy("edge.key", "old.key");
  renew_pki(cluster({"gateway", "edge"}), {"edge"}, now);
  revoke_certificate(cluster({"gateway", "edge"}), dir_ / "old.crt", now);
  EXPECT_EQ(load_failure("edge"), "");
  copy("old.crt", "edge.crt");
  copy("old.key", "edge.key");
  EXPECT_THAT(load_failure("edge"), says("use", "edge.crt", "it was revoked"));
  EXPECT_THAT(failure_of([&] { revoke_certificate(cluster({"gateway"}), dir_ / "ca.crt", now); }),
              says("revoke", "ca.crt", "no node's certificate"));
}

TEST_F(Pki, ARevokedNodeDoesNotComeBackByRenewingTheOthers) {
  init();
  revoke_pki(cluster({"gateway", "edge"}), {"edge"}, now);
  const auto lines = renew_pki(cluster({"gateway", "edge"}), {}, now);
  EXPECT_THAT(lines.back(), HasSubstr("it is not there; `tunorch pki init` makes it"));
  EXPECT_FALSE(fs::exists(dir_ / "edge.key"));
  EXPECT_THAT(failure_of([&] {
                renew_pki(cluster({"gateway", "edge"}), {"edge"}, now);
              }),
              says("renew", "edge.crt", "it is not there"));
}

TEST_F(Pki, RefusesAListThatIsNotTheCas) {
  init();
  revoke_pki(cluster({"gateway", "edge"}), {"edge"}, now);
  fs::rename(dir_ / "ca.crl", root_ / "ca.crl");
  fs::remove_all(dir_);
  init();
  fs::rename(root_ / "ca.crl", dir_ / "ca.crl");
  EXPECT_THAT(load_failure("edge"), says("use", "ca.crl", "it is not the CA's list"));
  std::ofstream(dir_ / "ca.crl") << "nonsense";
  EXPECT_THAT(load_failure("edge"), says("use", "ca.crl", "it is not the CA's list"));
}

TEST_F(Pki, WarnsAMonthBeforeTheEnd) {
  init();
  const CertificateEnds ends = load_keys(dir_, "edge", now).ends;
  const PkiTime expires = ends.node;
  EXPECT_GT(expires, now + days(729));
  EXPECT_GT(ends.ca, now + days(3649));
  EXPECT_EQ(expiry_words("edge", ends, expires - days(31)), "");
  EXPECT_THAT(expiry_words("edge", ends, expires - days(29)), HasSubstr("expires in 29 days"));
  EXPECT_THAT(expiry_words("edge", ends, expires - hours(25)), HasSubstr("expires in 1 day;"));
  EXPECT_THAT(expiry_words("edge", ends, expires + hours(1)), HasSubstr("has expired"));
  EXPECT_THAT(expiry_words("edge", {ends.ca + days(1), ends.ca}, ends.ca - days(9)),
              HasSubstr("the cluster's CA expires in 9 days"));
}

}  // namespace
}  // namespace tunorch
