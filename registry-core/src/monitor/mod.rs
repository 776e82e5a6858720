//! Why this exists: a model that was good yesterday may be bad today, and nobody looks at three in the morning. What a
//! version does in production is observed, summed up and written into a log of its own, the stream `health/<model>`, so
//! that the log of the model's life stays small; and rules, which are part of the policy, say what must not happen, and
//! take the version out of production if it does.
//!
//! ```text
//! observe ── Meter ── every minute ── Summary ──> health/<model>     (any number of replicas)
//!                                                      │
//!                  rules in the policy ── Monitor ── reads the window ── assess ──> alert, or a rollback
//! ```
//!
//! Any number of monitors may watch one model. All of them read the same summaries; the rollback names the version that
//! broke the rule and is refused where another version is in production by now, so it happens once.
//!
//! | file | holds |
//! |---|---|
//! | `rule.rs` | what a rule says |
//! | `summary.rs` | observations, summed up |
//! | `encoding.rs` | whether the bytes of a sketch can be read safely |
//! | `assess.rs` | whether a rule is broken, without I/O |
//! | `meter.rs` | counting while a model answers |
//! | `watch.rs` | reading the window, assessing, acting |

mod assess;
mod encoding;
mod meter;
mod rule;
mod summary;
#[cfg(test)]
mod tests;
mod watch;

pub use assess::{
    Breach, MEASUREMENTS_KEPT, Measurement, Memory, Outcome, Phase, Reading, Watched, assess, is_measured,
    measure,
};
pub use meter::{Meter, Meters};
pub use rule::{Aggregate, Baseline, Condition, OnNoData, Response, RollbackLimit, Rule};
pub use summary::{Gathering, Numbers, Observed, Sketch, Summary};
pub use watch::{Action, Finding, Monitor, Notify, Pulled, Source};
