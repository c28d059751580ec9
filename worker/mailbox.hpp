// How the worker's threads talk: one posts what is to be done, the other does it on its own loop.
// For what happens now and then; packets go by a Relay.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "worker/poller.hpp"

namespace tunorch::worker {

/// An eventfd(2) to wake a loop by. Throws std::system_error.
Fd make_bell();

class Mailbox final : public EventHandler {
 public:
  using Task = std::function<void()>;

  /// Tasks run on the poller's thread.
  explicit Mailbox(Poller& poller);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// From any thread. Tasks of one sender run in their order.
  void post(Task task);

  void on_events(std::uint32_t events) override;

 private:
  Poller& poller_;
  Fd bell_;
  std::mutex mutex_;
  std::vector<Task> tasks_;
};

}  // namespace tunorch::worker
