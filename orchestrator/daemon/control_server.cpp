#include "orchestrator/daemon/control_server.hpp"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/desired.hpp"

namespace tunorch {
namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;

constexpr std::chrono::milliseconds accept_pause{100};

bool is_root(stream_protocol::socket& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == 0;
}

/// Where there is such a group (packaging/sysusers.conf), the socket is its members' too. The
/// page's program is of the socket's group; without a group of that name it is alone in one.
void give_to_group(const std::filesystem::path& path) {
  const group* members = ::getgrnam("tunorch");
  (void)!::chown(path.c_str(), static_cast<uid_t>(-1), members ? members->gr_gid : web_uid);
}

stream_protocol::acceptor listen_at(asio::io_context& io, const std::filesystem::path& path) {
  ::unlink(path.c_str());
  const mode_t old_mask = ::umask(0117);
  try {
    stream_protocol::acceptor acceptor(io, stream_protocol::endpoint(path.string()));
    ::umask(old_mask);
    give_to_group(path);
    return acceptor;
  } catch (const boost::system::system_error& error) {
    ::umask(old_mask);
    throw std::system_error(error.code().value(), std::generic_category(),
                            "cannot listen on " + path.string());
  }
}

}  // namespace

void ControlConnection::read_request(OnRequest on_request) {
  deadline_.expires_after(request_limit);
  deadline_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    boost::system::error_code ignored;
    if (!error) self->socket_.close(ignored);
  });
  asio::async_read_until(
      socket_, asio::dynamic_buffer(inbox_, max_request), '\n',
      [self = shared_from_this(), on_request = std::move(on_request)](
          const boost::system::error_code& error, std::size_t size) {
        self->deadline_.cancel();
        if (error == asio::error::not_found)
          self->answer(Failure{"cannot parse the request: it has more than " +
                               std::to_string(max_request) + " bytes"});
        if (error) return;
        std::optional<DaemonRequest> request;
        try {
          request = parse_daemon_request(std::string_view(self->inbox_).substr(0, size));
        } catch (const BadMessage& bad) {
          self->answer(Failure{bad.what()});
        }
        if (request) on_request(*request, self);
      });
}

/// Its senders keep it alive, this does not.
void ControlConnection::watch_for_end(std::function<void()> on_gone) {
  socket_.async_read_some(asio::buffer(scrap_),
                          [weak = weak_from_this(), on_gone = std::move(on_gone)](
                              const boost::system::error_code& error, std::size_t) {
                            const auto self = weak.lock();
                            if (!self) return;
                            if (!error) return self->watch_for_end(std::move(on_gone));
                            self->gone_ = true;
                            on_gone();
                          });
}

bool ControlConnection::send(const std::string& line) {
  if (outbox_.size() > max_unsent) {
    boost::system::error_code ignored;
    socket_.close(ignored);
    gone_ = true;
  }
  if (gone_) return false;
  outbox_ += line + "\n";
  if (writing_.empty()) write();
  return true;
}

void ControlConnection::write() {
  writing_.swap(outbox_);
  asio::async_write(
      socket_, asio::buffer(writing_),
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
        self->writing_.clear();
        if (error) self->gone_ = true;
        if (!error && !self->outbox_.empty()) self->write();
      });
}

ControlServer::ControlServer(asio::io_context& io, const std::filesystem::path& path,
                             ControlConnection::OnRequest on_request)
    : path_(path), acceptor_(listen_at(io, path)), on_request_(std::move(on_request)), pause_(io) {
  accept();
}

ControlServer::~ControlServer() {
  *alive_ = false;
  ::unlink(path_.c_str());
}

void ControlServer::accept() {
  acceptor_.async_accept([this, alive = alive_](const boost::system::error_code& error,
                                                stream_protocol::socket socket) {
    if (!*alive || error == asio::error::operation_aborted) return;
    if (!error) {
      serve(std::move(socket));
      return accept();
    }
    // Out of descriptors, it would fail again at once.
    pause_.expires_after(accept_pause);
    pause_.async_wait([this, alive](const boost::system::error_code& stopped) {
      if (*alive && !stopped) accept();
    });
  });
}

void ControlServer::serve(stream_protocol::socket socket) {
  const bool root = is_root(socket);
  if (!root && *readers_ >= max_readers) return;
  if (!root) ++*readers_;
  std::shared_ptr<void> ticket(nullptr, [root, readers = readers_](void*) {
    if (!root) --*readers;
  });
  std::make_shared<ControlConnection>(std::move(socket), std::move(ticket))
      ->read_request([root, handle = on_request_](const auto& request, const auto& client) {
        if (root || only_reads(request))
          handle(request, client);
        else
          client->answer(Failure{"not permitted: run it as root"});
      });
}

}  // namespace tunorch
