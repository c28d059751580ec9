#include "orchestrator/plan/digest.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/fnv1a.hpp"

namespace tunorch {

worker::Spec with_keys(worker::Spec spec, const NodeKeys& keys) {
  const bool tls = spec.transport == "tls";
  if (tls) {
    spec.ca_pem = keys.ca_pem;
    spec.certificate_pem = keys.certificate_pem;
    spec.crl_pem = keys.crl_pem;
    spec.secrets["key"] = keys.key_pem;
  }
  worker::Spec fixed = spec;
  fixed.digest = fixed.ca_pem = fixed.certificate_pem = fixed.crl_pem = "";
  fixed.peers.clear();
  fixed.interval_ms = fixed.timeout_ms = fixed.backoff_ms = fixed.max_backoff_ms = 0;
  worker::Spec live;
  live.ca_pem = spec.ca_pem;
  live.certificate_pem = spec.certificate_pem;
  live.crl_pem = spec.crl_pem;
  live.peers = spec.peers;
  live.interval_ms = spec.interval_ms;
  live.timeout_ms = spec.timeout_ms;
  live.backoff_ms = spec.backoff_ms;
  live.max_backoff_ms = spec.max_backoff_ms;
  // A database's files are for its connections to come, which a worker makes at its start.
  std::string secrets;
  for (const auto& [name, text] : spec.secrets) secrets += name + text;
  spec.digest =
      fmt::format("{:016x}-{:016x}", fnv1a(nlohmann::json(fixed).dump() + (tls ? "" : secrets)),
                  fnv1a(nlohmann::json(live).dump() + (tls ? secrets : "")));
  return spec;
}

std::string digest_of(const Launch& launch) {
  std::string fixed = launch.control + (launch.as_root ? "r" : ""), live;
  const auto add = [](std::string& all, const std::string& text) {
    all += fmt::format("{}:{}", text.size(), text);
  };
  for (const auto* words : {&launch.argv, &launch.environment, &launch.health})
    for (const std::string& word : *words) add(fixed, word);
  for (const LaunchFile& file : launch.files) {
    add(fixed, file.name);
    add(file.keys ? live : fixed, file.text);
  }
  add(fixed, launch.ready);
  add(fixed, launch.stop_signal);
  return fmt::format("{:016x}-{:016x}", fnv1a(fixed), fnv1a(live));
}

bool updates_live(const std::string& running_digest, const std::string& wanted_digest) {
  return running_digest.substr(0, 16) == wanted_digest.substr(0, 16);
}

}  // namespace tunorch
