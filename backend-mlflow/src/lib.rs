//! An MLflow server as storage for a model registry. A team that runs MLflow keeps it, and needs no other
//! database: the log of commits is kept in runs, which every MLflow server has.
//!
//! ```
//! # fn open() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use registry_core::{Engine, MemoryArtifacts};
//!
//! // Nothing is sent until something is asked for, and nothing is written until something is changed.
//! let log = backend_mlflow::Options::new("http://127.0.0.1:5000")?.open_log()?;
//! let registry = Engine::new(Arc::new(log), Arc::new(MemoryArtifacts::default()));
//! # drop(registry);
//! # Ok(())
//! # }
//! # open().unwrap();
//! ```
//!
//! The layout of the log is drawn in `log/mod.rs`; how requests are sent, and what answers mean, stands in
//! `rest/`.
//!
//! # What it promises
//!
//! A commit that was acknowledged is as durable as the database below the server. Everybody who may write to
//! the server may also delete what is stored here: that is noticed and reported, never passed over.
//!
//! **Architecture Invariants:** this crate holds no rule of the registry. Only `rest/` knows HTTP and the paths
//! of MLflow's endpoints. There is one way to write a commit: to give a parameter that has none its value.

mod blobs;
mod connect;
mod files;
mod log;
mod mirror;
mod rest;

pub use blobs::MlflowArtifacts;
pub use connect::{MlflowConnector, MlflowRegistry, Options, Parts};
pub use log::MlflowLog;
pub use mirror::MlflowMirror;
