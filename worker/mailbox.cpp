#include "worker/mailbox.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

namespace tunorch::worker {

Fd make_bell() {
  Fd bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell.valid())
    throw std::system_error(errno, std::generic_category(), "cannot make an eventfd");
  return bell;
}

Mailbox::Mailbox(Poller& poller) : poller_(poller), bell_(make_bell()) {
  poller_.add(bell_.get(), EPOLLIN, *this);
}

Mailbox::~Mailbox() {
  poller_.remove(bell_.get());
}

void Mailbox::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > 1) return;  // it has been rung for
  }
  ::eventfd_write(bell_.get(), 1);
}

void Mailbox::on_events(std::uint32_t) {
  eventfd_t count = 0;
  ::eventfd_read(bell_.get(), &count);
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (const Task& task : tasks) task();
}

}  // namespace tunorch::worker
