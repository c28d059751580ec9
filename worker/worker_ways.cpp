// How a worker's connections come about: TLS over TCP, or streams of a database.
#include <stdexcept>

#include "worker/outer_socket.hpp"
#include "worker/worker.hpp"

namespace tunorch::worker {

/// Its threads tell this one by tasks.
void Worker::open_database(SecretFiles files) {
  postgres_ = std::make_unique<Postgres>(
      *spec_, std::move(files),
      Postgres::Events{[this](Fd socket, const std::string& dialer) {
                         mailbox_.post(
                             [this, dialer, brought = std::make_shared<Fd>(std::move(socket))] {
                               if (!stop_at_) on_database_stream(std::move(*brought), dialer);
                             });
                       },
                       [this](const std::string& reason) {
                         mailbox_.post([this, reason] { on_database_trouble(reason); });
                       }});
}

Connection* Worker::make_connection(Fd socket, const std::string& address, int stream,
                                    ConnectionState state) {
  const std::string expected = spec_->listener ? "" : spec_->peers.front().node;
  std::unique_ptr<Channel> channel;
  try {
    if (postgres_)
      channel = std::make_unique<PlainChannel>(socket.get(), std::vector<std::string>{expected});
    else
      channel = std::make_unique<Tls>(*tls_, socket.get(), expected);
  } catch (const std::runtime_error& error) {
    refused("", address, error.what());
    return nullptr;
  }
  if (!postgres_) tune_socket(socket.get(), *spec_);
  return add_connection(std::move(socket), std::move(channel), address, stream, state);
}

Connection* Worker::add_connection(Fd socket, std::unique_ptr<Channel> channel,
                                   const std::string& address, int stream, ConnectionState state) {
  connections_.push_back(std::make_unique<Connection>(poller_, std::move(socket),
                                                      std::move(channel), address, state, *this));
  connections_.back()->stream = stream;
  return connections_.back().get();
}

Fd Worker::open_way(int stream) {
  return postgres_ ? postgres_->open_stream(stream)
                   : begin_connect(spec_->address, spec_->port, spec_->bind);
}

std::string Worker::way_text() const {
  if (postgres_) return postgres_->text();
  const bool v6 = spec_->address.find(':') != std::string::npos;
  return (v6 ? "[" + spec_->address + "]" : spec_->address) + ":" + std::to_string(spec_->port);
}

/// A dialer opened a stream in the database. Who it is, the database knows, and HELLO must agree.
void Worker::on_database_stream(Fd socket, const std::string& dialer) {
  auto channel = std::make_unique<PlainChannel>(socket.get(), std::vector<std::string>{dialer});
  add_connection(std::move(socket), std::move(channel), postgres_->text(), 0,
                 ConnectionState::handshaking);
}

void Worker::on_database_trouble(const std::string& reason) {
  const bool news = trouble_ != reason;
  trouble_ = reason;
  if (news) control_.tell(trouble_report());
  if (reason.empty()) tell_ready();
}

Report Worker::trouble_report() const {
  Report report = hello();
  report.event = ReportKind::trouble;
  report.reason = trouble_;
  return report;
}

}  // namespace tunorch::worker
