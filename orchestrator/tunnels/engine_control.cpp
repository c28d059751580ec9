#include "orchestrator/tunnels/engine_control.hpp"

#include <boost/asio/buffer.hpp>

namespace tunorch {

namespace local = boost::asio::local;

EngineControl::EngineControl(boost::asio::io_context& io, const std::filesystem::path& path,
                             std::function<void(std::string_view)> on_text)
    : socket_(io), on_text_(std::move(on_text)) {
  // Before it connects: who does not accept is not waited for.
  socket_.open();
  socket_.non_blocking(true);
  socket_.connect(local::stream_protocol::endpoint(path.string()));
  read();
}

void EngineControl::send(std::string_view text) {
  boost::system::error_code error;
  while (!text.empty() && !closed_) {
    text.remove_prefix(socket_.send(boost::asio::buffer(text.data(), text.size()), 0, error));
    if (error) closed_ = true;
  }
}

void EngineControl::read() {
  socket_.async_read_some(
      boost::asio::buffer(buffer_),
      [this, alive = alive_](const boost::system::error_code& error, std::size_t size) {
        if (!*alive) return;
        if (error) {
          closed_ = true;
          return;
        }
        on_text_({buffer_.data(), size});
        if (*alive) read();
      });
}

}  // namespace tunorch
