//! Why this exists: MLflow's users load a version from a folder, so the files of a version that was registered here
//! are put into one, below its run's artifact root; and the files of a version that they registered lie in such a
//! folder, of which MLflow knows no digests. What is sent and what is read is checked here, since nobody else does; a
//! file that is there already when a broken-off projection is finished is known by its length.
//!
//! A folder of a run is not where the registry keeps its own bytes: who deletes the run, and has the server
//! collect garbage, takes the folder away, and the registry still has what it needs to go back to that version.

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use registry_core::content::Artifact;
use registry_core::mirror::Keep;
use registry_core::storage::{ArtifactStore, Blob, ByteSource, ByteStream, StorageError, StorageErrorKind};
use registry_core::{ArtifactPath, Digest, Hasher, Manifest, ModelName, VersionState};

use super::evidence::Origin;
use super::foreign::{RUN, SOURCE};
use super::numbers::adopted_from;
use super::{Bytes, MlflowMirror};
use crate::blobs::Place;
use crate::files::Folder;

/// The folder of a version's files below its run's artifact root.
pub(super) const FOLDER: &str = "model";
/// How many files a version may have.
const FILES_MAX: usize = 10_000;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 64;
/// How many files are read or written at once.
const AT_ONCE: usize = 4;

fn not_done(problem: String) -> StorageError {
    StorageError::new(StorageErrorKind::NotDone, problem)
}

/// A blob of a store, as something to be sent.
struct FromStore<'a> {
    store: &'a dyn ArtifactStore,
    digest: Digest,
    size: u64,
}

#[async_trait]
impl ByteSource for FromStore<'_> {
    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let range = (0 < start).then_some(start..self.size);
        self.store.read(&self.digest, range).await
    }
}

/// A file of a folder, as something to be stored.
struct FromFolder {
    folder: Folder,
    path: String,
    size: u64,
}

#[async_trait]
impl ByteSource for FromFolder {
    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let range = (0 < start).then_some(start..self.size);
        self.folder.files.read(&self.folder.path(&self.path), range).await
    }
}

/// All files below a folder, with their lengths, in order.
async fn walk(folder: &Folder) -> Result<Vec<(String, u64)>, StorageError> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    let mut visited = 0_usize;
    while let Some(at) = folders.pop() {
        visited += 1;
        for entry in folder.files.list(folder.path(&at).trim_end_matches('/')).await? {
            let path = if at.is_empty() { entry.name } else { format!("{at}/{}", entry.name) };
            match entry.size {
                Some(size) => files.push((path, size)),
                None => folders.push(path),
            }
            // One that lists itself would never end.
            let is_deep = DEPTH_MAX < at.split('/').count();
            if FILES_MAX < files.len() || FILES_MAX < folders.len() + visited || is_deep {
                return Err(not_done(format!(
                    "a folder of a version has more than {FILES_MAX} files, or as many folders, or is more than \
                     {DEPTH_MAX} deep"
                )));
            }
        }
    }
    files.sort();
    Ok(files)
}

async fn digest_of(source: &FromFolder) -> Result<Digest, StorageError> {
    let mut hasher = Hasher::new();
    let mut seen = 0_u64;
    let mut pieces = source.open(0).await?;
    while let Some(piece) = pieces.try_next().await? {
        hasher.update(&piece);
        seen = seen.saturating_add(piece.len() as u64);
    }
    if seen != source.size {
        let (path, size) = (&source.path, source.size);
        return Err(not_done(format!("the file {path} has {size} bytes, and {seen} were read of it")));
    }
    Ok(hasher.finish())
}

impl MlflowMirror {
    /// Puts the files of a version where MLflow's clients load them, and sees that they arrived.
    pub(super) async fn put_files(
        &self,
        version: &VersionState,
        artifact_uri: &str,
    ) -> Result<(), StorageError> {
        let store = match &self.bytes {
            Bytes::None => return Ok(()),
            Bytes::Ours(store) => store.as_ref() as &dyn ArtifactStore,
            Bytes::Other(store) => store.as_ref(),
        };
        let manifest = &version.content.artifacts;
        if manifest.is_empty() {
            return Ok(());
        }
        let uri = format!("{}/{FOLDER}", artifact_uri.trim_end_matches('/'));
        // Where nobody but the server can write, nothing is shown, and the registry has the bytes all the same.
        let Ok(folder) = self.reach.folder(&uri).await else { return Ok(()) };
        let is_there = |found: &[(String, u64)], file: &Artifact| {
            found.iter().any(|(path, size)| path == file.path.as_str() && *size == file.size)
        };
        let found = walk(&folder).await?;
        let missing: Vec<Artifact> =
            manifest.iter().filter(|file| !is_there(&found, file)).cloned().collect();
        futures_util::stream::iter(missing)
            .map(|file| {
                let folder = folder.clone();
                async move {
                    let blob = Blob { digest: file.digest, size: file.size };
                    let source = FromStore { store, digest: blob.digest, size: blob.size };
                    folder.files.write(&folder.path(file.path.as_str()), &source, blob).await
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let found = walk(&folder).await?;
        match manifest.iter().find(|file| !is_there(&found, file)) {
            None => Ok(()),
            Some(file) => Err(not_done(format!("{} did not arrive as a whole in {uri}", file.path))),
        }
    }

    /// The files of a version that others registered. None if there are none, or none that can be reached.
    pub(super) async fn files_of(
        &self,
        model: &ModelName,
        version: &VersionState,
        keep: Keep,
    ) -> Result<Option<Manifest>, StorageError> {
        let text = |key: &str| {
            version.content.metadata.extra.get(key).and_then(|value| value.as_str()).map(str::to_owned)
        };
        let (Some(number), Some(source)) = (adopted_from(version), text(SOURCE)) else { return Ok(None) };
        if matches!((&self.bytes, keep), (Bytes::None, _) | (Bytes::Other(_), Keep::ForThis)) {
            return Ok(None);
        }
        let origin = Origin { number, source, run_id: text(RUN) };
        let evidence = self.evidence_of(model, vec![origin]).await?.remove(&number).unwrap_or_default();
        let Some(uri) = evidence.folder else { return Ok(None) };
        let Ok(folder) = self.reach.folder(&uri).await else { return Ok(None) };
        let files = walk(&folder).await?;
        let artifacts: Vec<Artifact> = futures_util::stream::iter(files)
            .map(|(path, size)| {
                let source = FromFolder { folder: folder.clone(), path, size };
                self.take(&uri, source, keep)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        if artifacts.is_empty() {
            return Ok(None);
        }
        Manifest::new(artifacts).map(Some).map_err(|invalid| not_done(invalid.to_string()))
    }

    /// Makes a file of others readable by its digest.
    async fn take(&self, uri: &str, source: FromFolder, keep: Keep) -> Result<Artifact, StorageError> {
        let path: ArtifactPath = source.path.parse().map_err(|invalid: registry_core::Invalid| {
            not_done(format!("a file in {uri} cannot be taken on record: {invalid}"))
        })?;
        let blob = match &self.bytes {
            Bytes::Other(store) => store.put(&source, &|_| {}).await?,
            _ => Blob { digest: digest_of(&source).await?, size: source.size },
        };
        if let Bytes::Ours(store) = &self.bytes {
            let place = Place { folder: uri.to_owned(), path: source.path.clone() };
            match keep {
                Keep::ForThis => store.remember_place(&blob.digest, place),
                Keep::ForAll => store.keep_place(blob, &place).await?,
            }
        }
        Ok(Artifact { path, digest: blob.digest, size: blob.size })
    }
}
