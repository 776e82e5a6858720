//! The exam, taken by the in-memory backend.
#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::storage::{ArtifactStore as _, CommitLog as _};
use registry_core::testing::{Candidate, Damage, Handle};
use registry_core::{Digest, MemoryArtifacts, MemoryLog, Revision, Stream};

#[derive(Default)]
struct Memory {
    log: Arc<MemoryLog>,
    artifacts: Arc<MemoryArtifacts>,
}

#[async_trait]
impl Candidate for Memory {
    async fn open(&self) -> Handle {
        Handle { log: self.log.clone(), artifacts: self.artifacts.clone(), mirror: None }
    }

    async fn damage_record(&self, stream: &Stream, revision: Revision) {
        let record = self.log.read(stream, revision, 1).await.unwrap().remove(0);
        let mut body = record.body.to_vec();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        self.log.damage(stream, revision, body.into());
    }

    async fn damage_blob(&self, digest: &Digest, damage: Damage) {
        let mut stream = self.artifacts.read(digest, None).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        match damage {
            Damage::Altered => bytes[0] ^= 1,
            Damage::Truncated => drop(bytes.pop()),
            Damage::Emptied => bytes.clear(),
            Damage::Removed => return self.artifacts.damage(digest, None),
        }
        self.artifacts.damage(digest, Some(Bytes::from(bytes)));
    }
}

registry_core::exam!(Memory::default());
