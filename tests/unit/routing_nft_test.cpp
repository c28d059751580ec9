// Source NAT in a namespace of the test's own (routing_namespace.hpp), compared with what nft(8)
// prints of it.
#include <gmock/gmock.h>

#include <array>
#include <cstdio>
#include <memory>

#include "routing/nft.hpp"
#include "routing_namespace.hpp"

namespace tunorch::routing {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string nft(const std::string& arguments) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(("nft " + arguments).c_str(), "r"),
                                                   ::pclose);
  std::string output;
  std::array<char, 4096> chunk;
  while (const auto n = std::fread(chunk.data(), 1, chunk.size(), pipe.get()))
    output.append(chunk.data(), n);
  return output;
}

class MasqueradeTable : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (nft("--version").find("nftables") == std::string::npos) cannot_run("needs nft(8)");
  }
};

// Nested, a whole address, and everything.
Masquerade wanted() {
  return {"eth0",
          {prefix("0.0.0.0/0"), prefix("10.0.0.0/8"), prefix("10.1.0.0/16"), prefix("10.77.0.2/32"),
           prefix("::/0"), prefix("fd00::/8"), prefix("fd77::2/128")}};
}

TEST_F(MasqueradeTable, IsReadBackAsWritten) {
  EXPECT_EQ(read_masquerade(), std::nullopt);
  write_masquerade(wanted());
  EXPECT_EQ(read_masquerade(), wanted());
}

TEST_F(MasqueradeTable, SaysWhatNftUnderstands) {
  write_masquerade(wanted());
  const std::string rules = nft("list ruleset");
  EXPECT_THAT(rules, HasSubstr("comment \"made by tunorch"));
  EXPECT_THAT(rules, HasSubstr("type nat hook postrouting priority srcnat"));
  EXPECT_THAT(rules, HasSubstr("oifname \"eth0\" ip saddr 10.1.0.0/16 masquerade"));
  EXPECT_THAT(rules, HasSubstr("oifname \"eth0\" ip6 saddr fd77::2 masquerade"));
}

TEST_F(MasqueradeTable, IsReplacedAsAWhole) {
  write_masquerade(wanted());
  const Masquerade other{"wan0", {prefix("192.0.2.0/24")}};
  write_masquerade(other);
  EXPECT_EQ(read_masquerade(), other);
  EXPECT_THAT(nft("list ruleset"), Not(HasSubstr("eth0")));
}

TEST_F(MasqueradeTable, LeavesNothingBehindAndOthersAlone) {
  nft("add table inet other");
  nft("add chain inet other c '{ type nat hook postrouting priority 99; }'");
  const std::string before = nft("list ruleset");
  ASSERT_THAT(before, HasSubstr("priority srcnat - 1"));
  write_masquerade(wanted());
  EXPECT_NE(nft("list ruleset"), before);
  delete_masquerade();
  EXPECT_EQ(nft("list ruleset"), before);
  EXPECT_EQ(read_masquerade(), std::nullopt);
}

TEST_F(MasqueradeTable, MayBeDeletedWhereThereIsNone) {
  EXPECT_NO_THROW(delete_masquerade());
  EXPECT_EQ(nft("list ruleset"), "");
}

TEST_F(MasqueradeTable, DiffersFromWhatIsWantedOnceMeddledWith) {
  for (const char* rule : {"counter", "oifname eth0 ip saddr 10.9.0.0/16 accept",
                           "oifname other ip saddr 10.9.0.0/16 masquerade",
                           "oifname eth0 ip daddr 10.9.0.0/16 masquerade",
                           "oifname eth0 ip saddr != 10.9.0.0/16 masquerade",
                           "oifname eth0 ip saddr { 10.9.0.0/16, 10.10.0.0/16 } masquerade"}) {
    write_masquerade(wanted());
    nft(std::string("'add rule inet tunorch postrouting ") + rule + "'");
    EXPECT_EQ(read_masquerade(), Masquerade{}) << rule;
  }
}

TEST_F(MasqueradeTable, RefusesDeviceNamesThatWouldMeanMore) {
  for (const char* dev : {"", "eth*", "e\" accept; #", "e\n", "sixteen-letters-"})
    EXPECT_EQ(error_of([&] {
                write_masquerade({dev, {prefix("10.0.0.0/8")}});
              }).code(),
              std::errc::invalid_argument);
}

TEST_F(MasqueradeTable, CannotBeReadByJustAnyone) {
  const auto read_as_nobody = [] {
    if (::setuid(65534) != 0) ::_exit(2);
    try {
      read_masquerade();
    } catch (const std::system_error& error) {
      std::fputs(error.what(), stderr);
      ::_exit(error.code() == std::errc::operation_not_permitted ? 1 : 3);
    }
    ::_exit(0);
  };
  EXPECT_EXIT(read_as_nobody(), testing::ExitedWithCode(1), "cannot read nftables");
}

TEST(MasqueradeText, NamesTheDeviceAndTheSources) {
  EXPECT_EQ((Masquerade{"eth0", {prefix("10.0.0.0/8"), prefix("fd00::/8")}}.text()),
            "masquerade by eth0 from 10.0.0.0/8 fd00::/8");
}

}  // namespace
}  // namespace tunorch::routing
