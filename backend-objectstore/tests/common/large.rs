//! A file that is sent in parts, which each cloud has its own way of putting together.

use std::sync::Arc;

use backend_objectstore::Options;
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{ObjectStore, ObjectStoreExt as _};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::{ArtifactPath, Digest, RegistryExt as _};

/// Three parts of 16 MiB, the last of them short.
const SIZE: usize = 40 * 1024 * 1024 + 7;

/// It comes back as it was, and one that was cut off behind the registry's back is found.
pub(crate) async fn comes_back_and_damage_is_found(store: Arc<dyn ObjectStore>, prefix: &str) {
    let registry = Options::default().open(Arc::clone(&store), prefix).await.unwrap();
    // Not the same in every part, so that parts that were swapped are noticed.
    let bytes: Bytes = (0..SIZE).map(|index| (index / 251 % 256) as u8 ^ (index % 7) as u8).collect();
    let path: ArtifactPath = "large.bin".parse().unwrap();
    let artifact = registry.upload(&path, &bytes, &|_| {}).await.unwrap();
    assert_eq!((artifact.digest, artifact.size), (Digest::of(&bytes), SIZE as u64));
    assert_eq!(registry.read(&artifact, SIZE as u64).await.unwrap(), bytes);
    let part = registry.open_range(&artifact, 16_777_210..16_777_230).await.unwrap();
    let part: Vec<Bytes> = part.try_collect().await.unwrap();
    assert_eq!(part.concat(), bytes.slice(16_777_210..16_777_230));

    let hex = artifact.digest.hex();
    let (first, rest) = hex.split_at(2);
    let key = Path::parse(format!("{prefix}/blobs/sha256/{first}/{rest}")).unwrap();
    let cut = bytes.slice(..SIZE - 1);
    store.put(&key, cut.into()).await.unwrap();
    let damaged = registry.read(&artifact, SIZE as u64).await.unwrap_err();
    assert!(damaged.to_string().contains(&artifact.digest.to_string()), "{damaged}");
}
