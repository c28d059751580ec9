#include "routing/prefix.hpp"

#include <gtest/gtest.h>

#include <string>

namespace tunorch::routing {
namespace {

Prefix prefix(const std::string& text) {
  return Prefix::parse(text).value();
}

TEST(ParsePrefix, GivesBackWhatWasWritten) {
  for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "10.77.0.1/32", "::/0", "fd77::1/128",
                           "fe80::1/64", "10.1.2.3/24"})
    EXPECT_EQ(prefix(text).text(), text);
}

TEST(ParsePrefix, TakesABareAddressAsAHost) {
  EXPECT_EQ(prefix("192.0.2.1").text(), "192.0.2.1/32");
  EXPECT_EQ(prefix("fd77::1").text(), "fd77::1/128");
  EXPECT_TRUE(prefix("192.0.2.1").is_host());
  EXPECT_TRUE(prefix("fd77::1").is_host());
  EXPECT_FALSE(prefix("fd77::1/32").is_host());
}

TEST(ParsePrefix, RefusesEverythingElse) {
  for (const char* text : {"",
                           "/",
                           "/8",
                           "10.0.0.0/",
                           "10.0.0.0/33",
                           "10.0.0.0/-1",
                           "10.0.0.0/+8",
                           "10.0.0.0/08",
                           "10.0.0.0/8/8",
                           "10.0.0.0/ 8",
                           " 10.0.0.0/8",
                           "10.0.0.0/8 ",
                           "10.0.0/8",
                           "10.0.0.256",
                           "010.0.0.1",
                           "fd00::/129",
                           "fd00::/1280",
                           "fd00:::/8",
                           "fd00::%lo",
                           "example.org"})
    EXPECT_FALSE(Prefix::parse(text)) << '"' << text << '"';
  EXPECT_FALSE(Prefix::parse(std::string_view("10.0.0.0\0.1/8", 13)));
}

TEST(Prefix, KnowsItsHostBits) {
  EXPECT_FALSE(prefix("10.64.0.0/10").has_host_bits());
  EXPECT_TRUE(prefix("10.65.0.0/10").has_host_bits());
  EXPECT_TRUE(prefix("0.0.0.1/0").has_host_bits());
  EXPECT_FALSE(prefix("0.0.0.0/0").has_host_bits());
  EXPECT_FALSE(prefix("10.1.2.3/32").has_host_bits());
  EXPECT_TRUE(prefix("fd00::1/127").has_host_bits());
  EXPECT_FALSE(prefix("fd00::2/127").has_host_bits());
  EXPECT_EQ(prefix("10.65.1.2/10").network(), prefix("10.64.0.0/10"));
  EXPECT_EQ(prefix("fd00::ffff/113").network(), prefix("fd00::8000/113"));
}

TEST(Prefix, ContainsWhatLiesWithinIt) {
  EXPECT_TRUE(prefix("10.0.0.0/8").contains(prefix("10.200.0.0/16")));
  EXPECT_TRUE(prefix("10.0.0.0/8").contains(prefix("10.0.0.0/8")));
  EXPECT_TRUE(prefix("0.0.0.0/0").contains(prefix("192.0.2.1")));
  EXPECT_TRUE(prefix("10.9.9.9/8").contains(prefix("10.1.1.1"))) << "host bits do not matter";
  EXPECT_FALSE(prefix("10.0.0.0/8").contains(prefix("11.0.0.0/16")));
  EXPECT_FALSE(prefix("10.0.0.0/16").contains(prefix("10.0.0.0/8")));
  EXPECT_FALSE(prefix("10.0.0.0/9").contains(prefix("10.128.0.0/9")));
  EXPECT_FALSE(prefix("0.0.0.0/0").contains(prefix("::1"))) << "another family";
}

TEST(Prefix, SortsByFamilyThenAddressThenLength) {
  EXPECT_LT(prefix("10.0.0.0/8"), prefix("10.0.0.0/16"));
  EXPECT_LT(prefix("10.0.0.0/16"), prefix("10.1.0.0/8"));
  EXPECT_LT(prefix("255.0.0.0/8"), prefix("::/0"));
}

}  // namespace
}  // namespace tunorch::routing
