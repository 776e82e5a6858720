//! What is tried on MLflow servers that run on this machine. Where they are, these variables say:
//!
//! ```text
//! REGISTRY_TEST_MLFLOW_3       MLflow 3.x on SQLite, and its database file in REGISTRY_TEST_MLFLOW_3_DB
//! REGISTRY_TEST_MLFLOW_2       MLflow 2.22.x on SQLite
//! REGISTRY_TEST_MLFLOW_PG      MLflow 3.x on PostgreSQL
//! ```
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod exam;
mod log;
mod processes;
mod shared;
mod wire;
