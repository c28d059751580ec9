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

void Mailbox::post(Letter letter) {
  {
    const std::lock_guard lock(mutex_);
    letters_.push_back(std::move(letter));
    if (letters_.size() > 1) return;  // it has been rung for
  }
  ::eventfd_write(bell_.get(), 1);
}

void Mailbox::on_events(std::uint32_t) {
  eventfd_t count = 0;
  ::eventfd_read(bell_.get(), &count);
  std::vector<Letter> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
  }
  for (const Letter& letter : letters) letter();
}

}  // namespace tunorch::worker
