// The daemon's end of a foreign process's control socket (AF_UNIX, SOCK_STREAM): text out, text in.
// Knows nothing of what the words mean, and never waits.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace tunorch {

class EngineControl {
 public:
  /// Throws boost::system::system_error where nobody listens.
  EngineControl(boost::asio::io_context& io, const std::filesystem::path& path,
                std::function<void(std::string_view)> on_text);
  ~EngineControl() { *alive_ = false; }
  EngineControl(const EngineControl&) = delete;
  EngineControl& operator=(const EngineControl&) = delete;

  /// What the other side does not take at once is lost with the connection: it hangs.
  void send(std::string_view text);
  /// The other side closed it, or does not read.
  bool is_closed() const { return closed_; }

 private:
  void read();

  boost::asio::local::stream_protocol::socket socket_;
  std::function<void(std::string_view)> on_text_;
  std::array<char, 4096> buffer_;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tunorch
