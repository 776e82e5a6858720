//! A registry on an MLflow server, as a candidate for the exam.

use std::sync::Arc;

use async_trait::async_trait;
use backend_mlflow::{MlflowLog, Options};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::storage::ArtifactStore as _;
use registry_core::testing::{Candidate, Damage, Handle};
use registry_core::{Digest, IdSource as _, MemoryArtifacts, Revision, Stream, SystemIds};

/// The address of a server for tests, from a variable that the test runner sets.
pub(crate) fn server(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(address) if address.starts_with("http://127.0.0.1:") => address,
        Ok(other) => panic!("{variable} must be on this machine, not {other}"),
        Err(_) => panic!("no MLflow server: set {variable} to the address of one on this machine"),
    }
}

/// A name that no registry on the server has.
pub(crate) fn fresh() -> String {
    format!("t{:016x}", SystemIds.next_id() >> 64)
}

/// A registry of its own on a server.
pub(crate) struct OnMlflow {
    pub(crate) address: String,
    pub(crate) registry: String,
    blobs: Arc<MemoryArtifacts>,
}

impl OnMlflow {
    pub(crate) fn new(variable: &str) -> Self {
        OnMlflow { address: server(variable), registry: fresh(), blobs: Arc::default() }
    }

    pub(crate) fn log(&self) -> MlflowLog {
        let options = Options::new(&self.address).unwrap().with_registry(&self.registry);
        options.open_log().unwrap()
    }
}

#[async_trait]
impl Candidate for OnMlflow {
    async fn open(&self) -> Handle {
        Handle { log: Arc::new(self.log()), artifacts: Arc::clone(&self.blobs) as _ }
    }

    async fn damage_record(&self, _: &Stream, _: Revision) {
        unimplemented!("a parameter cannot be overwritten through MLflow")
    }

    async fn damage_blob(&self, digest: &Digest, damage: Damage) {
        let pieces: Vec<Bytes> = self.blobs.read(digest, None).await.unwrap().try_collect().await.unwrap();
        let mut bytes = pieces.concat();
        match damage {
            Damage::Altered => *bytes.first_mut().unwrap() ^= 1,
            Damage::Truncated => drop(bytes.pop()),
            Damage::Removed => return self.blobs.damage(digest, None),
        }
        self.blobs.damage(digest, Some(bytes.into()));
    }
}
