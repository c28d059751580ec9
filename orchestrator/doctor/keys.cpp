// Keys and certificates: who can read them, how strong they are, how long they are valid.
#include <fmt/format.h>

#include <algorithm>

#include "orchestrator/doctor/judges.hpp"

namespace tunorch {
namespace {

constexpr std::int64_t day_s = 24 * 3600;
constexpr std::int64_t soon_s = 30 * day_s;      // to renew a node's
constexpr std::int64_t ca_soon_s = 180 * day_s;  // every node has to be visited
constexpr int least_rsa_bits = 3072;             // 128 bits of security (NIST SP 800-57, table 2)
constexpr int least_ec_bits = 253;               // as OpenSSL counts Curve25519's

std::string renew(const Examined& examined, const std::string& node) {
  return fmt::format("tunorch pki renew {} {}", quoted(examined.file), quoted(node));
}

void judge_secret(const KeyFile& file, Findings& findings) {
  if ((file.mode & 077U) != 0) {
    Finding finding{"keys.mode", Severity::error,
                    fmt::format("{} has mode {:04o}", file.path, file.mode)};
    finding.meaning =
        "others can read the key, and apply refuses it; who has read it can be this "
        "node";
    finding.mend = "chmod 600 " + quoted(file.path);
    findings.push_back(finding);
  }
  if (file.owner != 0) {
    Finding finding{"keys.owner", Severity::warning,
                    fmt::format("{} belongs to user {}", file.path, file.owner)};
    finding.meaning = "that user can read the key and replace it";
    finding.mend = "chown root:root " + quoted(file.path);
    findings.push_back(finding);
  }
}

void judge_strength(const Examined& examined, const KeyFile& file, Findings& findings) {
  const bool rsa = file.algorithm == "RSA";
  const bool weak = file.bits < (rsa ? least_rsa_bits : least_ec_bits);
  if (!weak && !rsa) return;
  Finding finding{"keys.algorithm", weak ? Severity::warning : Severity::note,
                  fmt::format("{} is {} of {} bits", file.path, file.algorithm, file.bits)};
  finding.meaning =
      weak ? fmt::format("too weak for years to come: RSA from {}, EC from P-256", least_rsa_bits)
           : "EC keys are as strong and cost less at each handshake";
  if (!file.node.empty()) finding.mend = renew(examined, file.node);
  findings.push_back(finding);
}

void judge_validity(const Examined& examined, const KeyFile& file, Findings& findings) {
  const std::int64_t now = examined.host.clock.now;
  const bool of_ca = file.node.empty();
  if (now < file.not_before) {
    Finding finding{"keys.not-yet-valid", Severity::error,
                    fmt::format("{} is valid only in {} hours", file.path,
                                (file.not_before - now + 3599) / 3600)};
    finding.meaning =
        "it is refused; this host's clock is behind, or that of the host that made it "
        "was ahead";
    finding.mend = "timedatectl set-ntp true";
    findings.push_back(finding);
  }
  const std::int64_t left = file.not_after - now;
  if (left > (of_ca ? ca_soon_s : soon_s))
    return add_ok(findings, "keys.expiry",
                  fmt::format("{} is valid for {} days", file.path, left / day_s));
  Finding finding{"keys.expiry", left <= 0 ? Severity::error : Severity::warning,
                  left <= 0 ? file.path + " has expired"
                            : fmt::format("{} expires in {} days", file.path, left / day_s)};
  finding.meaning = left <= 0 ? "it is refused by every peer" : "then every peer refuses it";
  if (of_ca)
    finding.meaning += "; with a new CA every node needs new files, at the same time";
  else
    finding.mend = renew(examined, file.node);
  findings.push_back(finding);
}

/// A key is one node's: who has it is that node.
void judge_shared(const Examined& examined, Findings& findings) {
  std::map<std::string, std::set<std::string>> nodes;
  for (const KeyFile& file : examined.host.keys.files)
    if (!file.fingerprint.empty())
      nodes[file.fingerprint].insert(file.node.empty() ? "the CA" : file.node);
  for (const auto& [fingerprint, names] : nodes) {
    if (names.size() < 2) continue;
    Finding finding{"keys.shared", Severity::error, "the same key is used by " + listed(names)};
    finding.meaning = "each of them can pass for the others";
    for (const std::string& name : names)
      if (name != "the CA" && name != *names.begin()) finding.mend = renew(examined, name);
    findings.push_back(finding);
  }
}

void judge_ca_key(const Examined& examined, Findings& findings) {
  std::set<std::string> others;
  std::string ca_key;
  for (const KeyFile& file : examined.host.keys.files) {
    if (!file.secret || !file.exists) continue;
    if (file.node.empty())
      ca_key = file.path;
    else if (file.node != examined.desired->node)
      others.insert(file.node);
  }
  if (examined.host.keys.files.empty()) return;  // they could not be looked at
  if (ca_key.empty() && others.empty())
    return add_ok(findings, "keys.others", "no keys but this node's lie here");
  Finding finding{"keys.others", Severity::note,
                  ca_key.empty() ? "keys of other nodes lie here: " + listed(others)
                                 : "the CA's key lies here: " + ca_key};
  finding.meaning =
      "right where `tunorch pki init` is run; on a node, who takes that host takes "
      "the cluster";
  findings.push_back(finding);
}

/// What mends it can be typed only where the CA's key is.
Finding refused_keys(const Examined& examined, const std::string& problem) {
  const KeyFile* own_certificate = nullptr;
  bool ca_key = false, of_own = false;
  for (const KeyFile& file : examined.host.keys.files) {
    if (file.node.empty() && file.secret && file.exists) ca_key = true;
    if (file.node != examined.desired->node) continue;
    if (problem.find(" " + file.path + ": ") != problem.npos) of_own = true;
    if (!file.secret) own_certificate = &file;
  }
  Finding finding{"keys.usable", Severity::error, problem};
  finding.meaning = "apply refuses this node's keys";
  if (ca_key && of_own)
    finding.mend = own_certificate && own_certificate->exists
                       ? renew(examined, examined.desired->node)
                       : "tunorch pki init " + quoted(examined.file);
  else
    finding.meaning +=
        "; copy ca.crt, NODE.crt, NODE.key, and ca.crl where there is one, from where `tunorch pki "
        "init` was run";
  return finding;
}

}  // namespace

void judge_keys(const Examined& examined, Findings& findings) {
  if (examined.host.clock.random_ready) {
    add_ok(findings, "keys.random", "the kernel's random numbers are ready");
  } else {
    Finding finding{"keys.random", Severity::error, "the kernel's random numbers are not ready"};
    finding.meaning =
        "keys cannot be made, and handshakes wait; a virtual machine needs virtio-rng";
    finding.mend = "modprobe virtio_rng";
    finding.lasting = "echo virtio_rng > /etc/modules-load.d/virtio_rng.conf";
    findings.push_back(finding);
  }
  if (!examined.desired) return;
  const std::size_t before = findings.size();
  for (const KeyFile& file : examined.host.keys.files) {
    if (!file.exists) continue;
    if (file.secret) judge_secret(file, findings);
    if (file.bits > 0) judge_strength(examined, file, findings);
    if (file.not_after != 0) judge_validity(examined, file, findings);
  }
  judge_shared(examined, findings);
  const bool told =
      std::any_of(findings.begin() + static_cast<std::ptrdiff_t>(before), findings.end(),
                  [](const Finding& finding) { return finding.severity == Severity::error; });
  // Modes and dates have been reported already, in more detail.
  if (const std::string& problem = examined.host.keys.problem; !problem.empty() && !told) {
    findings.push_back(refused_keys(examined, problem));
  } else if (problem.empty() && !examined.host.keys.files.empty()) {
    add_ok(findings, "keys.usable", "this node's key and certificate are the cluster's");
  }
  judge_ca_key(examined, findings);
}

}  // namespace tunorch
