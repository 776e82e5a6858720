//! What tests on any server need: where it is, and a place of their own on it.

use registry_core::{IdSource as _, SystemIds};

/// The bucket, or container, that is made when a server is started.
pub(crate) const BUCKET: &str = "registry-test";

/// Where a server is. A missing one is a failure: a test that is skipped proves nothing.
pub(crate) fn endpoint(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(endpoint) if endpoint.starts_with("http://127.0.0.1:") => endpoint,
        Ok(other) => panic!("{variable} must be on this machine, not {other}"),
        Err(_) => panic!("no server: run `cargo xtask test`, which starts it and sets {variable}"),
    }
}

/// A prefix that nobody else uses.
pub(crate) fn fresh() -> String {
    format!("run-{:032x}/team a", SystemIds.next_id())
}
