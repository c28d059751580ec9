// TUNs, their queues and attributes, and addresses, in a namespace of the test's own
// (namespace.hpp).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <array>
#include <chrono>
#include <thread>

#include "tests/unit/routing/namespace.hpp"

namespace tunorch::routing {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class TunDevice : public NamespaceTest {};
class LinkAddress : public NamespaceTest {};

bool has_link_local(Netlink& netlink, const std::string& dev) {
  return std::ranges::any_of(netlink.all_addresses(), [&](const Address& address) {
    return address.dev == dev && prefix("fe80::/10").contains(address.prefix);
  });
}

ifreq request_for(const char* dev) {
  ifreq request{};
  std::strcpy(request.ifr_name, dev);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  return request;
}

void raise_carrier(const Fd& queue) {
  int on = 1;
  ASSERT_EQ(::ioctl(queue.get(), TUNSETCARRIER, &on), 0);
}

TEST_F(TunDevice, OutlivesItsMakerWithoutCarrier) {
  Netlink netlink(our_protocol);
  create_tun("t0", 65534);
  netlink.set_up("t0");
  const Link made = link(netlink, "t0");
  EXPECT_EQ(made.kind, "tun");
  EXPECT_TRUE(made.admin_up);
  EXPECT_FALSE(made.carrier);
}

TEST_F(TunDevice, RefusesANameThatExists) {
  create_tun("t0", 0);
  for (const char* name : {"t0", "lo"}) {
    const auto error = error_of([&] { create_tun(name, 0); });
    EXPECT_EQ(error.code(), std::errc::file_exists);
    EXPECT_THAT(error.what(), HasSubstr(std::string("cannot create TUN ") + name));
  }
}

TEST_F(TunDevice, RefusesNamesThatAreNone) {
  for (const char* name : {"", "sixteen-letters-", "t%d"})
    EXPECT_EQ(error_of([&] { create_tun(name, 0); }).code(), std::errc::invalid_argument);
  EXPECT_EQ(error_of([&] { open_tun_queue("sixteen-letters-"); }).code(),
            std::errc::invalid_argument);
}

TEST_F(TunDevice, BelongsToItsOwner) {
  create_tun("t0", 4242);
  // Opened as root, for not every host opens /dev/net/tun to all; the attach is what is judged.
  const auto attach_as = [](uid_t uid) {
    const Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request = request_for("t0");
    if (!fd.valid() || ::setgid(uid) != 0 || ::setuid(uid) != 0) ::_exit(2);
    if (::ioctl(fd.get(), TUNSETIFF, &request) == 0) ::_exit(0);
    ::_exit(errno == EPERM ? 1 : 3);
  };
  EXPECT_EXIT(attach_as(4242), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(attach_as(4243), testing::ExitedWithCode(1), "");
}

TEST_F(TunDevice, GetsQueuesThatLeaveCarrierAlone) {
  Netlink netlink(our_protocol);
  make_tun(netlink, "t0");
  const Fd first = open_tun_queue("t0");
  EXPECT_FALSE(link(netlink, "t0").carrier);
  raise_carrier(first);
  EXPECT_TRUE(link(netlink, "t0").carrier);
  const Fd second = open_tun_queue("t0");
  EXPECT_TRUE(link(netlink, "t0").carrier) << "a second queue took it away";
}

TEST_F(TunDevice, LosesCarrierWithItsLastQueue) {
  Netlink netlink(our_protocol);
  make_tun(netlink, "t0");
  Fd queue = open_tun_queue("t0");
  raise_carrier(queue);
  queue.reset();
  EXPECT_FALSE(link(netlink, "t0").carrier);
  queue = open_tun_queue("t0");
  EXPECT_FALSE(link(netlink, "t0").carrier) << "attaching again raised it";
}

TEST_F(TunDevice, GetsQueuesThatDoNotBlockAndAreNotInherited) {
  create_tun("t0", 0);
  const Fd queue = open_tun_queue("t0");
  std::array<char, 128> packet;
  EXPECT_EQ(::read(queue.get(), packet.data(), packet.size()), -1);
  EXPECT_TRUE(errno == EAGAIN || errno == EIO) << errno;  // EIO: the device is down
  EXPECT_NE(::fcntl(queue.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(queue.get(), F_GETFD) & FD_CLOEXEC, 0);
  int header_bytes = 0;
  ASSERT_EQ(::ioctl(queue.get(), TUNGETVNETHDRSZ, &header_bytes), 0);
  EXPECT_EQ(header_bytes, 10);
}

TEST_F(TunDevice, IsNotMadeByOpeningAQueue) {
  const auto error = error_of([] { open_tun_queue("t0"); });
  EXPECT_EQ(error.code(), std::errc::no_such_device);
  EXPECT_THAT(error.what(), HasSubstr("cannot attach a queue to TUN t0"));
  EXPECT_EQ(if_nametoindex("t0"), 0U);
}

// As if it had vanished and been made again by the attach itself.
TEST_F(TunDevice, MustBePersistentToGetAQueue) {
  const Fd other(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request = request_for("t0");
  ASSERT_EQ(::ioctl(other.get(), TUNSETIFF, &request), 0);
  EXPECT_EQ(error_of([] { open_tun_queue("t0"); }).code(), std::errc::no_such_device);
}

TEST_F(TunDevice, TakesItsAttributes) {
  Netlink netlink(our_protocol);
  create_tun("t0", 0);
  netlink.set_mtu("t0", 1400);
  netlink.set_txqueuelen("t0", 321);
  netlink.set_alias("t0", "tunorch:demo/backbone/0");
  Link made = link(netlink, "t0");
  EXPECT_EQ(made.mtu, 1400U);
  EXPECT_EQ(made.txqueuelen, 321U);
  EXPECT_EQ(made.alias, "tunorch:demo/backbone/0");
  EXPECT_FALSE(made.admin_up);
  EXPECT_EQ(made.index, static_cast<int>(if_nametoindex("t0")));
  netlink.set_alias("t0", "");
  EXPECT_EQ(link(netlink, "t0").alias, "");
}

// The kernel gives link-local addresses when its carrier work runs, up to a second later: the
// device beside it, which gets one, shows when that was.
TEST_F(TunDevice, GetsNoLinkLocalAddress) {
  Netlink netlink(our_protocol);
  make_tun(netlink, "without");
  const Fd quiet = open_tun_queue("without");
  raise_carrier(quiet);
  create_tun("with", 0);
  netlink.set_up("with");
  const Fd talking = open_tun_queue("with");
  raise_carrier(talking);

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!has_link_local(netlink, "with") && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(has_link_local(netlink, "with")) << "shows nothing of the other";
  EXPECT_FALSE(has_link_local(netlink, "without"));
}

TEST_F(TunDevice, GoesWhenDeleted) {
  Netlink netlink(our_protocol);
  create_tun("t0", 0);
  netlink.delete_link("t0");
  EXPECT_EQ(if_nametoindex("t0"), 0U);
  const auto error = error_of([&] { netlink.delete_link("t0"); });
  EXPECT_EQ(error.code(), std::errc::no_such_device);
  EXPECT_THAT(error.what(), HasSubstr("cannot delete link t0"));
}

TEST_F(TunDevice, IsNotMadeBySettingAnAttribute) {
  Netlink netlink(our_protocol);
  EXPECT_EQ(error_of([&] { netlink.set_up("t0"); }).code(), std::errc::no_such_device);
  EXPECT_EQ(error_of([&] { netlink.set_mtu("t0", 1400); }).code(), std::errc::no_such_device);
  EXPECT_EQ(if_nametoindex("t0"), 0U);
}

TEST_F(LinkAddress, IsFoundByItsMark) {
  Netlink ours(our_protocol), foreign(foreign_protocol);
  const Address v4{"lo", prefix("10.77.0.1/32")}, v6{"lo", prefix("fd77::1/128")};
  const Address theirs{"lo", prefix("10.77.0.9/32")};
  ours.add_address(v4);
  ours.add_address(v6);
  foreign.add_address(theirs);
  EXPECT_THAT(ours.addresses(), ElementsAre(v4, v6));
  EXPECT_THAT(foreign.addresses(), ElementsAre(theirs));
  for (const Address& address : {v4, v6, theirs})
    EXPECT_THAT(ours.all_addresses(), Contains(address));
}

TEST_F(LinkAddress, KeepsTheLengthOfItsSubnet) {
  Netlink netlink(our_protocol);
  make_tun(netlink, "t0");
  const Address address{"t0", prefix("198.18.4.1/22")};
  netlink.add_address(address);
  EXPECT_THAT(netlink.addresses(), ElementsAre(address));
}

TEST_F(LinkAddress, IsUsableAtOnce) {
  Netlink netlink(our_protocol);
  make_tun(netlink, "t0");
  const Fd queue = open_tun_queue("t0");
  raise_carrier(queue);
  netlink.add_address({"t0", prefix("fd77::1/64")});
  // The kernel refuses a tentative address as a source (ipv6_chk_addr).
  EXPECT_NO_THROW(netlink.add_route({.dst = prefix("fd00::/8"),
                                     .metric = 5,
                                     .src = prefix("fd77::1"),
                                     .nexthops = {{"t0", prefix("fe80::1"), 1}},
                                     .protocol = our_protocol}));
}

TEST_F(LinkAddress, RefusesOneThatIsThere) {
  Netlink netlink(our_protocol);
  for (const char* text : {"10.77.0.1/32", "fd77::1/128"}) {
    const Address address{"lo", prefix(text)};
    Netlink(foreign_protocol).add_address(address);
    const auto error = error_of([&] { netlink.add_address(address); });
    EXPECT_EQ(error.code(), std::errc::file_exists);
    EXPECT_THAT(error.what(), HasSubstr(std::string("cannot add address ") + text + " dev lo"));
  }
  EXPECT_THAT(netlink.addresses(), IsEmpty());
}

TEST_F(LinkAddress, GoesWhenDeleted) {
  Netlink netlink(our_protocol);
  for (const char* text : {"10.77.0.1/32", "fd77::1/128"}) {
    const Address address{"lo", prefix(text)};
    netlink.add_address(address);
    netlink.delete_address(address);
    EXPECT_THAT(netlink.all_addresses(), Not(Contains(address)));
    EXPECT_EQ(error_of([&] { netlink.delete_address(address); }).code(),
              std::errc::address_not_available);
  }
}

TEST_F(LinkAddress, NeedsADevice) {
  Netlink netlink(our_protocol);
  EXPECT_EQ(error_of([&] {
              netlink.add_address({"gone", prefix("10.77.0.1/32")});
            }).code(),
            std::errc::no_such_device);
}

}  // namespace
}  // namespace tunorch::routing
