#include "orchestrator/plan/digest.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/fnv1a.hpp"

namespace tunorch {

namespace {

using nlohmann::json;

// What the first version hashed: one flat object, in which the half that was not meant had these
// values. They are part of the digest and never change; fields that came later are not here.
constexpr const char* fixed_frame = R"({"address":"","backoff_ms":0,"bind":"","bundle":"",
  "ca_pem":"","certificate_pem":"","cipher":"auto","cluster":"","congestion":"auto","crl_pem":"",
  "digest":"","id":0,"interval_ms":0,"isolate":true,"listener":false,"max_backoff_ms":0,"node":"",
  "offload":"auto","peers":[],"port":0,"postgres":{},"rcvbuf_bytes":0,"sndbuf_bytes":0,"streams":1,
  "timeout_ms":0,"transport":"tls","tunnel":""})";
constexpr const char* live_frame = R"({"address":"","backoff_ms":200,"bind":"","bundle":"",
  "ca_pem":"","certificate_pem":"","cipher":"auto","cluster":"","congestion":"auto","crl_pem":"",
  "digest":"","id":0,"interval_ms":200,"isolate":true,"listener":false,"max_backoff_ms":30000,
  "node":"","offload":"auto","peers":[],"port":0,"postgres":{"down":{"schema":"tunorch","url":""},
  "keep_s":0,"sync":false,"up":{"schema":"tunorch","url":""}},"rcvbuf_bytes":0,"sndbuf_bytes":0,
  "streams":1,"timeout_ms":300,"transport":"tls","tunnel":""})";

/// The text of one half that is hashed. A field that the first version did not have counts only if
/// it is not at its default, so that a later version with more fields restarts no worker.
template <class Half>
std::string hashed_text(const Half& half, const char* frame) {
  json text = json::parse(frame);
  const json given = to_json(half), defaults = to_json(Half{});
  for (const auto& [key, value] : given.items())
    if (text.contains(key) || value != defaults.at(key)) text[key] = value;
  return text.dump();
}

}  // namespace

worker::Spec with_keys(worker::Spec spec, const NodeKeys& keys) {
  const bool tls = spec.transport == "tls";
  if (tls) {
    spec.ca_pem = keys.ca_pem;
    spec.certificate_pem = keys.certificate_pem;
    spec.crl_pem = keys.crl_pem;
    spec.secrets["key"] = keys.key_pem;
  }
  // A database's files are for its connections to come, which a worker makes at its start.
  std::string secrets;
  for (const auto& [name, text] : spec.secrets) secrets += name + text;
  const worker::FixedSpec& fixed = spec;
  const worker::LiveSpec& live = spec;
  spec.digest =
      fmt::format("{:016x}-{:016x}", fnv1a(hashed_text(fixed, fixed_frame) + (tls ? "" : secrets)),
                  fnv1a(hashed_text(live, live_frame) + (tls ? secrets : "")));
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
