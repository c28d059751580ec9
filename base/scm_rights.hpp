// Packets of a unix socket (SOCK_SEQPACKET) and the file descriptors that they carry (SCM_RIGHTS,
// unix(7)). Does not look into the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/fd.hpp"

namespace tunorch {

/// The most file descriptors of one packet. The kernel has a limit of 253 (SCM_MAX_FD).
inline constexpr std::size_t max_packet_fds = 64;

struct FdPacket {
  std::vector<char> bytes;
  std::vector<Fd> fds;

  std::string_view text() const { return {bytes.data(), bytes.size()}; }
};

/// Never blocks. False with errno as sendmsg(2) sets it; EINVAL for more than `max_packet_fds`.
bool send_packet(int socket, std::string_view text, const std::vector<int>& fds);

enum class Received : std::uint8_t { packet, nothing, closed };

/// Never blocks. A packet of more than `most` bytes counts as an end. The kernel closes file
/// descriptors beyond `max_packet_fds` itself. `packet` is kept between calls for its memory.
Received receive_packet(int socket, std::size_t most, FdPacket& packet);

}  // namespace tunorch
