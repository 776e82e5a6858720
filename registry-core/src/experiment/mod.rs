//! Why this exists: a version comes out of many attempts, and whoever asks later how it was made wants the attempt: its
//! parameters, how the loss went down, on which commit of the code. An [`Experiment`] is a series of training runs; a
//! [`Run`] is one of them, written into the log of the experiment, the stream `experiment/<name>`, while it goes on, and
//! the versions that come out of it name it.
//!
//! ```text
//! start ── params, metrics, artifacts ── register ──> model/<name>: a version that names the run
//!   │              │                        │
//!   └──────────────┴────────────────────────┴── finished, failed or aborted ──> experiment/<name>
//! ```
//!
//! A run is known by the revision of the commit that started it, as a trial or a request for promotion is. Why not a
//! random id? Because what started it can be read with one request then, and people can say it: `xgboost-v1:17`.
//!
//! A process that is killed records nothing any more. So a run has a lease: one that gave no sign of life for longer
//! **reads** as aborted. Nobody writes that down; should the run come back, it goes on.
//!
//! | file | holds |
//! |---|---|
//! | `record.rs` | what is on record of a run, and what that means |
//! | `environment.rs` | what a run was carried out with, and how what tools say is read |
//! | `read.rs` | questions about runs, and a version out of one |
//! | `handle.rs` | what a training program holds |

mod environment;
mod handle;
pub(crate) mod read;
mod record;
#[cfg(test)]
mod tests;

pub use environment::{
    Absent, GitState, HostFact, RunEnvironment, crates, git_commit, requirements, tool_version,
};
pub use handle::{Experiment, Run, Task};
pub use read::{Begun, MetricPage};
pub use record::{
    ARTIFACTS_MAX, Lease, METRICS_MAX, MetricPoint, MetricSummary, MetricValue, PARAMS_MAX, POINTS_MAX,
    ParamValue, RunEnd, RunLog, RunOutcome, RunStarted, RunState, RunStatus,
};
