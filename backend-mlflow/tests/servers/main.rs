//! What is tried on MLflow servers that run on this machine. `cargo xtask test` installs and starts them, and says
//! where they are:
//!
//! ```text
//! REGISTRY_TEST_MLFLOW_3          MLflow 3.x on SQLite
//! REGISTRY_TEST_MLFLOW_3_DB       the file of its database
//! REGISTRY_TEST_MLFLOW_3_PYTHON   a Python that has its client, and the driver of PostgreSQL
//! REGISTRY_TEST_MLFLOW_2          MLflow 2.22.x on SQLite
//! REGISTRY_TEST_MLFLOW_2_DB       the file of its database
//! REGISTRY_TEST_MLFLOW_2_PYTHON   a Python that has its client
//! REGISTRY_TEST_MLFLOW_PG         MLflow 3.x on PostgreSQL
//! REGISTRY_TEST_MLFLOW_PG_DB      the address of its database
//! ```
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
mod exam;
mod files;
mod log;
mod processes;
mod python;
mod shared;
mod wire;
