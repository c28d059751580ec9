// Bytes on their way through a connection. A buffer holds a block of its thread's pool only while
// there is something in it, so that a thousand idle sessions cost nothing and a busy one always
// works in memory the processor still has in its cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace tunorch::worker {

/// Blocks of one size. One thread's own.
class BlockPool {
 public:
  using Block = std::unique_ptr<std::uint8_t[]>;

  explicit BlockPool(std::size_t block_bytes) : block_bytes_(block_bytes) {}

  std::size_t block_bytes() const { return block_bytes_; }
  Block take();
  void give(Block block);
  /// Whether so many are in use that connections which only wait should give theirs back.
  bool is_crowded() const;

 private:
  std::size_t block_bytes_;
  std::size_t in_use_ = 0;
  std::vector<Block> spare_;
};

/// A queue of bytes, contiguous. Without a pool it has a fixed, smaller size.
class Buffer {
 public:
  explicit Buffer(std::size_t fixed_bytes);
  ~Buffer() { clear(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  /// From now on blocks come from there; what is in it stays.
  void use(BlockPool& pool);

  std::uint8_t* data() { return bytes_.get() + begin_; }
  std::size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }

  /// Where `bytes` more can be put, or null where they find no room.
  std::uint8_t* room(std::size_t bytes);
  /// What room() gives at most: all there is behind the end.
  std::size_t room_bytes() const { return capacity_ - end_; }
  void added(std::size_t bytes) { end_ += bytes; }
  /// The memory stays as it is until the next room().
  void taken(std::size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear();

  /// To be called when a turn ends: lets go of what it does not need.
  void settle();

 private:
  void move_to(BlockPool::Block block, std::size_t capacity);

  BlockPool* pool_ = nullptr;
  BlockPool::Block bytes_;
  std::size_t capacity_;
  std::size_t begin_ = 0, end_ = 0;
  bool pooled_ = false;  // bytes_ is of the pool
};

}  // namespace tunorch::worker
