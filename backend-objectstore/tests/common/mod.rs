//! A registry in any store, as a candidate for the exam, and the damage that is done to it directly.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use backend_objectstore::Options;
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{ObjectStore, ObjectStoreExt as _};
use futures_util::TryStreamExt as _;
use registry_core::testing::{Candidate, Damage, Handle};
use registry_core::{Digest, Revision, Stream};

/// A prefix in a store.
pub(crate) struct Stored {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// What must live as long as the store.
    _kept: Box<dyn Any + Send + Sync>,
}

impl Stored {
    /// This prefix of this store, and what must live as long as that.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: &str, kept: impl Any + Send + Sync) -> Self {
        Stored { store, prefix: prefix.to_owned(), _kept: Box::new(kept) }
    }

    async fn bytes(&self, key: &Path) -> Vec<u8> {
        self.store.get(key).await.unwrap().bytes().await.unwrap().to_vec()
    }
}

#[async_trait]
impl Candidate for Stored {
    async fn open(&self) -> Handle {
        let opened = Options::default().open_parts(Arc::clone(&self.store), &self.prefix).await;
        let (log, artifacts) = opened.unwrap();
        Handle { log: Arc::new(log), artifacts: Arc::new(artifacts), mirror: None }
    }

    async fn damage_record(&self, stream: &Stream, revision: Revision) {
        // Found by looking, not by the code under test: the one slot of that number in the stream's log.
        let kind = stream.kind().as_str();
        let folder = Path::parse(format!("{}/streams/{kind}", self.prefix)).unwrap();
        let slot = format!("/log/{:020}.json", revision.get());
        let found: Vec<_> = self.store.list(Some(&folder)).try_collect().await.unwrap();
        let name = stream.model().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let mut slots = found.into_iter().map(|meta| meta.location).filter(|key| {
            let key = key.as_ref();
            key.ends_with(&slot) && key.contains(&format!("/{}", name.split_at(name.len().min(4)).0))
        });
        let key = slots.next().unwrap();
        assert_eq!(slots.next(), None, "which record is meant?");
        let mut body = self.bytes(&key).await;
        let middle = body.len() / 2;
        *body.get_mut(middle).unwrap() ^= 1;
        self.store.put(&key, body.into()).await.unwrap();
    }

    async fn damage_blob(&self, digest: &Digest, damage: Damage) {
        let hex = digest.hex();
        let (first, rest) = hex.split_at(2);
        let key = Path::parse(format!("{}/blobs/sha256/{first}/{rest}", self.prefix)).unwrap();
        let mut bytes = self.bytes(&key).await;
        match damage {
            Damage::Altered => *bytes.first_mut().unwrap() ^= 1,
            Damage::Truncated => drop(bytes.pop()),
            Damage::Emptied => bytes.clear(),
            Damage::Removed => return self.store.delete(&key).await.unwrap(),
        }
        self.store.put(&key, bytes.into()).await.unwrap();
    }
}
