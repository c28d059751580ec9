#include "worker/buffer.hpp"

#include <cstring>

namespace tunorch::worker {
namespace {

/// More than these at once only waiting connections have: a turn touches few.
constexpr std::size_t crowd = 10;

}  // namespace

BlockPool::Block BlockPool::take() {
  ++in_use_;
  // Not value-initialised: an untouched page costs no memory.
  if (spare_.empty()) return BlockPool::Block(new std::uint8_t[block_bytes_]);
  Block block = std::move(spare_.back());
  spare_.pop_back();
  return block;
}

void BlockPool::give(Block block) {
  --in_use_;
  if (spare_.size() < crowd) spare_.push_back(std::move(block));
}

bool BlockPool::is_crowded() const {
  return in_use_ > crowd;
}

Buffer::Buffer(std::size_t fixed_bytes)
    : bytes_(new std::uint8_t[fixed_bytes]), capacity_(fixed_bytes) {}

void Buffer::use(BlockPool& pool) {
  pool_ = &pool;
  settle();
}

void Buffer::move_to(BlockPool::Block block, std::size_t capacity) {
  const std::size_t held = size();
  if (held > 0) std::memcpy(block.get(), data(), held);
  if (pooled_) pool_->give(std::move(bytes_));
  bytes_ = std::move(block);
  capacity_ = capacity;
  begin_ = 0;
  end_ = held;
  pooled_ = false;
}

std::uint8_t* Buffer::room(std::size_t bytes) {
  if (capacity_ - end_ >= bytes) return bytes_.get() + end_;
  if (pool_ && !pooled_) {
    move_to(pool_->take(), pool_->block_bytes());
    pooled_ = true;
  } else if (begin_ > 0) {
    std::memmove(bytes_.get(), data(), size());
    end_ -= begin_;
    begin_ = 0;
  }
  return capacity_ - end_ >= bytes ? bytes_.get() + end_ : nullptr;
}

void Buffer::clear() {
  begin_ = end_ = 0;
  if (pool_) settle();
}

void Buffer::settle() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (!pool_) return;
  if (empty())
    move_to(nullptr, 0);
  else if (pooled_ && pool_->is_crowded())
    move_to(BlockPool::Block(new std::uint8_t[size()]), size());
}

}  // namespace tunorch::worker
