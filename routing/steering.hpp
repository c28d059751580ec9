// Which queue of a multi-queue TUN a packet goes to: a program of the kernel's (TUNSETSTEERINGEBPF,
// drivers/net/tun.c) that hashes the flow. Without one the kernel moves a flow to another queue
// when it learns where its replies come from, and packets overtake each other.
#pragma once

#include "base/fd.hpp"

namespace tunorch::routing {

/// Loads the program (bpf(2), a socket filter). It returns the upper 16 bits of the hash that
/// worker/flow_hash.hpp defines; the kernel takes them modulo the number of queues. Throws
/// std::system_error: EPERM without CAP_BPF or CAP_SYS_ADMIN, ENOSYS or EINVAL where the kernel
/// lacks it.
Fd load_steering();

/// Has the device of this queue steer by the program, from the next packet on. Throws
/// std::system_error.
void set_steering(const Fd& queue, const Fd& program);

}  // namespace tunorch::routing
