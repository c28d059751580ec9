// `tunorch confirm` and `tunorch revert`: the two ends of `apply --confirm`.
#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {
namespace {

Verb end_of_confirm(const char* name, const char* summary, const DaemonRequest& request,
                    const char* done) {
  return {.name = name, .summary = summary, .run = [=](const Paths& paths) {
            const int code = ask_daemon(paths, request);
            if (code == 0) print(done);
            return code;
          }};
}

}  // namespace

Verb confirm_verb() {
  return end_of_confirm("confirm", "Keep what `apply --confirm` made", ConfirmRequest{},
                        "confirmed: what was applied stays");
}

Verb revert_verb() {
  return end_of_confirm("revert", "Go back to before `apply --confirm` now", RevertRequest{},
                        "reverted: the node is as it was before the apply");
}

}  // namespace tunorch
