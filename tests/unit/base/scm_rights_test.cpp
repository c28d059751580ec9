#include "base/scm_rights.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

namespace tunorch {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

std::size_t open_fds() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

ino_t inode(int fd) {
  struct stat file {};
  return ::fstat(fd, &file) == 0 ? file.st_ino : 0;
}

class ScmRights : public testing::Test {
 protected:
  ScmRights() {
    std::array<int, 2> pair{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    sender = Fd(pair[0]);
    receiver = Fd(pair[1]);
  }
  Received receive(std::size_t most = 1024) { return receive_packet(receiver.get(), most, packet); }
  /// As a process that keeps no limit of ours would send them.
  void send_unbounded(const std::vector<int>& fds) {
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    char text = 'x';
    iovec data{&text, 1};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
    ASSERT_GE(::sendmsg(sender.get(), &message, 0), 0);
  }

  Fd sender, receiver;
  FdPacket packet;
};

TEST_F(ScmRights, APacketWithoutFileDescriptors) {
  ASSERT_TRUE(send_packet(sender.get(), "hello", {}));
  ASSERT_EQ(receive(), Received::packet);
  EXPECT_EQ(packet.text(), "hello");
  EXPECT_THAT(packet.fds, IsEmpty());
  EXPECT_EQ(receive(), Received::nothing);
}

TEST_F(ScmRights, FileDescriptorsComeInTheirOrderAndCloseOnExec) {
  const std::vector<int> sent{sender.get(), receiver.get(), 0};
  ASSERT_TRUE(send_packet(sender.get(), "three", sent));
  ASSERT_EQ(receive(), Received::packet);
  ASSERT_THAT(packet.fds, SizeIs(3));
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_NE(packet.fds[i].get(), sent[i]);
    EXPECT_EQ(inode(packet.fds[i].get()), inode(sent[i])) << i;
    EXPECT_NE(::fcntl(packet.fds[i].get(), F_GETFD) & FD_CLOEXEC, 0) << i;
  }
}

TEST_F(ScmRights, PacketsKeepTheirOwnFileDescriptors) {
  ASSERT_TRUE(send_packet(sender.get(), "one", {sender.get()}));
  ASSERT_TRUE(send_packet(sender.get(), "none", {}));
  ASSERT_EQ(receive(), Received::packet);
  EXPECT_THAT(packet.fds, SizeIs(1));
  ASSERT_EQ(receive(), Received::packet);
  EXPECT_EQ(packet.text(), "none");
  EXPECT_THAT(packet.fds, IsEmpty());
}

TEST_F(ScmRights, TheMostArriveWhole) {
  ASSERT_TRUE(send_packet(sender.get(), "many", std::vector<int>(max_packet_fds, sender.get())));
  ASSERT_EQ(receive(), Received::packet);
  EXPECT_THAT(packet.fds, SizeIs(max_packet_fds));
}

TEST_F(ScmRights, MoreThanTheMostAreNotSent) {
  EXPECT_FALSE(
      send_packet(sender.get(), "many", std::vector<int>(max_packet_fds + 1, sender.get())));
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(receive(), Received::nothing);
}

TEST_F(ScmRights, OfMoreThanFitNoneLeaks) {
  const std::size_t before = open_fds();
  send_unbounded(std::vector<int>(max_packet_fds + 36, sender.get()));  // MSG_CTRUNC
  ASSERT_EQ(receive(), Received::packet);
  EXPECT_THAT(packet.fds, SizeIs(max_packet_fds));
  EXPECT_EQ(open_fds(), before + max_packet_fds);
  packet.fds.clear();
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ScmRights, WhatTheLastPacketLeftIsClosed) {
  const std::size_t before = open_fds();
  ASSERT_TRUE(send_packet(sender.get(), "one", {sender.get()}));
  ASSERT_EQ(receive(), Received::packet);
  EXPECT_EQ(receive(), Received::nothing);
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ScmRights, APacketThatIsTooLargeIsAnEnd) {
  ASSERT_TRUE(send_packet(sender.get(), "hello", {sender.get()}));
  const std::size_t before = open_fds();
  EXPECT_EQ(receive(4), Received::closed);
  EXPECT_EQ(open_fds(), before);
  EXPECT_EQ(receive(5), Received::packet);
}

TEST_F(ScmRights, TheOtherEndCloses) {
  sender.reset();
  EXPECT_EQ(receive(), Received::closed);
  EXPECT_FALSE(send_packet(receiver.get(), "hello", {}));
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(ScmRights, SendingNeverBlocks) {
  const std::string text(1024, 'x');
  int sent = 0;
  while (send_packet(sender.get(), text, {})) ASSERT_LT(++sent, 100'000);
  EXPECT_EQ(errno, EAGAIN);
}

}  // namespace
}  // namespace tunorch
