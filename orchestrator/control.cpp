#include "orchestrator/control.hpp"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

namespace tunorch {
namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;

bool is_root(stream_protocol::socket& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == 0;
}

/// What members of the group may ask: it changes nothing.
bool only_reads(const nlohmann::json& request) {
  return request["op"] == "status" || request["op"] == "events" || request["op"] == "explain";
}

/// Where there is such a group (packaging/sysusers.conf), the socket is its members' too.
void give_to_group(const std::filesystem::path& path) {
  if (const group* members = ::getgrnam("tunorch"))
    (void)!::chown(path.c_str(), static_cast<uid_t>(-1), members->gr_gid);
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
  asio::async_read_until(
      socket_, asio::dynamic_buffer(inbox_, max_request), '\n',
      [self = shared_from_this(), on_request = std::move(on_request)](
          const boost::system::error_code& error, std::size_t size) {
        if (error) return;
        const auto request = nlohmann::json::parse(self->inbox_.substr(0, size), nullptr, false);
        if (!request.is_object() || !request.contains("op") || !request["op"].is_string())
          self->send({{"error", "cannot understand the request: not a JSON object with op"}});
        else
          on_request(request, self);
      });
}

bool ControlConnection::send(const nlohmann::json& line) {
  if (outbox_.size() > max_unsent) {
    boost::system::error_code ignored;
    socket_.close(ignored);
    gone_ = true;
  }
  if (gone_) return false;
  outbox_ += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
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
    : path_(path),
      acceptor_(listen_at(io, path)),
      retry_timer_(io),
      on_request_(std::move(on_request)) {
  accept();
}

ControlServer::~ControlServer() {
  ::unlink(path_.c_str());
}

void ControlServer::accept() {
  acceptor_.async_accept(
      [this](const boost::system::error_code& error, stream_protocol::socket socket) {
        if (error == asio::error::operation_aborted) return;
        // Out of descriptors the client stays in the queue, and would wake us again at once.
        if (error) return accept_later();
        const bool root = is_root(socket);
        std::make_shared<ControlConnection>(std::move(socket))
            ->read_request([root, handle = on_request_](const auto& request, const auto& client) {
              if (root || only_reads(request))
                handle(request, client);
              else
                client->send({{"error", "not permitted: run it as root"}});
            });
        accept();
      });
}

void ControlServer::accept_later() {
  retry_timer_.expires_after(std::chrono::milliseconds(100));
  retry_timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (!cancelled) accept();
  });
}

}  // namespace tunorch
