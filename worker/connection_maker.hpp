// What the two roles need of a worker to bring connections about.
#pragma once

#include <string>

#include "worker/connection.hpp"

namespace tunorch::worker {

class ConnectionMaker {
 public:
  /// A dialer's way out for a stream, as a socket that connects. Throws std::exception.
  virtual Fd open_way(int stream) = 0;
  /// Where that leads, in words.
  virtual std::string way_text() const = 0;
  /// Null where no connection could be made of it; that was reported.
  virtual Connection* make_connection(Fd socket, const std::string& address, int stream,
                                      ConnectionState state) = 0;
  /// Reports a connection that did not become a session.
  virtual void refused(const std::string& peer, const std::string& address,
                       const std::string& reason) = 0;
  /// Accepted connections that have not said who they are.
  virtual std::size_t half_open() const = 0;
  virtual std::size_t half_open_from(const std::string& host) const = 0;
  /// Ends the oldest of them from that host; from the host that has most, where none is named.
  virtual void end_oldest_half_open(const std::string& host) = 0;

 protected:
  ~ConnectionMaker() = default;
};

}  // namespace tunorch::worker
