// The machine as a plan meets it: it can be observed, and a step can be performed on it. Knows no
// kind of step; daemon/machine.hpp is the real one, and unit tests have one of their own.
#pragma once

#include "orchestrator/plan/desired.hpp"
#include "orchestrator/plan/observed.hpp"
#include "orchestrator/plan/step.hpp"

namespace tunorch {

class Performer {
 public:
  virtual ~Performer() = default;

  /// What is there and concerns a node that should be `desired`. Only reads.
  virtual Observed observe(const Desired& desired) = 0;
  /// Performs the step whole, or throws and leaves its object as it was. `desired` has the spec of
  /// a worker that the step names.
  virtual void perform(const Step& step, const Desired& desired) = 0;
};

/// Performs the step, and has `observed` say what is there after it.
inline void perform_and_record(Performer& performer, const Step& step, const Desired& desired,
                               Observed& observed) {
  performer.perform(step, desired);
  record(observed, step);
}

}  // namespace tunorch
