// One rtnetlink socket: sends a libnl message and returns what the kernel says to it. Knows no
// links, addresses or routes (netlink.cpp does). Private to netlink.cpp.
//
// It reads the answers itself instead of through nl_recvmsgs(): libnl folds errno into fewer codes
// of its own (EEXIST and ENOTUNIQ become one), drops the kernel's sentence, and its callbacks run
// below C frames, through which nothing may be thrown.
#pragma once

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <functional>
#include <string>

#include "base/owned.hpp"

namespace tunorch::routing {

using Message = Owned<nl_msg, nlmsg_free>;

/// An empty request of this type whose fixed header is `header` (ifinfomsg, ifaddrmsg, …).
template <class Header>
Message make_message(int type, int flags, const Header& header) {
  Message message(nlmsg_alloc_simple(type, flags));
  if (!message ||
      nlmsg_append(message.get(), const_cast<Header*>(&header), sizeof(Header), NLMSG_ALIGNTO) < 0)
    throw std::bad_alloc();
  return message;
}

/// The kernel's verdict on one request.
struct Answer {
  int error = 0;       // errno; 0: done
  std::string reason;  // its own sentence (NLMSGERR_ATTR_MSG), often empty
  // Of a dump: the list changed while it was read, so it is not one moment's truth
  // (NLM_F_DUMP_INTR).
  bool interrupted = false;

  bool ok() const { return error == 0; }
};

/// What an NLMSG_ERROR or NLMSG_DONE says, into `answer`.
void read_verdict(nlmsghdr* header, Answer& answer);

class NetlinkSocket {
 public:
  using Visit = std::function<void(nlmsghdr*)>;

  NetlinkSocket();

  /// Sends one request and waits for its acknowledgement. Throws only if the socket itself fails.
  Answer request(nl_msg* message);

  /// Calls `visit` for each object the kernel lists. A dump that was interrupted may be sent again.
  Answer dump(nl_msg* message, const Visit& visit);

 private:
  std::uint32_t send(nl_msg* message);
  bool read_part(std::uint32_t sequence, const Visit& visit, Answer& answer);

  Owned<nl_sock, nl_socket_free> socket_;
};

}  // namespace tunorch::routing
