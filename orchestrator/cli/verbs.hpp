// Every verb of `tunorch`, in the order in which its help shows them. Each is defined in the file
// that has its name.
#pragma once

#include "orchestrator/cli/verb.hpp"

namespace tunorch {

Verb init_verb();
Verb validate_verb();
Verb plan_verb();
Verb apply_verb();
Verb pki_verb();
Verb support_bundle_verb();
Verb doctor_verb();
Verb status_verb();
Verb down_verb();
Verb daemon_verb();
Verb version_verb();
Verb confirm_verb();
Verb revert_verb();
Verb events_verb();
Verb top_verb();
Verb logs_verb();
Verb drain_verb();
Verb undrain_verb();
Verb restart_verb();
Verb failback_verb();
Verb explain_verb();

}  // namespace tunorch
