//! Why this exists: logs and bytes must be able to leave the storage that they are in, for a backup, for an audit by
//! somebody who has none of our software, and to another kind of storage, and to come back as the very same. Replaying
//! the verbs would make other commits, with other times and digests. So an archive holds the records exactly as they
//! are stored, and the chain of digests proves that nothing was lost on the way.
//!
//! ```text
//! manifest      which logs up to which commit, which bytes
//! blobs         each once, in the order of their digests
//! logs          their records, each a line, the logs in the order of their names
//! ```
//!
//! Bytes come before the logs that name them, so that whatever was restored of an archive that broke off is sound: no
//! version lacks a byte. The same state of a registry gives the same archive, to the byte.
//!
//! This module knows what belongs into an archive and what makes one believable. How it lies in a file is the matter of
//! whoever writes files. An archive goes past the rules, as history does: see [`Registry::commits`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, decode};
use crate::digest::Digest;
use crate::engine::check_link;
use crate::error::Error;
use crate::ext::{HISTORY_PAGE, RegistryExt as _};
use crate::invalid::Invalid;
use crate::name::ModelName;
use crate::registry::Registry;
use crate::rejection::Rejection;
use crate::state::{Head, ModelState};
use crate::storage::{Append, Blob, Record, StorageError, StorageErrorKind, StoredRecord};
use crate::stream::{Revision, Stream};
use crate::terms::terms;

/// The newest format of archives that this library writes and reads.
pub const FORMAT: u32 = 1;

/// The largest manifest that is read, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What is in an archive: its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveManifest {
    format: u32,
    streams: Vec<ArchivedStream>,
    blobs: Vec<ArchivedBlob>,
}

/// A log in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedStream {
    /// The log.
    pub stream: Stream,
    /// Its last commit.
    pub revision: Revision,
    /// The digest of that commit.
    pub digest: Digest,
    /// The length of its records, each with a line feed behind it.
    pub size: u64,
}

/// Bytes in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedBlob {
    /// Their SHA-256.
    pub digest: Digest,
    /// Their length.
    pub size: u64,
}

impl ArchiveManifest {
    /// What an archive of one model, or of the whole registry, holds now.
    pub async fn of<R: Registry + ?Sized>(registry: &R, model: Option<&ModelName>) -> Result<Self, Error> {
        let streams = match model {
            Some(model) => vec![Stream::from(model)],
            None => registry.all_streams().await?,
        };
        let (mut archived, mut blobs) = (Vec::new(), BTreeMap::new());
        for stream in streams {
            let mut reading = Reading::new(stream);
            while let Some(page) = page_of(registry, &reading.stream, reading.next_revision(), None).await? {
                for record in &page {
                    reading.take(&record.body)?;
                }
            }
            // A first registration that broke off leaves a name without records.
            let Some(head) = reading.state.head else { continue };
            reading.needed_blobs(registry, &mut blobs).await?;
            archived.push(ArchivedStream {
                stream: reading.stream,
                revision: head.revision,
                digest: head.digest,
                size: reading.size,
            });
        }
        if let (Some(model), true) = (model, archived.is_empty()) {
            return Err(Rejection::ModelNotFound { model: model.clone() }.into());
        }
        let blobs = blobs.into_iter().map(|(digest, size)| ArchivedBlob { digest, size }).collect();
        Ok(ArchiveManifest { format: FORMAT, streams: archived, blobs })
    }

    /// Reads a manifest. What is not written as this library writes it is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let refused = |problem: String| Error::from(Invalid::new("archive", "manifest.json", problem));
        let unreadable = |error: serde_json::Error| refused(format!("is no manifest of an archive: {error}"));
        let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT {
            let problem =
                format!("the archive is in format {format}, this library knows {FORMAT}; upgrade to read it");
            return Err(Error::NewerFormat(problem));
        }
        let manifest: ArchiveManifest = serde_json::from_slice(bytes).map_err(unreadable)?;
        let names: Vec<String> =
            manifest.streams.iter().map(|archived| archived.stream.to_string()).collect();
        if !names.is_sorted_by(|one, next| one < next) {
            return Err(refused("its logs are not in the order of their names, each once".to_owned()));
        }
        if !manifest.blobs.is_sorted_by(|one, next| one.digest < next.digest) {
            return Err(refused("its blobs are not in the order of their digests, each once".to_owned()));
        }
        if manifest.to_bytes() != bytes {
            return Err(refused("is not written as a manifest is".to_owned()));
        }
        Ok(manifest)
    }

    /// The manifest as it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Text keys and whole numbers only, which JSON can always write.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The logs, in the order of their names.
    pub fn streams(&self) -> &[ArchivedStream] {
        &self.streams
    }

    /// The blobs, in the order of their digests.
    pub fn blobs(&self) -> impl ExactSizeIterator<Item = Blob> {
        self.blobs.iter().map(|blob| Blob { digest: blob.digest, size: blob.size })
    }

    fn size_of(&self, digest: &Digest) -> Option<u64> {
        let found = self.blobs.binary_search_by(|blob| blob.digest.cmp(digest)).ok()?;
        self.blobs.get(found).map(|blob| blob.size)
    }
}

/// The records from a revision on, up to `last`; none if there are no more.
async fn page_of<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    from: Revision,
    last: Option<Revision>,
) -> Result<Option<Vec<StoredRecord>>, Error> {
    if last.is_some_and(|last| last < from) {
        return Ok(None);
    }
    let mut page = registry.commits().read(stream, from, HISTORY_PAGE).await?;
    page.retain(|record| last.is_none_or(|last| record.revision <= last));
    Ok((!page.is_empty()).then_some(page))
}

/// A log that is read record by record, each of which must follow the one before it.
struct Reading {
    stream: Stream,
    state: ModelState,
    size: u64,
}

impl Reading {
    fn new(stream: Stream) -> Self {
        Reading { stream, state: ModelState::new(), size: 0 }
    }

    fn next_revision(&self) -> Revision {
        Revision::after(self.state.revision())
    }

    /// The next record. Gives what is appended where it is not there yet.
    fn take(&mut self, body: &bytes::Bytes) -> Result<Record, Error> {
        let revision = self.next_revision();
        let (commit, digest) = decode(&self.stream, revision, body)?;
        check_link(&commit, self.state.head.as_ref())?;
        if body.contains(&b'\n') {
            let problem = "it holds a line break, which no record that this library writes does".to_owned();
            return Err(DecodeError::Corrupt { stream: self.stream.clone(), revision, problem }.into());
        }
        self.size = self.size.saturating_add(body.len() as u64).saturating_add(1);
        let record = Record {
            stream: self.stream.clone(),
            revision,
            request_id: commit.request_id.clone(),
            time: commit.time,
            terms: terms(&commit),
            body: body.clone(),
        };
        self.state.apply(&commit, digest);
        Ok(record)
    }

    /// Adds the bytes that its versions and runs need. Those of a deleted version may be gone.
    async fn needed_blobs<R: Registry + ?Sized>(
        &self,
        registry: &R,
        blobs: &mut BTreeMap<Digest, u64>,
    ) -> Result<(), Error> {
        for version in self.state.versions() {
            for file in &version.content.artifacts {
                let there = registry.artifacts().stat(&file.digest).await?;
                if there == Some(file.size) {
                    blobs.insert(file.digest, file.size);
                } else if version.deleted.is_none() {
                    let problem =
                        format!("{} of {} in {} is missing", file.path, version.version, self.stream);
                    return Err(StorageError::new(StorageErrorKind::Missing, problem).into());
                }
            }
        }
        for file in self.state.run_artifacts() {
            if registry.artifacts().stat(&file.digest).await? != Some(file.size) {
                let problem = format!("{} of a run in {} is missing", file.path, self.stream);
                return Err(StorageError::new(StorageErrorKind::Missing, problem).into());
            }
            blobs.insert(file.digest, file.size);
        }
        Ok(())
    }
}

/// Gives the records of a log that go into an archive, a page at a time.
pub struct Exporting<'a, R: ?Sized> {
    registry: &'a R,
    archived: &'a ArchivedStream,
    reading: Reading,
}

impl<'a, R: Registry + ?Sized> Exporting<'a, R> {
    /// From the first record on, up to the commit that the manifest names.
    pub fn new(registry: &'a R, archived: &'a ArchivedStream) -> Self {
        Exporting { registry, archived, reading: Reading::new(archived.stream.clone()) }
    }

    /// The next records; none behind the last one, where it must be the one that the manifest names.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredRecord>>, Error> {
        let next = self.reading.next_revision();
        let last = Some(self.archived.revision);
        let Some(page) = page_of(self.registry, &self.archived.stream, next, last).await? else {
            check_end(&self.reading, self.archived)?;
            return Ok(None);
        };
        for record in &page {
            self.reading.take(&record.body)?;
        }
        Ok(Some(page))
    }
}

/// The log ends where the manifest says.
fn check_end(reading: &Reading, archived: &ArchivedStream) -> Result<(), Error> {
    let ends = reading.state.head.map(|head: Head| (head.revision, head.digest));
    if ends == Some((archived.revision, archived.digest)) {
        return Ok(());
    }
    let problem = match ends {
        Some((revision, digest)) => format!("ends with revision {revision}, {digest}"),
        None => "is empty".to_owned(),
    };
    let expected = format!("the manifest says {}, {}", archived.revision, archived.digest);
    Err(Invalid::new("log in the archive", &archived.stream, format!("{problem}; {expected}")).into())
}

/// Whether a log of an archive is only held against a registry, or written into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Import {
    /// Nothing is written.
    Check,
    /// What is not there yet is written.
    Write,
}

/// Takes a log of an archive record by record, and holds it against the one in a registry.
pub struct Importing<'a, R: ?Sized> {
    registry: &'a R,
    archived: &'a ArchivedStream,
    import: Import,
    reading: Reading,
    /// What is there from the next revision on, as far as it was read, the last one first.
    there: Vec<StoredRecord>,
    /// Whether there is nothing behind it.
    is_end: bool,
    written: u64,
}

impl<'a, R: Registry + ?Sized> Importing<'a, R> {
    /// From the first record on.
    pub fn new(registry: &'a R, archived: &'a ArchivedStream, import: Import) -> Self {
        let reading = Reading::new(archived.stream.clone());
        Importing { registry, archived, import, reading, there: Vec::new(), is_end: false, written: 0 }
    }

    /// The next record of the archive.
    pub async fn take(&mut self, body: bytes::Bytes) -> Result<(), Error> {
        let revision = self.reading.next_revision();
        if self.archived.revision < revision {
            let problem = format!("has more records than the {} of the manifest", self.archived.revision);
            return Err(Invalid::new("log in the archive", &self.archived.stream, problem).into());
        }
        let record = self.reading.take(&body)?;
        if self.there.is_empty() && !self.is_end {
            self.there = self.registry.commits().read(&self.archived.stream, revision, HISTORY_PAGE).await?;
            self.is_end = self.there.len() < HISTORY_PAGE;
            self.there.reverse();
        }
        match self.there.pop() {
            Some(there) if there.revision == revision && there.body == body => Ok(()),
            Some(_) => Err(self.is_another(revision)),
            None if self.import == Import::Check => Ok(()),
            None => self.write(&record).await,
        }
    }

    async fn write(&mut self, record: &Record) -> Result<(), Error> {
        let doubt = match self.registry.commits().append(record).await {
            Ok(Append::Written) => {
                self.written = self.written.saturating_add(1);
                return Ok(());
            }
            Ok(Append::SlotTaken) => None,
            Err(error) if error.kind == StorageErrorKind::Unknown => Some(error),
            Err(error) => return Err(error.into()),
        };
        // By whom, or whether at all, only the log can tell.
        let found = self.registry.commits().read(&record.stream, record.revision, 1).await?;
        match (found.first(), doubt) {
            (Some(found), _) if found.body == record.body => {
                self.written = self.written.saturating_add(1);
                Ok(())
            }
            (Some(_), _) => Err(self.is_another(record.revision)),
            (None, Some(error)) => {
                Err(Error::OutcomeUnknown { request_id: record.request_id.clone(), source: error })
            }
            (None, None) => {
                let problem =
                    format!("revision {} of {} is said to be taken", record.revision, record.stream);
                Err(StorageError::new(StorageErrorKind::NotDone, problem).into())
            }
        }
    }

    fn is_another(&self, revision: Revision) -> Error {
        Rejection::OtherHistory { stream: self.archived.stream.clone(), revision }.into()
    }

    /// Behind the last record: the log is whole, and its versions and runs have their bytes, in the archive or here. Says how
    /// many records were written.
    pub async fn finish(self, manifest: &ArchiveManifest) -> Result<u64, Error> {
        check_end(&self.reading, self.archived)?;
        let state = &self.reading.state;
        let versions = state.versions().filter(|version| version.deleted.is_none());
        let needed = versions.flat_map(|version| &version.content.artifacts).chain(state.run_artifacts());
        for file in needed {
            let size = match manifest.size_of(&file.digest) {
                None => self.registry.artifacts().stat(&file.digest).await?,
                archived => archived,
            };
            if size != Some(file.size) {
                let missing = Rejection::ArtifactMissing { path: file.path.clone(), digest: file.digest };
                return Err(missing.into());
            }
        }
        Ok(self.written)
    }
}
