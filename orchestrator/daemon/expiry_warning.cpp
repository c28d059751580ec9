#include "orchestrator/daemon/expiry_warning.hpp"

#include "orchestrator/pki/pki.hpp"

namespace tunorch {
namespace {

constexpr std::chrono::hours interval{24};

}  // namespace

void ExpiryWarning::check(const std::string& node, const std::optional<CertificateEnds>& ends,
                          Time now, PkiTime today, EventLog& events) {
  if (!ends || (warned_ && now - *warned_ < interval)) return;
  const std::string words = expiry_words(node, *ends, today);
  if (words.empty()) return;
  warned_ = now;
  events.add({"certificate_expires", "", "", words});
}

}  // namespace tunorch
