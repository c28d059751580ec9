#include "orchestrator/client/client.hpp"

#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "orchestrator/system/executable.hpp"
#include "orchestrator/system/process.hpp"
#include "orchestrator/system/service_manager.hpp"

namespace tunorch {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using asio::local::stream_protocol;

struct Client::Connection {
  asio::io_context io;
  stream_protocol::socket socket{io};
};

namespace {

constexpr std::chrono::seconds start_limit{5};
constexpr std::chrono::milliseconds start_poll{20};

std::string last_words(const fs::path& log) {
  std::string text = read_text(log).value_or("");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

std::optional<Client> Client::connect(const Paths& paths) {
  auto connection = std::make_shared<Connection>();
  boost::system::error_code error;
  connection->socket.connect(stream_protocol::endpoint(paths.control_socket().string()), error);
  if (error) return std::nullopt;
  return Client(std::move(connection));
}

Client Client::start_daemon(const Paths& paths) {
  if (const std::string unit = unit_of(paths); !unit.empty()) {
    start_unit(unit);
    if (auto client = connect(paths)) return *client;
    throw std::runtime_error("cannot start the daemon: `journalctl -u " + unit + "` tells why");
  }
  prepare_runtime_dir(paths.runtime);
  asio::io_context io;
  const Process daemon =
      launch_daemon(io.get_executor(), own_executable(),
                    {"daemon", "--node", paths.node, "--runtime-dir", paths.runtime.string(),
                     "--state-dir", paths.state.string()},
                    paths.log());
  const auto until = std::chrono::steady_clock::now() + start_limit;
  while (std::chrono::steady_clock::now() < until) {
    if (auto client = connect(paths)) return *client;
    if (ended_within(daemon, start_poll))
      throw std::runtime_error("cannot start the daemon: " + last_words(paths.log()));
  }
  kill_process(daemon);
  throw std::runtime_error("cannot start the daemon: it does not answer; see " +
                           paths.log().string());
}

void Client::ask(const DaemonRequest& request,
                 const std::function<void(const nlohmann::json&)>& on_line) {
  boost::system::error_code error;
  asio::write(connection_->socket, asio::buffer(to_line(request) + "\n"), error);
  std::string inbox;
  bool answered = false;
  while (!error) {
    const std::size_t size =
        asio::read_until(connection_->socket, asio::dynamic_buffer(inbox), '\n', error);
    if (error) break;
    on_line(nlohmann::json::parse(inbox.substr(0, size)));
    inbox.erase(0, size);
    answered = true;
  }
  if (!answered)
    throw std::runtime_error("the daemon closed the connection without an answer; see its log");
}

}  // namespace tunorch
