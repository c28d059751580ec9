#include "orchestrator/client/query.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <utility>

namespace tunorch {

namespace asio = boost::asio;
using asio::local::stream_protocol;

std::shared_ptr<ControlQuery> ControlQuery::ask(asio::io_context& io, const Paths& paths,
                                                const DaemonRequest& request, OnLine on_line,
                                                OnEnd on_end) {
  std::shared_ptr<ControlQuery> query(new ControlQuery(io, std::move(on_line), std::move(on_end)));
  query->outbox_ = to_line(request) + "\n";
  query->socket_.async_connect(stream_protocol::endpoint(paths.control_socket().string()),
                               [query](const boost::system::error_code& refused) {
                                 if (refused) return query->end(false);
                                 asio::async_write(
                                     query->socket_, asio::buffer(query->outbox_),
                                     [query](const boost::system::error_code& error, std::size_t) {
                                       if (error) return query->end(false);
                                       query->read();
                                     });
                               });
  return query;
}

void ControlQuery::cancel() {
  on_line_ = nullptr;
  on_end_ = nullptr;
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void ControlQuery::read() {
  asio::async_read_until(
      socket_, asio::dynamic_buffer(inbox_, max_answer), '\n',
      [query = shared_from_this()](const boost::system::error_code& error, std::size_t size) {
        if (error) return query->end(true);
        const auto line = nlohmann::json::parse(query->inbox_.substr(0, size), nullptr, false);
        query->inbox_.erase(0, size);
        if (query->on_line_ && line.is_object()) query->on_line_(line);
        query->read();
      });
}

void ControlQuery::end(bool asked) {
  if (const OnEnd tell = std::exchange(on_end_, nullptr)) tell(asked);
}

}  // namespace tunorch
