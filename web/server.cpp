#include "web/server.hpp"

#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "version.hpp"
#include "web/assets.hpp"
#include "web/metrics.hpp"

namespace tunorch::web {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using beast::error_code;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t max_connections = 64, max_pages = 16;
constexpr std::chrono::seconds first_request_limit{5}, request_limit{30}, write_limit{10};
constexpr std::chrono::milliseconds accept_pause{100};
constexpr std::uint32_t max_header = 8 * 1024;
constexpr std::size_t max_waiting_bytes = 1024 * 1024;  // that a page has not taken, where it is
constexpr std::size_t max_waiting_chunks = 4;           // chunks

/// No external or inline content, and no framing by other sites.
constexpr char content_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

/// A page of somebody else's whose name was made to lead to loopback (DNS rebinding) names itself
/// in Host: an address or localhost is not such a name.
bool is_own_name(beast::string_view host) {
  if (host.starts_with('[')) return true;
  const std::string name(host.substr(0, host.find(':')));
  error_code not_an_address;
  (void)asio::ip::make_address(name, not_an_address);
  return name.empty() || name == "localhost" || !not_an_address;
}

class Connection final : public Viewer, public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, DaemonLink& daemon, Live& live, bool loopback,
             std::shared_ptr<Server::Guest> guest)
      : stream_(std::move(socket)),
        daemon_(daemon),
        live_(live),
        loopback_(loopback),
        guest_(std::move(guest)) {}
  ~Connection() { live_.remove(*this); }

  void begin() {
    guest_->dismiss = [self = weak_from_this()] {
      if (const auto connection = self.lock()) connection->stream_.close();
    };
    read(first_request_limit);
  }

  void read(std::chrono::seconds limit) {
    guest_->idle_since = Clock::now();
    parser_.emplace();
    parser_->header_limit(max_header);
    parser_->body_limit(0);
    stream_.expires_after(limit);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](const error_code& error, std::size_t) {
                       if (!error) self->answer(self->parser_->release());
                     });
  }

  /// Also after the page has gone: then it is of no use, and does no harm.
  void show(const std::shared_ptr<const std::string>& chunk) override {
    if (chunk->empty() || ended_) return;
    waiting_ += chunk->size();
    chunks_.push_back(chunk);
    if (waiting_ > max_waiting_bytes && chunks_.size() > max_waiting_chunks)
      return end();  // it comes again, and gets what is new then
    if (chunks_.size() == 1) write_chunk();
  }

 private:
  void answer(const Request& request) {
    guest_->idle_since = Clock::time_point::max();
    keep_alive_ = request.keep_alive();
    version_ = request.version();
    head_ = request.method() == http::verb::head;
    if (loopback_ && !is_own_name(request[http::field::host]))
      return refuse(http::status::misdirected_request, "use the address, or localhost");
    if (request.method() != http::verb::get && !head_)
      return refuse(http::status::method_not_allowed, "this only reads: GET or HEAD");
    // No page of another site has a reason to ask (Fetch Metadata, w3c.github.io).
    if (request["Sec-Fetch-Site"] == "cross-site" && request["Sec-Fetch-Mode"] != "navigate")
      return refuse(http::status::forbidden, "not for pages of other sites");
    const std::string path(request.target().substr(0, request.target().find('?')));
    if (path == "/metrics") return answer_metrics();
    if (path == "/stream" && !head_) return answer_stream();
    if (const Asset* asset = find_asset(path))
      return reply(http::status::ok, std::string(asset->type), std::string(asset->body));
    refuse(http::status::not_found, "there is / and /metrics");
  }

  void answer_metrics() {
    daemon_.ask_status([self = shared_from_this()](const json& status) {
      try {
        self->reply(
            http::status::ok, metrics_type,
            metrics_text(status.is_null() ? std::nullopt : std::optional(status_from(status))));
      } catch (const BadMessage& error) {
        self->refuse(http::status::internal_server_error,
                     std::string("cannot parse the daemon's status: ") + error.what());
      }
    });
  }

  /// Until the page is closed.
  void answer_stream() {
    if (live_.viewers() >= max_pages)
      return refuse(http::status::service_unavailable, "too many pages are open");
    // Begun before a write sets a limit, which would be this one's too.
    stream_.expires_never();
    watch_for_end();
    head_text_ = std::make_shared<const std::string>(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        "Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\nretry: 1000\n\n");
    show(head_text_);
    live_.add(*this);
  }

  /// A page has nothing to say any more: what can be read is its end.
  void watch_for_end() {
    stream_.async_read_some(
        asio::buffer(scrap_),
        [self = shared_from_this()](const error_code&, std::size_t) { self->end(); });
  }

  void end() {
    ended_ = true;
    live_.remove(*this);
    stream_.close();
  }

  void write_chunk() {
    stream_.expires_after(write_limit);
    asio::async_write(stream_, asio::buffer(*chunks_.front()),
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        if (error || self->ended_) return self->end();
                        self->waiting_ -= self->chunks_.front()->size();
                        self->chunks_.pop_front();
                        if (!self->chunks_.empty()) self->write_chunk();
                      });
  }

  void refuse(http::status status, const std::string& why) {
    reply(status, "text/plain; charset=utf-8", why + "\n");
  }

  void reply(http::status status, const std::string& type, std::string body) {
    response_.emplace(status, version_);
    response_->set(http::field::server, "tunorch/" TUNORCH_VERSION);
    response_->set(http::field::content_type, type);
    response_->set(http::field::cache_control, "no-store");
    response_->set("Content-Security-Policy", content_policy);
    response_->set("X-Content-Type-Options", "nosniff");
    response_->set("Referrer-Policy", "no-referrer");
    response_->keep_alive(keep_alive_);
    response_->content_length(body.size());
    if (!head_) response_->body() = std::move(body);
    stream_.expires_after(write_limit);
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        if (!error && self->keep_alive_) self->read(request_limit);
                      });
  }

  beast::tcp_stream stream_;
  DaemonLink& daemon_;
  Live& live_;
  bool loopback_;
  std::shared_ptr<Server::Guest> guest_;
  beast::flat_buffer buffer_{max_header};
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::optional<Response> response_;
  unsigned version_ = 11;
  bool keep_alive_ = false, head_ = false;

  std::shared_ptr<const std::string> head_text_;
  std::deque<std::shared_ptr<const std::string>> chunks_;
  std::size_t waiting_ = 0;
  char scrap_[256];
  bool ended_ = false;
};

}  // namespace

Server::Server(asio::io_context& io, int listening, const std::string& control_socket)
    : metrics_source_(io, control_socket, true),
      live_source_(io, control_socket, false),
      live_(io, live_source_),
      acceptor_(io),
      pause_(io) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  (void)::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size);
  acceptor_.assign(address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), listening);
  loopback_ = acceptor_.local_endpoint().address().is_loopback();
  accept();
}

/// Who only waits, the longest, makes room: else a few idle connections could keep others out.
std::shared_ptr<Server::Guest> Server::admit() {
  std::erase_if(guests_, [](const auto& guest) { return guest.expired(); });
  if (guests_.size() >= max_connections) {
    std::shared_ptr<Guest> idlest;
    for (const auto& one : guests_)
      if (const auto guest = one.lock(); guest && guest->idle_since != Clock::time_point::max())
        if (!idlest || guest->idle_since < idlest->idle_since) idlest = guest;
    if (!idlest) return nullptr;
    idlest->idle_since = Clock::time_point::max();
    idlest->dismiss();
  }
  auto guest = std::make_shared<Guest>();
  guests_.push_back(guest);
  return guest;
}

void Server::accept() {
  acceptor_.async_accept([this](const error_code& error, tcp::socket socket) {
    if (error) {  // out of descriptors, it would fail again at once
      pause_.expires_after(accept_pause);
      pause_.async_wait([this](const error_code&) { accept(); });
      return;
    }
    if (const auto guest = admit())
      std::make_shared<Connection>(std::move(socket), metrics_source_, live_, loopback_, guest)
          ->begin();
    accept();
  });
}

}  // namespace tunorch::web
