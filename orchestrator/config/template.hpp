// Text with names in braces, as the engine `command` has in its command lines and files:
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

#include <map>
#include <string>

namespace tunorch {

/// What is wrong with such a text, or "" if nothing is. A listener of many dialers has no one peer.
std::string template_fault(const std::string& text, bool many_peers);

/// The text with every name replaced by its value; one without a value becomes nothing.
std::string fill_in(const std::string& text, const std::map<std::string, std::string>& values);

}  // namespace tunorch
