// Warns of a certificate that is near its end: an event a day, from thirty days before. Renews
// nothing.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "orchestrator/pki/node_keys.hpp"
#include "orchestrator/telemetry/events.hpp"

namespace tunorch {

class ExpiryWarning {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `now` paces the warnings; `today` is compared with the certificate's end.
  void check(const std::string& node, const std::optional<CertificateEnds>& ends, Time now,
             PkiTime today, EventLog& events);

 private:
  std::optional<Time> warned_;
};

}  // namespace tunorch
