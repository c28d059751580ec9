// Our nftables table in a namespace of the test's own (namespace.hpp), compared with what
// nft(8) prints of it.
#include "routing/nft.hpp"

#include <gmock/gmock.h>

#include <array>
#include <cstdio>

#include "base/owned.hpp"
#include "tests/unit/routing/namespace.hpp"

namespace tunorch::routing {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string nft(const std::string& arguments) {
  const Owned<FILE, pclose> pipe(::popen(("nft " + arguments).c_str(), "r"));
  std::string output;
  std::array<char, 4096> chunk;
  while (const auto n = std::fread(chunk.data(), 1, chunk.size(), pipe.get()))
    output.append(chunk.data(), n);
  return output;
}

class NftTableTest : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (nft("--version").find("nftables") == std::string::npos) cannot_run("needs nft(8)");
  }
};

// Nested, a whole address, and everything; two sets of devices, and a set of one.
NftTable wanted() {
  return {Masquerade{
              "eth0",
              {prefix("0.0.0.0/0"), prefix("10.0.0.0/8"), prefix("10.1.0.0/16"),
               prefix("10.77.0.2/32"), prefix("::/0"), prefix("fd00::/8"), prefix("fd77::2/128")}},
          {{"a-0", "a-1", "a-2"}, {"b-0"}}};
}

TEST_F(NftTableTest, IsReadBackAsWritten) {
  EXPECT_EQ(read_nft_table(), std::nullopt);
  write_nft_table(wanted());
  EXPECT_EQ(read_nft_table(), wanted());
  for (const NftTable& part :
       {NftTable{wanted().masquerade, {}}, NftTable{{}, wanted().isolated}}) {
    write_nft_table(part);
    EXPECT_EQ(read_nft_table(), part) << part.text();
  }
}

TEST_F(NftTableTest, SaysWhatNftUnderstands) {
  write_nft_table(wanted());
  const std::string rules = nft("list ruleset");
  EXPECT_THAT(rules, HasSubstr("comment \"made by tunorch"));
  EXPECT_THAT(rules, HasSubstr("type nat hook postrouting priority srcnat"));
  EXPECT_THAT(rules, HasSubstr("oifname \"eth0\" ip saddr 10.1.0.0/16 masquerade"));
  EXPECT_THAT(rules, HasSubstr("oifname \"eth0\" ip6 saddr fd77::2 masquerade"));
  EXPECT_THAT(rules, HasSubstr("type filter hook forward priority filter"));
  EXPECT_THAT(rules, HasSubstr("iifname { \"a-0\", \"a-1\", \"a-2\" } oifname { \"a-0\", \"a-1\", "
                               "\"a-2\" } drop"));
}

TEST_F(NftTableTest, IsReplacedAsAWhole) {
  write_nft_table(wanted());
  const NftTable other{Masquerade{"wan0", {prefix("192.0.2.0/24")}}, {{"c-0", "c-1"}}};
  write_nft_table(other);
  EXPECT_EQ(read_nft_table(), other);
  EXPECT_THAT(nft("list ruleset"), Not(HasSubstr("eth0")));
}

TEST_F(NftTableTest, LeavesNothingBehindAndOthersAlone) {
  nft("add table inet other");
  nft("add chain inet other c '{ type nat hook postrouting priority 99; }'");
  const std::string before = nft("list ruleset");
  ASSERT_THAT(before, HasSubstr("priority srcnat - 1"));
  write_nft_table(wanted());
  EXPECT_NE(nft("list ruleset"), before);
  delete_nft_table();
  EXPECT_EQ(nft("list ruleset"), before);
  EXPECT_EQ(read_nft_table(), std::nullopt);
}

TEST_F(NftTableTest, MayBeDeletedWhereThereIsNone) {
  EXPECT_NO_THROW(delete_nft_table());
  EXPECT_EQ(nft("list ruleset"), "");
}

TEST_F(NftTableTest, DiffersFromWhatIsWantedOnceMeddledWith) {
  for (const char* rule : {"counter", "oifname eth0 ip saddr 10.9.0.0/16 accept",
                           "oifname other ip saddr 10.9.0.0/16 masquerade",
                           "oifname eth0 ip daddr 10.9.0.0/16 masquerade",
                           "oifname eth0 ip saddr != 10.9.0.0/16 masquerade",
                           "oifname eth0 ip saddr { 10.9.0.0/16, 10.10.0.0/16 } masquerade"}) {
    write_nft_table(wanted());
    nft(std::string("'add rule inet tunorch postrouting ") + rule + "'");
    EXPECT_EQ(read_nft_table(), NftTable{}) << rule;
  }
  for (const char* rule :
       {"iifname eth1 oifname eth2 drop", "iifname { eth1, eth2 } oifname { eth1, eth2 } accept",
        "iifname eth1 drop", "iifname != eth1 oifname eth1 drop"}) {
    write_nft_table(wanted());
    nft(std::string("'add rule inet tunorch forward ") + rule + "'");
    EXPECT_EQ(read_nft_table(), NftTable{}) << rule;
  }
}

TEST_F(NftTableTest, RefusesDeviceNamesThatWouldMeanMore) {
  for (const char* dev : {"", "eth*", "e\" accept; #", "e\n", "sixteen-letters-"})
    for (const NftTable& table :
         {NftTable{Masquerade{dev, {prefix("10.0.0.0/8")}}, {}}, NftTable{{}, {{"a-0", dev}}}})
      EXPECT_EQ(error_of([&] { write_nft_table(table); }).code(), std::errc::invalid_argument);
}

TEST_F(NftTableTest, CannotBeReadByJustAnyone) {
  const auto read_as_nobody = [] {
    if (::setuid(65534) != 0) ::_exit(2);
    try {
      read_nft_table();
    } catch (const std::system_error& error) {
      std::fputs(error.what(), stderr);
      ::_exit(error.code() == std::errc::operation_not_permitted ? 1 : 3);
    }
    ::_exit(0);
  };
  EXPECT_EXIT(read_as_nobody(), testing::ExitedWithCode(1), "cannot read nftables");
}

TEST(NftTableText, NamesWhatItDoes) {
  const Masquerade masquerade{"eth0", {prefix("10.0.0.0/8"), prefix("fd00::/8")}};
  EXPECT_EQ((NftTable{masquerade, {}}.text()), "masquerade by eth0 from 10.0.0.0/8 fd00::/8");
  EXPECT_EQ((NftTable{masquerade, {{"a-0", "a-1"}}}.text()),
            "masquerade by eth0 from 10.0.0.0/8 fd00::/8, nothing forwarded among a-0 a-1");
  EXPECT_EQ((NftTable{{}, {{"a-0", "a-1"}}}.text()), "nothing forwarded among a-0 a-1");
}

}  // namespace
}  // namespace tunorch::routing
