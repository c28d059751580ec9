// Any program as an engine: fills in the words of its command lines and files.
//
//   {dev}              the device, which is there already and has its MTU and addresses
//   {dir}              a folder of its own, where its files are
//   {node}             this node's name
//   {port}             the tunnel's port on the listener
//   {local} {peer}     outer addresses: on a dialer its `bind` or 0.0.0.0 (::), and the listener's
//                      endpoint; on a listener its endpoint, and the dialer's, or 0.0.0.0 (::)
//   {link_local_addr}  our address in the tunnel's link subnet, and the peer's
//   {link_peer_addr}
//   {mtu}              of the device, in bytes
//   {{ }}              a brace
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "orchestrator/desired.hpp"
#include "orchestrator/launch.hpp"

namespace tunorch {

/// What is wrong with a text that is to be filled in, or "" where nothing is. A listener of many
/// dialers has no one peer.
std::string template_fault(const std::string& text, bool many_peers);

/// The files of the host that it is to get copies of: paths by name.
std::map<std::string, std::string> command_copies(const DesiredTunnel& tunnel,
                                                  const std::filesystem::path& dir);

/// `dir` is the process's folder, `copies` what those files hold.
Launch command_launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                      const std::map<std::string, std::string>& copies);

}  // namespace tunorch
