// TUN queues as a worker uses them: reads and writes packets with their virtio header, raises and
// drops carrier, sets what the kernel may hand over. It neither makes devices nor attaches queues.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "worker/vnet_header.hpp"

namespace tunorch::worker::tun {

/// Bytes of header and packet; -1 and errno as read(2): EAGAIN where the queue is empty, EBADFD
/// where the device was deleted.
ssize_t read(int queue, std::uint8_t* to, std::size_t size);
/// False where the kernel does not take it.
bool write(int queue, std::span<const iovec> parts);

/// TUNSETCARRIER of the queue's device: without carrier the kernel sends nothing into it, and
/// routes that ignore links without carrier leave it.
void set_carrier(int queue, bool on);

/// TUNSETOFFLOAD of the queue's device. False where the kernel does not know one of them.
bool set_offloads(int queue, const Offloads& offloads);
/// The most of `wanted` that the kernel knows; sets it.
Offloads probe_offloads(int queue, Offloads wanted);

}  // namespace tunorch::worker::tun
