// A real worker process between a test and a socket in the place of its TUN queue, and peers that
// speak its wire byte by byte: TLS 1.3 with a node's certificate, and frames that need not be well.
//
//   test ── control socket ──▶ tunorch-worker ── "TUN": a socket pair ──▶ test
//   Peer ── TCP on loopback, TLS ────┘
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/owned.hpp"
#include "base/scm_rights.hpp"
#include "orchestrator/pki/pki.hpp"
#include "protocol/worker.hpp"
#include "tests/unit/sample_cluster.hpp"
#include "worker/frame.hpp"
#include "worker/handshake.hpp"

namespace tunorch {

using std::chrono::milliseconds;
using worker::FrameType;
using Clock = std::chrono::steady_clock;

/// What must not take long; generous, for machines under load and sanitizers.
inline constexpr milliseconds soon{5000};

inline void must(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("cannot ") + what + ": " + strerror(errno));
}

inline bool readable(int fd, milliseconds limit) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, static_cast<int>(limit.count())) > 0;
}

/// Certificates of the sample cluster's nodes, in a folder that goes with it.
class Keys {
 public:
  Keys() {
    char name[] = "/tmp/session-XXXXXX";
    must(::mkdtemp(name), "make a folder");
    dir_ = name;
    cluster_ = sample_cluster();
    cluster_.pki_dir = dir_.string();
    init_pki(cluster_);
  }
  ~Keys() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;
  NodeKeys of(const std::string& node) const { return load_keys(dir_, node); }
  void revoke(const std::string& node) { revoke_pki(cluster_, {node}); }

 private:
  Cluster cluster_;
  std::filesystem::path dir_;
};

struct Frame {
  FrameType type{};
  std::string payload;
};

inline std::string frame_bytes(std::uint8_t type, const std::string& payload,
                               std::optional<std::size_t> claimed = {}) {
  std::string bytes(worker::frame_header_bytes, '\0');
  worker::write_frame_header(
      reinterpret_cast<std::uint8_t*>(bytes.data()),
      {static_cast<FrameType>(type), static_cast<std::uint32_t>(claimed.value_or(payload.size()))});
  return bytes + payload;
}

inline std::string frame_bytes(FrameType type, const std::string& payload) {
  return frame_bytes(static_cast<std::uint8_t>(type), payload);
}

/// The other end of one of the worker's connections.
class Peer {
 public:
  /// `keys`: nothing: it shows no certificate.
  Peer(Fd socket, const std::optional<NodeKeys>& keys, bool server)
      : socket_(std::move(socket)),
        context_(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method())) {
    if (keys) {
      const auto bio = [](const std::string& pem) {
        return Owned<BIO, BIO_free>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
      };
      const Owned<X509, X509_free> certificate(
          PEM_read_bio_X509(bio(keys->certificate_pem).get(), nullptr, nullptr, nullptr));
      const Owned<EVP_PKEY, EVP_PKEY_free> key(
          PEM_read_bio_PrivateKey(bio(keys->key_pem).get(), nullptr, nullptr, nullptr));
      SSL_CTX_use_certificate(context_.get(), certificate.get());
      SSL_CTX_use_PrivateKey(context_.get(), key.get());
    }
    // A listener asks for the dialer's certificate; whether it is good is not what is tested here.
    SSL_CTX_set_verify(context_.get(), server ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       [](int, X509_STORE_CTX*) { return 1; });
    SSL_CTX_set_num_tickets(context_.get(), 0);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (server)
      SSL_set_accept_state(ssl_.get());
    else
      SSL_set_connect_state(ssl_.get());
  }

  /// False where the worker ended it first.
  bool handshake() {
    for (;;) {
      ERR_clear_error();
      const int code = SSL_do_handshake(ssl_.get());
      flush();
      if (code == 1) return true;
      if (SSL_get_error(ssl_.get(), code) != SSL_ERROR_WANT_READ || !pull(soon)) return false;
    }
  }
  /// Frames, or what is none, as the worker's TLS hands it over.
  void send(const std::string& bytes) {
    if (bytes.empty() || eof_) return;
    SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    ERR_clear_error();
    flush();
  }
  void send(FrameType type, const std::string& payload) { send(frame_bytes(type, payload)); }
  /// Past TLS. False where the worker has closed.
  bool send_raw(const std::string& bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t got =
          ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (got <= 0) return false;
      sent += static_cast<std::size_t>(got);
    }
    return true;
  }
  /// What TLS sent so far, as it went over the wire.
  const std::string& recording() const { return recording_; }

  /// Nothing where none comes in time, or never again. PINGs are answered, as every peer does.
  std::optional<Frame> receive(milliseconds limit = soon) {
    const auto until = Clock::now() + limit;
    for (;;) {
      if (inbox_.size() >= worker::frame_header_bytes) {
        const auto header =
            worker::read_frame_header(reinterpret_cast<const std::uint8_t*>(inbox_.data()));
        if (!header) throw std::runtime_error("the worker sent a frame that cannot be");
        const std::size_t whole = worker::frame_header_bytes + header->length;
        if (inbox_.size() >= whole) {
          Frame frame{header->type, inbox_.substr(worker::frame_header_bytes, header->length)};
          inbox_.erase(0, whole);
          if (frame.type == FrameType::close) reason_ = worker::parse_close(frame.payload);
          if (frame.type == FrameType::ping) send(FrameType::pong, frame.payload);
          return frame;
        }
      }
      if (decrypt()) continue;
      const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
      if (left.count() <= 0 || !pull(left)) return std::nullopt;
    }
  }
  std::optional<Frame> receive(FrameType type, milliseconds limit = soon) {
    const auto until = Clock::now() + limit;
    while (Clock::now() < until) {
      auto frame = receive(std::chrono::ceil<milliseconds>(until - Clock::now()));
      if (!frame || frame->type == type) return frame;
    }
    return std::nullopt;
  }
  /// Whether the worker ends it within that time; what it says before is thrown away.
  bool ends(milliseconds limit = soon) {
    const auto until = Clock::now() + limit;
    while (!eof_ && Clock::now() < until) {
      receive(std::chrono::ceil<milliseconds>(until - Clock::now()));
    }
    return eof_;
  }
  /// Of a CLOSE; empty: there was none.
  const std::string& reason() const { return reason_; }

  /// What it says in its PINGs, in nanoseconds.
  std::uint64_t clock() const {
    return static_cast<std::uint64_t>((Clock::now() - clock_behind).time_since_epoch().count());
  }
  milliseconds clock_behind{0};

  /// PING and its PONG.
  bool answers(milliseconds limit = soon) {
    std::string ping(worker::ping_bytes, '\0');
    worker::write_ping(reinterpret_cast<std::uint8_t*>(ping.data()), {++sequence_, clock()});
    send(FrameType::ping, ping);
    const auto until = Clock::now() + limit;
    while (Clock::now() < until) {
      const auto frame = receive(FrameType::pong, limit);
      if (!frame) return false;
      if (frame->payload == ping) return true;
    }
    return false;
  }
  /// A reset instead of an end.
  void abort() {
    const linger none{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    socket_ = Fd();
    eof_ = true;
  }

 private:
  void flush() {
    char part[16 * 1024];
    for (int got = 0; (got = BIO_read(SSL_get_wbio(ssl_.get()), part, sizeof part)) > 0;) {
      recording_.append(part, static_cast<std::size_t>(got));
      if (!send_raw({part, static_cast<std::size_t>(got)})) return;
    }
  }
  bool decrypt() {
    char part[16 * 1024];
    const int got = SSL_read(ssl_.get(), part, sizeof part);
    if (got > 0) inbox_.append(part, static_cast<std::size_t>(got));
    ERR_clear_error();
    return got > 0;
  }
  bool pull(milliseconds limit) {
    if (eof_ || !readable(socket_.get(), limit)) return false;
    char part[16 * 1024];
    const ssize_t got = ::recv(socket_.get(), part, sizeof part, 0);
    if (got <= 0) {
      eof_ = true;
      return false;
    }
    BIO_write(SSL_get_rbio(ssl_.get()), part, static_cast<int>(got));
    return true;
  }

  Fd socket_;
  Owned<SSL_CTX, SSL_CTX_free> context_;
  Owned<SSL, SSL_free> ssl_;
  std::string inbox_, recording_, reason_;
  std::uint32_t sequence_ = 0;
  bool eof_ = false;
};

/// A TCP socket that listens on loopback, on a port of the kernel's choice.
class Listening {
 public:
  Listening() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    must(::bind(socket_.get(), any, size) == 0 && ::listen(socket_.get(), 256) == 0 &&
             ::getsockname(socket_.get(), any, &size) == 0,
         "listen on loopback");
    port_ = ntohs(address.sin_port);
  }
  int fd() const { return socket_.get(); }
  std::uint16_t port() const { return port_; }

  Fd connect() const {
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    must(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
         "connect to the worker");
    return socket;
  }
  Fd accept(milliseconds limit = soon) const {
    must(readable(socket_.get(), limit), "see the worker dial");
    Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    must(socket.valid(), "accept the worker's connection");
    return socket;
  }

 private:
  Fd socket_;
  std::uint16_t port_ = 0;
};

/// The program tunorch-worker, started and asked as the daemon does.
class WorkerProcess {
 public:
  WorkerProcess(const worker::Spec& spec, const Listening* listening) {
    int pair[2];
    must(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0,
         "make a socket pair");
    tun_ = Fd(pair[0]);
    const Fd queue(pair[1]);
    const Fd door(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;  // without a name the kernel gives an abstract one
    socklen_t size = sizeof(sa_family_t);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    must(::bind(door.get(), any, size) == 0 && ::listen(door.get(), 4) == 0,
         "make a control socket");
    size = sizeof address;
    ::getsockname(door.get(), any, &size);
    pid_ = ::fork();
    must(pid_ >= 0, "fork");
    if (pid_ == 0) {
      ::dup2(door.get(), worker::control_fd);
      ::execl(TUNORCH_WORKER, "tunorch-worker", nullptr);
      ::_exit(127);
    }
    control_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    must(::connect(control_.get(), any, size) == 0, "reach the worker");
    std::vector<int> fds{queue.get()};
    if (listening) fds.push_back(listening->fd());
    send_spec(
        {worker::RequestOp::start, worker::control_protocol, 1, listening ? 1 : 0, {"key"}, spec},
        fds);
    must(wait_for(worker::ReportKind::ready).has_value(), "start the worker");
  }
  ~WorkerProcess() {
    if (pid_ <= 0 || !alive()) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  bool alive() {
    if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
    return pid_ > 0;
  }
  void stop_running() {
    ::kill(pid_, SIGSTOP);
    ::waitpid(pid_, nullptr, WUNTRACED);
  }
  void go_on() { ::kill(pid_, SIGCONT); }

  void send(const worker::Request& request, const std::vector<int>& fds = {}) {
    must(send_packet(control_.get(), to_packet(request), fds), "ask the worker");
  }
  /// It is done when this returns.
  void update(const worker::Spec& spec) {
    send_spec({worker::RequestOp::update, worker::control_protocol, 0, 0, {"key"}, spec}, {});
    send({worker::RequestOp::queues});
    must(wait_for(worker::ReportKind::queues).has_value(), "update the worker");
  }
  /// Reports that came, heartbeats aside, into `told`.
  void listen(milliseconds limit = milliseconds(0)) {
    std::vector<char> text(worker::max_control_packet);
    while (readable(control_.get(), limit)) {
      const ssize_t size = ::recv(control_.get(), text.data(), text.size(), 0);
      if (size <= 0) return;
      limit = milliseconds(0);
      const worker::Report report = worker::parse_report({text.data(), std::size_t(size)});
      if (report.event == worker::ReportKind::heartbeat)
        dropped = report.dropped;
      else
        told.push_back(report);
    }
  }
  /// The first such report not taken yet, which is taken.
  std::optional<worker::Report> wait_for(worker::ReportKind event, const std::string& peer = "",
                                         milliseconds limit = soon) {
    const auto until = Clock::now() + limit;
    for (;;) {
      listen(milliseconds(10));
      for (auto at = told.begin(); at != told.end(); ++at)
        if (at->event == event && (peer.empty() || at->peer == peer)) {
          const worker::Report found = *at;
          told.erase(at);
          return found;
        }
      if (Clock::now() >= until || !alive()) return std::nullopt;
    }
  }
  /// The next packet it wrote to its TUN, with its virtio header.
  std::optional<std::string> packet(milliseconds limit = milliseconds(0)) {
    if (!readable(tun_.get(), limit)) return std::nullopt;
    std::string bytes(worker::max_data_bytes, '\0');
    const ssize_t size = ::recv(tun_.get(), bytes.data(), bytes.size(), 0);
    if (size <= 0) return std::nullopt;
    bytes.resize(static_cast<std::size_t>(size));
    return bytes;
  }

  std::deque<worker::Report> told;
  std::map<std::string, std::uint64_t> dropped;

 private:
  void send_spec(const worker::Request& request, std::vector<int> fds) {
    const std::string& key = request.spec.secrets.at("key");
    const Fd secret(::memfd_create("key", MFD_CLOEXEC));
    must(::write(secret.get(), key.data(), key.size()) == static_cast<ssize_t>(key.size()),
         "write the key");
    fds.push_back(secret.get());
    send(request, fds);
  }

  pid_t pid_ = 0;
  int status_ = 0;
  Fd tun_, control_;
};

}  // namespace tunorch
