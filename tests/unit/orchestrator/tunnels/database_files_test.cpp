#include "orchestrator/tunnels/database_files.hpp"

#include <gmock/gmock.h>

namespace tunorch {
namespace {

using testing::ElementsAre;

TEST(DatabaseFiles, AreThoseTheUrlNames) {
  worker::PostgresSpec spec;
  spec.up.url = "postgresql://vpn@db/vpn?sslmode=verify-full&sslkey=%2Fkeys%2Fvpn.key&passfile=/p";
  spec.down = spec.up;
  EXPECT_THAT(database_files(spec), ElementsAre(testing::Pair("passfile", "/p"),
                                                testing::Pair("sslkey", "/keys/vpn.key")));
  spec.down.url = "postgresql://vpn@other/vpn?sslkey=/keys/other.key";
  EXPECT_THROW(database_files(spec), std::runtime_error);
}

}  // namespace
}  // namespace tunorch
