#include "orchestrator/kernel/journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "orchestrator/system/files.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class JournalTest : public testing::Test {
 protected:
  JournalTest() {
    char name[] = "/tmp/tunorch-journal-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~JournalTest() override { fs::remove_all(folder); }
  fs::path file() const { return folder / "journal.json"; }

  fs::path folder;
  const SysctlSetting forwarding{{"net.ipv4.ip_forward", "0"},
                                 {{"net.ipv4.conf.eth0.forwarding", "1"}}};
  const routing::Address address{"lo", *routing::Prefix::parse("10.77.0.1/32")};
};

TEST_F(JournalTest, ALaterProcessFindsWhatWasWritten) {
  {
    Journal journal(file());
    journal.add(forwarding);
    journal.add(address);
    journal.add_device("backbone-0");
  }
  const Journal later(file());
  EXPECT_THAT(later.settings(), ElementsAre(forwarding));
  EXPECT_THAT(later.addresses(), ElementsAre(address));
  EXPECT_THAT(later.devices(), ElementsAre("backbone-0"));
}

TEST_F(JournalTest, TheFirstValueIsTheOneToGoBackTo) {
  Journal journal(file());
  journal.add(forwarding);
  journal.add(SysctlSetting{{"net.ipv4.ip_forward", "1"}});
  EXPECT_THAT(journal.settings(), ElementsAre(forwarding));
}

TEST_F(JournalTest, AnotherBootsOrNamespacesJournalSaysNothing) {
  Journal(file()).add(forwarding);
  std::string text = *read_text(file());
  const auto place = text.find("net:[");
  ASSERT_NE(place, std::string::npos);
  text[place + 5] = text[place + 5] == '9' ? '8' : '9';
  write_whole(file(), text);
  EXPECT_THAT(Journal(file()).settings(), IsEmpty());
}

TEST_F(JournalTest, GarbageIsAnEmptyJournal) {
  for (const char* text : {"", "{", "[]", "null"}) {
    write_whole(file(), text);
    EXPECT_THAT(Journal(file()).settings(), IsEmpty()) << text;
  }
}

TEST_F(JournalTest, DiscardedItLeavesNoFile) {
  Journal journal(file());
  journal.add(forwarding);
  EXPECT_TRUE(fs::exists(file()));
  journal.discard();
  EXPECT_FALSE(fs::exists(file()));
  EXPECT_THAT(journal.settings(), IsEmpty());
}

TEST_F(JournalTest, OnlyFoldersWeMadeAreRemovedAndOnlyWhenEmpty) {
  make_dir(folder / "made" / "w");
  write_whole(folder / "made" / "others", "x");
  remove_made_dir(folder / "made" / "w");
  EXPECT_FALSE(fs::exists(folder / "made" / "w"));
  EXPECT_TRUE(fs::exists(folder / "made" / "others"));
  fs::remove(folder / "made" / "others");
  remove_made_dir(folder / "made");
  EXPECT_FALSE(fs::exists(folder / "made"));
  remove_made_dir(folder);
  EXPECT_TRUE(fs::exists(folder));
}

}  // namespace
}  // namespace tunorch
