// `tunorch version`.
#include "version.hpp"

#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb version_verb() {
  return {.name = "version", .summary = "Print the version", .run = [](const Paths&) {
            print("tunorch " TUNORCH_VERSION);
            return 0;
          }};
}

}  // namespace tunorch
