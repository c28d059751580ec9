#include "worker/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "worker/handshake.hpp"
#include "worker/outer_socket.hpp"

namespace tunorch::worker {
namespace {

/// Until its certificate is verified, a peer gets a buffer for one greeting only.
constexpr std::size_t greeting_bytes = frame_header_bytes + max_text_bytes;
/// Queued before a write is worth its system call.
constexpr std::size_t max_batch_bytes = 64 * 1024;
constexpr std::size_t max_frame_bytes = frame_header_bytes + max_data_bytes;
/// PINGs, PONGs and a CLOSE find room even behind a full batch.
constexpr std::size_t control_room_bytes = 4 * 1024 + greeting_bytes;
/// TLS hands out at most one record (16 KiB) a call: this many, then others have their turn.
constexpr int records_a_turn = 32;
/// Room for one record, and for what is left of a frame.
constexpr std::size_t in_room_bytes = 16 * 1024;

std::string socket_words(int error) {
  if (error == ECONNRESET || error == EPIPE) return "the peer closed the connection (reset)";
  if (error == ETIMEDOUT) return "the peer does not acknowledge (connection timed out)";
  return std::strerror(error);
}

}  // namespace

Connection::Connection(Poller& poller, Fd socket, std::unique_ptr<Channel> channel,
                       std::string address, ConnectionState state, Owner& owner)
    : poller_(&poller),
      owner_(&owner),
      socket_(std::move(socket)),
      channel_(std::move(channel)),
      address_(std::move(address)),
      state_(state),
      since_(Clock::now()),
      in_(greeting_bytes),
      out_(2 * greeting_bytes),
      batch_bytes_(max_batch_bytes),
      interest_(state == ConnectionState::connecting ? EPOLLOUT : EPOLLIN) {
  poller_->add(socket_.get(), interest_, *this);
}

Connection::~Connection() {
  if (poller_) poller_->remove(socket_.get());
}

void Connection::enter(ConnectionState state) {
  state_ = state;
  since_ = Clock::now();
  if (state == ConnectionState::closing) limit_farewell(socket_.get());
}

// ---- life ----

void Connection::on_events(std::uint32_t events) {
  switch (state_) {
    case ConnectionState::connecting:
      finish_connecting();
      break;
    case ConnectionState::handshaking:
      step_handshake();
      break;
    case ConnectionState::greeting:
    case ConnectionState::greeted:
    case ConnectionState::live:
      if (events & EPOLLOUT) flush();
      if (reads() && (events & ~static_cast<std::uint32_t>(EPOLLOUT))) read();
      break;
    case ConnectionState::closing:
      step_closing();
      break;
    case ConnectionState::dead:
      break;
  }
  update_interest();
}

void Connection::finish_connecting() {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    fail("cannot connect to " + address_ + ": " + std::strerror(error));
    return;
  }
  enter(ConnectionState::handshaking);
  step_handshake();
}

void Connection::step_handshake() {
  const IoResult result = channel_->handshake();
  wants_write_ = result == IoResult::want_write;
  if (result == IoResult::want_read || result == IoResult::want_write) return;
  if (result != IoResult::done) return on_end(result, "during the TLS handshake");
  enter(ConnectionState::greeting);
  owner_->on_secured(*this);
  if (state_ == ConnectionState::greeting) read();  // OpenSSL may hold the greeting already
}

void Connection::detach() {
  poller_->remove(socket_.get());
  poller_ = nullptr;
}

void Connection::go_live(Poller& poller, BlockPool& pool, Owner& owner) {
  poller_ = &poller;
  owner_ = &owner;
  in_.use(pool);
  out_.use(pool);
  enter(ConnectionState::live);
  interest_ = EPOLLIN;
  poller_->add(socket_.get(), interest_, *this);
  // What the owner answers waits until the frames are handed over: an answer that cannot be sent
  // makes a connection read on, and the buffer would go from under the frames.
  reading_ = true;
  const bool goes_on = consume();
  reading_ = false;
  if (!goes_on) return;
  read();
  update_interest();
}

void Connection::on_end(IoResult result, const char* doing) {
  if (result == IoResult::closed)
    fail(std::string("the peer closed the connection") + (*doing ? " " : "") + doing);
  else
    fail(channel_->socket_error() ? socket_words(channel_->socket_error()) : channel_->error());
}

void Connection::close(const std::string& reason) {
  if (state_ == ConnectionState::closing || state_ == ConnectionState::dead) return;
  const bool can_speak = reads() || state_ == ConnectionState::greeted;
  if (can_speak) queue(FrameType::close, close_text(reason));
  enter(can_speak ? ConnectionState::closing : ConnectionState::dead);
  step_closing();
  update_interest();
}

void Connection::fail(const std::string& reason) {
  if (state_ == ConnectionState::closing || state_ == ConnectionState::dead) return;
  // TLS may just have written an alert that tells the peer why. Closing with unread data would
  // reset the connection and could overtake it, so what still comes is read and thrown away.
  const bool linger = state_ != ConnectionState::connecting;
  out_.clear();
  enter(linger ? ConnectionState::closing : ConnectionState::dead);
  step_closing();
  update_interest();
  owner_->on_closed(*this, reason);
}

void Connection::step_closing() {
  if (state_ != ConnectionState::closing) return;
  if (sends_pending() && write_out() && sends_pending()) return;
  ::shutdown(socket_.get(), SHUT_WR);
  std::uint8_t scrap[4096];
  ssize_t got = 0;
  for (int i = 0; i < 16; ++i) {
    got = ::recv(socket_.get(), scrap, sizeof scrap, MSG_DONTWAIT);
    if (got <= 0) break;
  }
  if (got == 0 || (got < 0 && errno != EAGAIN)) enter(ConnectionState::dead);
}

void Connection::update_interest() {
  std::uint32_t wanted = EPOLLIN;
  if (state_ == ConnectionState::dead) wanted = 0;
  if (state_ == ConnectionState::connecting) wanted = EPOLLOUT;
  if (state_ != ConnectionState::dead && (sends_pending() || wants_write_)) wanted |= EPOLLOUT;
  if (wanted == interest_ || !poller_) return;
  interest_ = wanted;
  poller_->modify(socket_.get(), wanted);
}

// ---- sending ----

bool Connection::send(FrameType type, std::string_view payload) {
  const bool queued = queue(type, payload);
  if (!reading_) flush();
  return queued;
}

bool Connection::queue(FrameType type, std::string_view payload) {
  const std::size_t bytes = frame_header_bytes + payload.size();
  std::uint8_t* to = out_.room(bytes);
  if (!to) return false;
  write_frame_header(to, {type, static_cast<std::uint32_t>(payload.size())});
  std::memcpy(to + frame_header_bytes, payload.data(), payload.size());
  out_.added(bytes);
  return true;
}

std::uint8_t* Connection::landing() {
  std::uint8_t* to = blocked_ ? nullptr : out_.room(max_frame_bytes + control_room_bytes);
  if (!to) was_full_ = true;
  return to ? to + frame_header_bytes : nullptr;
}

void Connection::commit(std::size_t size) {
  write_frame_header(out_.room(0), {FrameType::data, static_cast<std::uint32_t>(size)});
  out_.added(frame_header_bytes + size);
}

bool Connection::append_data(const std::uint8_t* payload, std::size_t size) {
  std::uint8_t* to = landing();
  if (!to) return false;
  std::memcpy(to, payload, size);
  commit(size);
  return true;
}

std::size_t Connection::queued_bytes() const {
  return out_.size() + unsent_bytes(socket_.get());
}

bool Connection::batch_is_full() const {
  return out_.size() >= batch_bytes_;
}

/// The kernel looks at TCP_NOTSENT_LOWAT only when it begins another buffer of up to 64 KiB: on a
/// slow path that is many times the limit.
bool Connection::socket_is_full() const {
  return batch_bytes_ < max_batch_bytes && unsent_bytes(socket_.get()) >= batch_bytes_;
}

void Connection::set_unsent_limit(std::size_t bytes) {
  limit_unsent(socket_.get(), bytes);
  batch_bytes_ = std::min(bytes, max_batch_bytes);
}

/// False where the connection has failed.
bool Connection::write_out() {
  if (socket_is_full()) {
    // Only set when data is queued: otherwise no EPOLLOUT would clear it.
    blocked_ = sends_pending();
    return true;
  }
  IoResult result = IoResult::done;
  while (!out_.empty() && result == IoResult::done) {
    std::size_t taken = 0;
    result = channel_->write(out_.data(), out_.size(), taken);
    out_.taken(taken);
    moved_ += taken;
    took_some_ = took_some_ || taken > 0;
  }
  if (result == IoResult::done) result = channel_->flush();
  blocked_ = result == IoResult::want_write || result == IoResult::want_read;
  if (result != IoResult::done && !blocked_) {
    out_.clear();
    return false;
  }
  out_.settle();
  return true;
}

void Connection::flush() {
  if (!reads() && state_ != ConnectionState::greeted) return;
  if (!write_out()) {
    // The peer's reason, an alert or a CLOSE, may be waiting to be read: it says more.
    if (!reading_ && reads()) read();
    fail(socket_words(ECONNRESET));
    return;
  }
  update_interest();
  if (std::exchange(took_some_, false) && was_full_) owner_->on_progress(*this);
  if (was_full_ && !sends_pending()) {
    was_full_ = false;
    owner_->on_drained(*this);
  }
}

// ---- receiving ----

void Connection::read() {
  has_more_ = false;
  reading_ = true;
  read_records();
  reading_ = false;
  if (state_ == ConnectionState::dead || state_ == ConnectionState::closing) return;
  in_.settle();
  // Answers were queued while frames were handed over.
  if (sends_pending() && !blocked_) flush();
}

void Connection::read_records() {
  for (int i = 0; i < records_a_turn; ++i) {
    if (!reads()) return;
    std::uint8_t* to = in_.room(in_room_bytes);
    if (!to) to = in_.room(1);
    std::size_t got = 0;
    const IoResult result = channel_->read(to, in_.room_bytes(), got);
    wants_write_ = result == IoResult::want_write;
    if (result == IoResult::want_read || result == IoResult::want_write) return;
    if (result != IoResult::done) return on_end(result, "");
    in_.added(got);
    moved_ += got;
    heard_ = true;
    if (!consume()) return;
  }
  has_more_ = true;
}

bool Connection::consume() {
  const bool goes_on = hand_over_frames();
  owner_->on_frames_done(*this);
  return goes_on;
}

/// The whole frames there are. False where the connection ended over one.
bool Connection::hand_over_frames() {
  while (in_.size() >= frame_header_bytes) {
    std::uint8_t* frame = in_.data();
    const auto header = read_frame_header(frame);
    if (!header || (!is_live() && header->length > max_text_bytes)) {
      fail("the peer broke the protocol: a frame of type " + std::to_string(frame[0]) +
           " that cannot be");
      return false;
    }
    const std::size_t whole = frame_header_bytes + header->length;
    if (in_.size() < whole) break;
    in_.taken(whole);
    owner_->on_frame(*this, header->type, frame + frame_header_bytes, header->length);
    if (!reads()) return false;
  }
  return true;
}

}  // namespace tunorch::worker
