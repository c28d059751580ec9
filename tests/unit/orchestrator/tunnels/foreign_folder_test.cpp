// Needs root: its files are other users'.
#include "orchestrator/tunnels/foreign_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::uint32_t user = 1'880'000'007;

fs::path make_top() {
  char name[] = "/tmp/tunorch-folder-XXXXXX";
  if (!::mkdtemp(name)) throw std::runtime_error("no folder");
  return name;
}

class ForeignFolderTest : public testing::Test {
 protected:
  ForeignFolderTest() { fs::permissions(top_, fs::perms(0755)); }
  ~ForeignFolderTest() override { fs::remove_all(top_); }

  struct stat status(const std::string& name) const {
    struct stat status {};
    EXPECT_EQ(::stat((top_ / "t" / name).c_str(), &status), 0) << name;
    return status;
  }

  fs::path top_ = make_top();
  ForeignFolder folder_{top_ / "t"};
};

TEST_F(ForeignFolderTest, IsItsUsersAlone) {
  folder_.make(user);
  folder_.write({{"conf", "text"}, {"clients/edge", "its"}}, user);
  for (const char* name : {"", "conf", "clients", "clients/edge"}) {
    EXPECT_EQ(status(name).st_uid, user) << name;
    EXPECT_EQ(status(name).st_mode & 077, 0u) << name;
  }
  folder_.make(user);
  EXPECT_TRUE(fs::is_empty(folder_.path())) << "what was there is gone";
  folder_.remove();
  EXPECT_FALSE(fs::exists(folder_.path()));
}

/// What root writes there goes where its user says, otherwise.
TEST_F(ForeignFolderTest, FollowsNoLinkThatItsUserPutThere) {
  folder_.make(user);
  fs::create_directory(top_ / "others");
  std::ofstream(top_ / "others/file") << "kept";
  fs::create_directory_symlink(top_ / "others", folder_.path() / "clients");
  fs::create_symlink(top_ / "others/file", folder_.path() / "conf");
  fs::create_symlink(top_ / "others/file", folder_.path() / "conf.new");
  EXPECT_THROW(folder_.write({{"clients/edge", "its"}}, user), std::system_error);
  folder_.write({{"conf", "text"}}, user);
  EXPECT_FALSE(fs::is_symlink(folder_.path() / "conf"));
  EXPECT_FALSE(fs::exists(top_ / "others/edge"));
  std::ifstream kept(top_ / "others/file");
  std::string text;
  kept >> text;
  EXPECT_EQ(text, "kept");
  struct stat about {};
  ::stat((top_ / "others").c_str(), &about);
  EXPECT_EQ(about.st_uid, 0U);
}

TEST_F(ForeignFolderTest, SaysWhereItsUserCannotGetThrough) {
  fs::permissions(top_, fs::perms(0700));
  folder_.make(0);  // root can
  try {
    folder_.make(user);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("through " + top_.string()));
    EXPECT_THAT(error.what(), HasSubstr("chmod o+x " + top_.string()));
  }
}

}  // namespace
}  // namespace tunorch
