//! Why this exists: a system that the registry shares its models with may keep files by name in a bucket that its
//! clients reach by themselves; MLflow does, if it is told to. This reaches them, with the same URLs, options and
//! credentials as a registry in a bucket. Nothing here is a registry: no layout, and no condition on writes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart,
};
use registry_core::files::{Entry, Files, OpenFiles};
use registry_core::storage::{Blob, ByteSource, ByteStream, StorageError, StorageErrorKind};
use registry_core::{Error, Hasher, Location};

use crate::bucket::Secrets;
use crate::connect::open_store;
use crate::log::not_done;

/// What is not larger is sent in one request.
const SMALL: u64 = 8 * 1024 * 1024;
/// How large a part is, and how many are under way at once.
const PART: usize = 16 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 3;

/// Opens folders in buckets by the URLs of [`BucketConnector`](crate::BucketConnector), for backends that meet
/// such URLs in another system. Options are never taken from these URLs: whoever writes them could have our
/// credentials sent to an endpoint of their own.
#[derive(Debug, Clone, Default)]
pub struct BucketFiles {
    options: BTreeMap<String, String>,
}

impl BucketFiles {
    /// With credentials and all else from the environment.
    pub fn new() -> Self {
        BucketFiles::default()
    }

    /// The same, with these options for all URLs of a scheme, such as `region=eu-west-1&timeout=60s` for `s3`.
    #[must_use]
    pub fn with_options(mut self, scheme: &str, options: &str) -> Self {
        self.options.insert(scheme.to_owned(), options.to_owned());
        self
    }
}

#[async_trait]
impl OpenFiles for BucketFiles {
    fn schemes(&self) -> &'static [&'static str] {
        &["s3", "gs", "az", "azure", "abfss", "wasbs"]
    }

    async fn open_files(&self, url: &str) -> Result<Arc<dyn Files>, Error> {
        let refused = |problem: &str| {
            let location = url.split(['?', '#']).next().unwrap_or_default().to_owned();
            Err(Error::Open { location, problem: problem.to_owned() })
        };
        // Others wrote it: an endpoint in it would be sent our credentials.
        if url.contains(['?', '#']) {
            return refused("options are not taken from an address that was found somewhere");
        }
        let options = self.options.get(url.split(':').next().unwrap_or_default());
        let with_options = options.map_or_else(|| url.to_owned(), |options| format!("{url}?{options}"));
        let Some(mut location) = Location::parse(&with_options) else {
            return refused("it is no URL of a bucket");
        };
        let (store, prefix, secrets) = open_store(&mut location)?;
        let prefix = Path::parse(prefix.trim_matches('/'))
            .map_err(|error| location.error(format!("the folder is none: {error}")))?;
        Ok(Arc::new(Folder { store, prefix, secrets }))
    }
}

/// A folder in a bucket.
struct Folder {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    secrets: Secrets,
}

impl Folder {
    fn key(&self, path: &str) -> Result<Path, StorageError> {
        let mut key = self.prefix.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if matches!(part, "." | "..") {
                return Err(not_done(format!("`{path}` is no path")));
            }
            key = key.join(part);
        }
        Ok(key)
    }

    fn failed(&self, doing: &str, key: &Path, error: &object_store::Error) -> StorageError {
        let mut failed = self.secrets.failed(doing, key, error);
        if matches!(error, object_store::Error::NotFound { .. }) {
            failed.kind = StorageErrorKind::Missing;
        }
        failed
    }

    async fn write_parts(&self, key: &Path, source: &dyn ByteSource, blob: Blob) -> Result<(), StorageError> {
        let failed = |error: object_store::Error| self.failed("writing", key, &error);
        let upload: Box<dyn MultipartUpload> = self.store.put_multipart(key).await.map_err(failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
        let sent = async {
            let mut stream = source.open(0).await?;
            let mut hasher = Hasher::new();
            let mut seen = 0_u64;
            while let Some(piece) = stream.next().await {
                let piece = piece?;
                hasher.update(&piece);
                seen = seen.saturating_add(piece.len() as u64);
                writer.wait_for_capacity(PARTS_AT_ONCE).await.map_err(failed)?;
                writer.put(piece);
            }
            check(blob, hasher, seen)
        };
        match sent.await {
            Ok(()) => writer.finish().await.map(drop).map_err(failed),
            Err(error) => {
                // If that fails, the bucket's own rules about unfinished uploads take care of it.
                let _ = writer.abort().await;
                Err(error)
            }
        }
    }
}

/// Whether what was read is what `blob` names.
fn check(blob: Blob, hasher: Hasher, seen: u64) -> Result<(), StorageError> {
    if seen == blob.size && hasher.finish() == blob.digest {
        return Ok(());
    }
    Err(StorageError::source_changed())
}

#[async_trait]
impl Files for Folder {
    async fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError> {
        let key = self.key(folder)?;
        let found = self.store.list_with_delimiter(Some(&key)).await;
        let found = found.map_err(|error| self.failed("listing", &key, &error))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let folders =
            found.common_prefixes.iter().filter_map(|path| Some(Entry { name: name(path)?, size: None }));
        let files = found
            .objects
            .iter()
            .filter_map(|meta| Some(Entry { name: name(&meta.location)?, size: Some(meta.size) }));
        Ok(folders.chain(files).collect())
    }

    async fn read(&self, path: &str, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let key = self.key(path)?;
        let mut part = None;
        if let Some(range) = range {
            // A range that reaches beyond the end is refused by some and cut by others.
            let size =
                self.store.head(&key).await.map_err(|error| self.failed("reading", &key, &error))?.size;
            let range = range.start..range.end.min(size);
            if range.end <= range.start {
                return Ok(Box::pin(futures_util::stream::empty()));
            }
            part = Some(GetRange::Bounded(range));
        }
        let options = GetOptions { range: part, ..GetOptions::default() };
        let found = self.store.get_opts(&key, options).await;
        let found = found.map_err(|error| self.failed("reading", &key, &error))?;
        let secrets = self.secrets.clone();
        Ok(Box::pin(found.into_stream().map_err(move |error| secrets.failed("reading", &key, &error))))
    }

    async fn write(&self, path: &str, source: &dyn ByteSource, blob: Blob) -> Result<(), StorageError> {
        let key = self.key(path)?;
        if SMALL < blob.size {
            return self.write_parts(&key, source, blob).await;
        }
        let pieces: Vec<Bytes> = source.open(0).await?.try_collect().await?;
        let mut hasher = Hasher::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        check(blob, hasher, pieces.iter().map(|piece| piece.len() as u64).sum())?;
        let sent = self.store.put(&key, PutPayload::from_iter(pieces)).await;
        sent.map(drop).map_err(|error| self.failed("writing", &key, &error))
    }

    async fn remove(&self, path: &str) -> Result<(), StorageError> {
        let key = self.key(path)?;
        match self.store.delete(&key).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.failed("removing", &key, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use registry_core::Digest;

    use super::*;

    fn blob(bytes: &[u8]) -> Blob {
        Blob { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }

    #[tokio::test]
    async fn files_are_written_listed_read_and_removed() {
        let prefix = Path::from("root/of all");
        let folder = Folder { store: Arc::new(InMemory::new()), prefix, secrets: Secrets::default() };
        let large = Bytes::from(vec![7; 20 * 1024 * 1024]);
        for (path, bytes) in [
            ("model/a b.bin", Bytes::from_static(b"abc")),
            ("model/x/large", large.clone()),
            ("e", Bytes::new()),
        ] {
            folder.write(path, &bytes, blob(&bytes)).await.unwrap();
            let read: Vec<Bytes> = folder.read(path, None).await.unwrap().try_collect().await.unwrap();
            assert!(read.concat() == bytes);
        }
        let mut found = folder.list("model").await.unwrap();
        found.sort_by(|one, two| one.name.cmp(&two.name));
        let entry = |name: &str, size| Entry { name: name.to_owned(), size };
        assert_eq!(found, [entry("a b.bin", Some(3)), entry("x", None)]);
        assert!(folder.list("nowhere").await.unwrap().is_empty());
        for (range, expected) in [(1..2, &b"b"[..]), (1..99, b"bc"), (3..9, b""), (50..60, b"")] {
            let read = folder.read("model/a b.bin", Some(range)).await.unwrap();
            assert_eq!(read.try_collect::<Vec<Bytes>>().await.unwrap().concat(), expected);
        }
        for _ in 0..2 {
            folder.remove("model/a b.bin").await.unwrap();
        }
        let error = folder.read("model/a b.bin", None).await.err().unwrap();
        assert_eq!(error.kind, StorageErrorKind::Missing);
        assert!(folder.write("../x", &large, blob(&large)).await.is_err());
    }

    #[tokio::test]
    async fn options_of_others_are_not_taken() {
        let files = BucketFiles::new().with_options("s3", "access_key_id=a&secret_access_key=b&region=r");
        assert!(files.open_files("s3://bucket/folder").await.is_ok());
        for url in ["s3://bucket/x?endpoint=http://127.0.0.1:9&allow_http=true", "s3://bucket/x#?endpoint=y"]
        {
            let error = files.open_files(url).await.err().unwrap();
            assert!(error.to_string().contains("options are not taken"), "{error}");
        }
    }

    #[tokio::test]
    async fn other_bytes_than_those_announced_are_not_written() {
        let folder =
            Folder { store: Arc::new(InMemory::new()), prefix: Path::default(), secrets: Secrets::default() };
        for size in [10, 20 * 1024 * 1024] {
            let bytes = Bytes::from(vec![1; size]);
            let mut other = blob(&bytes);
            other.digest = Digest::of(b"other");
            let error = folder.write("x", &bytes, other).await.unwrap_err();
            assert!(error.message.contains("changed meanwhile"), "{error}");
            assert!(folder.list("").await.unwrap().is_empty());
        }
    }
}
