// Reports that another program changed links, addresses, routes, rules or nexthops of this network
// namespace (rtnetlink(7) multicast groups). It says only that: what there is now, Netlink reads.
#pragma once

#include <memory>

namespace tunorch::routing {

class NetlinkMonitor {
 public:
  /// Throws std::system_error.
  NetlinkMonitor();
  ~NetlinkMonitor();
  NetlinkMonitor(const NetlinkMonitor&) = delete;
  NetlinkMonitor& operator=(const NetlinkMonitor&) = delete;

  /// Readable when there is something to drain; non-blocking.
  int fd() const;
  /// Reads all that is queued. True where there was news, also where some was lost for want of
  /// room (ENOBUFS).
  bool drain();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tunorch::routing
