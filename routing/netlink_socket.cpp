#include "routing/netlink_socket.hpp"

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/socket.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <system_error>

namespace tunorch::routing {

namespace {

// rtnetlink answers inside the send call, so the wait is for a lost answer only: a full receive
// buffer, say. Without a bound that would be a daemon that hangs.
constexpr timeval answer_timeout{.tv_sec = 2, .tv_usec = 0};

using Buffer = Owned<unsigned char, std::free>;

[[noreturn]] void fail_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), "cannot " + what);
}

void set_option(int fd, int option) {
  const int on = 1;
  // Not an error where it is refused: before 4.20 there is no strict checking and a dump is not
  // filtered, so the reader filters too; without extended acks the reason is just empty.
  ::setsockopt(fd, SOL_NETLINK, option, &on, sizeof on);
}

}  // namespace

// NLMSG_ERROR is a nlmsgerr (a negative errno and, with NETLINK_CAP_ACK, only the header of what
// was asked), then TLVs. NLMSG_DONE, which ends a dump, is a negative errno, then TLVs
// (kernel: Documentation/userspace-api/netlink/intro.rst; net/netlink/af_netlink.c).
void read_verdict(nlmsghdr* header, Answer& answer) {
  const bool is_error = header->nlmsg_type == NLMSG_ERROR;
  const std::size_t fixed = is_error ? sizeof(nlmsgerr) : sizeof(int);
  const bool has_text = (header->nlmsg_flags & NLM_F_ACK_TLVS) != 0 &&
                        (!is_error || (header->nlmsg_flags & NLM_F_CAPPED) != 0);
  if (nlmsg_datalen(header) < static_cast<int>(fixed)) {
    answer.error = is_error ? EBADMSG : 0;
    return;
  }
  const int verdict = *static_cast<const int*>(nlmsg_data(header));
  answer.error = verdict > std::numeric_limits<int>::min() ? -verdict : EBADMSG;
  if (!has_text) return;
  nlattr* text = nlmsg_find_attr(header, static_cast<int>(fixed), NLMSGERR_ATTR_MSG);
  if (!text) return;
  const auto* words = static_cast<const char*>(nla_data(text));
  answer.reason.assign(words, ::strnlen(words, static_cast<std::size_t>(nla_len(text))));
}

NetlinkSocket::NetlinkSocket() : socket_(nl_socket_alloc()) {
  if (!socket_) throw std::bad_alloc();
  // libnl opens it close-on-exec.
  if (nl_connect(socket_.get(), NETLINK_ROUTE) < 0) fail_errno("open a netlink socket");
  const int fd = nl_socket_get_fd(socket_.get());
  set_option(fd, NETLINK_GET_STRICT_CHK);
  set_option(fd, NETLINK_EXT_ACK);
  set_option(fd, NETLINK_CAP_ACK);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer_timeout, sizeof answer_timeout) < 0)
    fail_errno("bound the wait on a netlink socket");
}

std::uint32_t NetlinkSocket::send(nl_msg* message) {
  nlmsghdr* header = nlmsg_hdr(message);
  header->nlmsg_seq = NL_AUTO_SEQ;  // a dump that was interrupted sends the same message again
  if (nl_send_auto(socket_.get(), message) < 0) fail_errno("send to the kernel by netlink");
  return header->nlmsg_seq;
}

// Returns whether the answer is complete. Messages with another sequence number are what a request
// left behind that ended in an exception.
bool NetlinkSocket::read_part(std::uint32_t sequence, const Visit& visit, Answer& answer) {
  sockaddr_nl sender{};
  unsigned char* received = nullptr;
  int left = nl_recv(socket_.get(), &sender, &received, nullptr);
  if (left <= 0) fail_errno("read the kernel's netlink answer");
  const Buffer buffer(received);

  for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.get()); nlmsg_ok(header, left);
       header = nlmsg_next(header, &left)) {
    if (header->nlmsg_seq != sequence) continue;
    if (header->nlmsg_flags & NLM_F_DUMP_INTR) answer.interrupted = true;
    if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
      read_verdict(header, answer);
      return true;
    }
    visit(header);
  }
  return false;
}

Answer NetlinkSocket::request(nl_msg* message) {
  return dump(message, [](nlmsghdr*) {});  // one acknowledgement, and nothing to visit
}

Answer NetlinkSocket::dump(nl_msg* message, const Visit& visit) {
  const std::uint32_t sequence = send(message);
  Answer answer;
  while (!read_part(sequence, visit, answer)) continue;
  return answer;
}

}  // namespace tunorch::routing
