#include "orchestrator/pki/wireguard.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>

#include "base/owned.hpp"
#include "orchestrator/pki/files.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

constexpr int key_bytes = 32;
using RawKey = std::array<unsigned char, key_bytes>;

using Key = Owned<EVP_PKEY, EVP_PKEY_free>;

fs::path private_file(const fs::path& dir, const std::string& node) {
  return dir / (node + ".wg.key");
}
fs::path public_file(const fs::path& dir, const std::string& node) {
  return dir / (node + ".wg.pub");
}

std::string base64(const RawKey& key) {
  std::array<unsigned char, 4 * ((key_bytes + 2) / 3) + 1> text{};
  const int size = EVP_EncodeBlock(text.data(), key.data(), key_bytes);
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size)};
}

std::string hex(const RawKey& key) {
  std::string text;
  for (const unsigned char byte : key) text += fmt::format("{:02x}", byte);
  return text;
}

RawKey parse(std::string text, const fs::path& path) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::array<unsigned char, 64> bytes{};
  constexpr std::size_t letters = 44;  // 32 bytes and one of padding
  if (text.size() != letters || text.back() != '=' ||
      EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size())) != key_bytes + 1)
    pki_fail("use", path,
             "it is not a WireGuard key (base64 of 32 bytes); remove both files of "
             "the node and run `tunorch pki init`");
  RawKey key{};
  std::copy_n(bytes.begin(), key.size(), key.begin());
  return key;
}

RawKey make_private() {
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  RawKey raw{};
  std::size_t size = raw.size();
  if (!key || EVP_PKEY_get_raw_private_key(key.get(), raw.data(), &size) != 1)
    throw std::runtime_error("cannot make a WireGuard key: OpenSSL has no X25519");
  return raw;
}

RawKey public_of(const RawKey& secret, const fs::path& path) {
  const Key key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret.data(), secret.size()));
  RawKey raw{};
  std::size_t size = raw.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size) != 1)
    pki_fail("use", path, "OpenSSL takes it for no X25519 key");
  return raw;
}

bool has_wireguard(const Bundle& bundle) {
  return std::ranges::find(bundle.tunnels, Engine::wireguard, &Tunnel::engine) !=
         bundle.tunnels.end();
}

}  // namespace

bool needs_wireguard_keys(const Cluster& cluster) {
  return std::ranges::any_of(cluster.bundles, has_wireguard);
}

std::vector<std::string> init_wireguard_keys(const Cluster& cluster) {
  std::set<std::string> nodes;
  for (const Bundle& bundle : cluster.bundles) {
    if (!has_wireguard(bundle)) continue;
    nodes.insert(bundle.listen);
    nodes.insert(bundle.dial.begin(), bundle.dial.end());
  }
  std::vector<std::string> lines;
  for (const std::string& node : nodes) {
    const fs::path secret = private_file(cluster.pki_dir, node);
    const fs::path open = public_file(cluster.pki_dir, node);
    const bool has_secret = fs::exists(secret), has_open = fs::exists(open);
    if (has_open && !has_secret)
      pki_fail(
          "use", open,
          fmt::format("{} is missing; copy it here, or remove the public key to make both anew",
                      secret.string()));
    if (!has_secret) write_pki_file(secret, base64(make_private()) + "\n", 0600);
    const RawKey key = public_of(parse(read_pki_file(secret, Secret::yes), secret), secret);
    if (!has_open) write_pki_file(open, base64(key) + "\n", 0644);
    if (parse(read_pki_file(open, Secret::no), open) != key)
      pki_fail("use", open,
               fmt::format("it is not the public key of {}; remove it and run `tunorch "
                           "pki init`",
                           secret.string()));
    lines.push_back(fmt::format("{} {}", has_open ? "kept" : "made", open.string()));
    lines.push_back(fmt::format("{} {}", has_secret ? "kept" : "made", secret.string()));
  }
  return lines;
}

WireGuardKeys load_wireguard_keys(const fs::path& dir, const std::string& node,
                                  const std::vector<std::string>& peers) {
  const fs::path secret = private_file(dir, node);
  WireGuardKeys keys;
  keys.private_key = hex(parse(read_pki_file(secret, Secret::yes), secret));
  for (const std::string& peer : peers) {
    const fs::path open = public_file(dir, peer);
    keys.public_keys[peer] = hex(parse(read_pki_file(open, Secret::no), open));
  }
  return keys;
}

}  // namespace tunorch
