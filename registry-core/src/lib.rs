//! An embeddable registry for machine-learning models.
//!
//! Every model has one gap-free, append-only log of commits. Everything else is a fold of that log:
//! what is in production now, what was in production then, who put it there and on what evidence.
//! Storage is chosen when the registry is opened; the rules are here, written once.
//!
//! ```
//! use registry_core::{
//!     By, Content, ModelName, PromoteOptions, Registration, RegistryExt, Selector, Stage, Upload, Version,
//! };
//!
//! # async fn life() -> Result<(), registry_core::Error> {
//! let registry = registry_core::in_memory();
//! let fraud: ModelName = "fraud-detection".parse()?;
//! let alice = By::new("alice@example.com".parse()?);
//!
//! let weights = bytes::Bytes::from_static(b"the bytes of the model");
//! let upload = Upload { path: "model.bin".parse()?, source: &weights };
//! let v1: Version = "v1".parse()?;
//! registry.register(&alice, &fraud, Registration::new(v1.clone(), Content::default()), &[upload]).await?;
//!
//! registry.promote(&alice, &fraud, &v1, Stage::Staging, PromoteOptions::default()).await?;
//! registry.promote(&alice, &fraud, &v1, Stage::Production, PromoteOptions::default()).await?;
//!
//! let live = registry.get(&fraud, &Selector::PRODUCTION).await?;
//! assert_eq!(live.version.to_string(), "v1.0.0");
//! let file = live.artifact(&"model.bin".parse()?)?;
//! assert_eq!(registry.read(file, 1024).await?, weights);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(life()).unwrap();
//! ```
//!
//! Where to look: [`RegistryExt`] has the verbs; [`Registry`] is what services hold; [`storage`] is the
//! page for authors of backends; [`event`] is the format of the record; [`mod@decide`] holds the rules.
//!
//! **Architecture Invariants:** this crate does no I/O of its own, knows no async runtime, no HTTP, no SQL
//! and no files, and reads the system's clock and random numbers in one place each ([`SystemClock`],
//! [`SystemIds`]), which tests replace.

pub mod archive;
mod checkpoint;
pub mod codec;
mod command;
pub mod compare;
pub mod compat;
pub mod content;
pub mod decide;
mod digest;
mod engine;
pub mod environments;
mod error;
pub mod event;
mod evidence;
pub mod experiment;
mod ext;
pub mod features;
pub mod files;
mod garbage;
pub mod gate;
mod invalid;
pub mod lineage;
pub mod markdown;
mod memory;
pub mod mirror;
pub mod monitor;
mod name;
mod open;
pub mod policy;
mod registry;
mod rejection;
pub mod search;
mod selector;
mod serde_text;
pub mod signature;
mod stage;
pub mod state;
pub mod storage;
mod stream;
mod terms;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
pub mod trial;
mod verify;
mod version;
mod watch;

pub use command::{By, Command, Request, VersionChoice};
pub use content::{
    Artifact, Content, Deployment, Direction, EnvironmentFile, Finite, Manifest, Metadata, Metric, Tags,
};
pub use digest::{Digest, Hasher};
pub use engine::{Engine, RECORD_BYTES_MAX};
pub use environments::{Arrival, PromoteToOptions};
pub use error::Error;
pub use event::{Commit, Event};
pub use experiment::{Experiment, Run};
pub use ext::{
    Amendment, Found, Look, PromoteOptions, Promotion, Registered, Registration, RegistryExt, Rollback,
    Scope, Trials, Upload,
};
pub use features::FeatureSchema;
pub use garbage::{Garbage, GarbageOptions};
pub use gate::{Gate, GateResult};
pub use invalid::{Invalid, nearest};
pub use memory::{MemoryArtifacts, MemoryLog, in_memory};
pub use name::{
    Actor, AliasName, ArtifactPath, EnvironmentName, ExperimentName, Key, ModelName, ModelVersion, RequestId,
    RunName, Text,
};
pub use open::{Connector, Connectors, Location};
pub use policy::{ApprovalRule, Policy, PolicyChange, StageRule};
pub use registry::{Need, Outcome, Receipt, Recorded, Registry};
pub use rejection::{Rejection, RejectionKind};
pub use search::{Cursor, Filter, Match, Order, Page, Query};
pub use selector::Selector;
pub use signature::Signature;
pub use stage::{Stage, Transitions};
pub use state::{ModelState, VersionState};
pub use stream::{Revision, Stream, StreamKind, Term};
pub use time::{Clock, IdSource, ManualClock, SystemClock, SystemIds, Timestamp};
pub use trial::{Tally, Traffic, Trial, TrialPlan};
pub use verify::{Problem, Verification, VerifyOptions};
pub use version::{Bump, Version, VersionRange};
pub use watch::{Follower, Watch};
