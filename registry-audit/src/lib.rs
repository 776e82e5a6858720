//! Audit reports of a model registry.
//!
//! Why this exists: an auditor asks who put which version into production, who had approved it and what they meant by
//! that, on what evidence, under which rule, and whether the record that says so is complete and untouched. The log knows
//! all of it, and nobody reads a log. A report is a function of the log: the same commits give the same report, to the
//! byte, whoever makes it, and each row can be held against the commits that it names.
//!
//! It is a crate of its own since a service that serves models needs none of it. It asks a registry what anybody may ask,
//! and writes nothing.
//!
//! ```
//! use registry_audit::{AuditOptions, audit};
//! use registry_core::{By, Content, PromoteOptions, Registration, Registry as _, RegistryExt as _, Stage, Version};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = registry_core::in_memory();
//! let (ana, fraud, v1) = (By::new("ana".parse()?), "fraud-detection".parse()?, Version::new(1, 0, 0));
//! registry.register(&ana, &fraud, Registration::new(v1.clone(), Content::default()), &[]).await?;
//! for stage in [Stage::Staging, Stage::Production] {
//!     registry.promote(&ana, &fraud, &v1, stage, PromoteOptions::default()).await?;
//! }
//!
//! let report = audit(&registry, &AuditOptions::new(registry.clock().now())).await?;
//! assert!(report.is_sound);
//! let model = &report.models[0];
//! assert_eq!(model.deployments[0].by.as_str(), "ana");
//! let exceptions: Vec<&str> = model.exceptions.iter().map(|exception| exception.kind.as_str()).collect();
//! assert_eq!(exceptions, ["not_approved", "not_signed"]);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(run())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Architecture Invariants:** no table depends on the time at which it is made, but for requests that lapse and the days
//! that are kept, which depend on the instant that the caller names. Nothing from outside is more than text in any form.
//! No regime is known here: which table serves which requirement is in `docs/governance.md`.

mod checkpoints;
mod fold;
mod gather;
mod performance;
mod policies;
mod range;
mod render;
mod report;
mod row;
mod rows;
mod rulebook;

pub use gather::{audit, policies};
pub use policies::{ModelPolicies, PoliciesReport};
pub use range::{AuditOptions, Range};
pub use render::CsvFile;
pub use report::{AUDIT_REPORT_FORMAT, AuditReport, ModelReport};
pub use row::Table;
pub use rows::{
    Act, Approval, Area, Cause, CheckResult, Checked, Checkpoint, DataSource, Decided, Deleted, Deployment,
    Exception, ExceptionKind, Flaw, GateFound, Health, Inventory, Overview, PolicyChanged, Population,
    Request, RequestOutcome, RolledBack, RuleInForce, Source, Stated, TrialOutcome, TrialRun,
};
