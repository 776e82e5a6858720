//! Why this exists: an archive must be a thing that one can keep, send and open without this library. It is a plain tar
//! file of which every byte follows from the manifest at its head: which entries there are, in which order, how long
//! they are and what their headers say. So the same state of a registry gives the same file. And a file is not searched
//! for what might be in it: the header that must come next is compared with the one that comes, and whatever else a tar
//! file can hold (links, paths that lead out, entries given twice) is no archive. Nothing is ever unpacked.
//!
//! ```text
//! manifest.json                  which logs up to which commit, which bytes
//! blobs/sha256/<64 digits>       in the order of their digests
//! streams/00000001.jsonl         the records of the first log of the manifest, each a line
//! ```
//!
//! An import reads the file twice. First everything is checked: digests, chains, and whether the registry has another
//! history. Only then something is written, bytes before records, and what is there already is left alone. So a file
//! that is no good changes nothing, and an import that broke off is finished by another one.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::archive::{ArchiveManifest, Exporting, Import, Importing, MANIFEST_BYTES_MAX};
use registry_core::storage::{Blob, ByteSource, ByteStream, Progress, StorageError, StorageErrorKind};
use registry_core::{
    Artifact, Error, Hasher, Invalid, ModelName, RECORD_BYTES_MAX, Registry, RegistryExt as _,
};
use tar::{EntryType, Header};

use crate::read;

/// The unit of a tar file, in bytes.
const BLOCK: u64 = 512;
/// How much of a blob is read at once.
const PIECE: usize = 1024 * 1024;

/// What is in an archive that was written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archived {
    /// How many logs it holds.
    pub streams: u64,
    /// How many records are in them.
    pub records: u64,
    /// How many blobs it holds.
    pub blobs: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// How many records were written to the registry; none by an export.
    pub records_written: u64,
    /// How many bytes of blobs were written to the registry; none by an export.
    pub bytes_written: u64,
}

impl Archived {
    fn of(manifest: &ArchiveManifest) -> Self {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let sum = |sum: u64, part: u64| sum.saturating_add(part);
        Archived {
            streams: count(manifest.streams().len()),
            records: manifest.streams().iter().map(|stream| stream.revision.get()).fold(0, sum),
            blobs: count(manifest.blobs().len()),
            bytes: manifest.blobs().map(|blob| blob.size).fold(0, sum),
            records_written: 0,
            bytes_written: 0,
        }
    }
}

/// Writes an archive of one model, or of the whole registry, to a file, which must not be there yet and is there as a
/// whole or not at all. `progress` is told how many bytes of blobs are written.
pub async fn export_archive(
    registry: &dyn Registry,
    model: Option<&ModelName>,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Archived, Error> {
    let refused = |problem: io::Error| file(target, problem);
    if target.symlink_metadata().is_ok() {
        return Err(file(target, "is there already; choose another file"));
    }
    let manifest = ArchiveManifest::of(registry, model).await?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let building = tempfile::Builder::new().prefix(".registry-").tempfile_in(parent).map_err(refused)?;
    let mut out = BufWriter::new(building.as_file());
    let head = manifest.to_bytes();
    let size = u64::try_from(head.len()).unwrap_or(u64::MAX);
    if MANIFEST_BYTES_MAX < size {
        return Err(file(target, format!("its manifest would have {size} bytes; export models one by one")));
    }
    out.write_all(header(MANIFEST, size)?.as_bytes()).map_err(refused)?;
    out.write_all(&head).map_err(refused)?;
    pad(&mut out, size).map_err(refused)?;
    let mut done = 0_u64;
    for blob in manifest.blobs() {
        out.write_all(header(&blob_path(&blob), blob.size)?.as_bytes()).map_err(refused)?;
        let artifact = Artifact { path: blob.digest.hex().parse()?, digest: blob.digest, size: blob.size };
        let mut bytes = registry.open(&artifact).await?;
        while let Some(piece) = bytes.next().await {
            let piece = piece?;
            out.write_all(&piece).map_err(refused)?;
            done = done.saturating_add(piece.len() as u64);
            progress(done);
        }
        pad(&mut out, blob.size).map_err(refused)?;
    }
    for (index, archived) in manifest.streams().iter().enumerate() {
        out.write_all(header(&stream_path(index), archived.size)?.as_bytes()).map_err(refused)?;
        let mut exporting = Exporting::new(registry, archived);
        while let Some(page) = exporting.next().await? {
            for record in page {
                out.write_all(&record.body).map_err(refused)?;
                out.write_all(b"\n").map_err(refused)?;
            }
        }
        pad(&mut out, archived.size).map_err(refused)?;
    }
    out.write_all(&[0; 2 * BLOCK as usize]).map_err(refused)?;
    out.flush().map_err(refused)?;
    drop(out);
    building.as_file().sync_all().map_err(refused)?;
    building.persist_noclobber(target).map_err(|error| file(target, error.error))?;
    Ok(Archived::of(&manifest))
}

/// Restores what is in an archive. What is in the registry already stays; where it has another history, the archive is
/// refused. `progress` is told how many bytes were read, of twice the length of the file.
pub async fn import_archive(
    registry: &dyn Registry,
    source: &Path,
    progress: Progress<'_>,
) -> Result<Archived, Error> {
    go_through(registry, source, Import::Check, 0, progress).await?;
    let length = source.metadata().map_err(|error| file(source, error))?.len();
    go_through(registry, source, Import::Write, length, progress).await
}

/// Checks what is in an archive, and that it could be imported, without writing anything.
pub async fn check_archive(
    registry: &dyn Registry,
    source: &Path,
    progress: Progress<'_>,
) -> Result<Archived, Error> {
    go_through(registry, source, Import::Check, 0, progress).await
}

async fn go_through(
    registry: &dyn Registry,
    source: &Path,
    import: Import,
    before: u64,
    progress: Progress<'_>,
) -> Result<Archived, Error> {
    let mut input = Input::open(source)?;
    let manifest = input.manifest()?;
    let mut archived = Archived::of(&manifest);
    for blob in manifest.blobs() {
        input.expect(&blob_path(&blob), blob.size)?;
        let part = Part { path: source.to_owned(), start: input.place, blob };
        input.blob(&blob)?;
        if import == Import::Write && registry.artifacts().renew(&blob.digest).await? != Some(blob.size) {
            let stored = registry.artifacts().put(&part, &|_| {}).await?;
            if stored != blob {
                return Err(input.refused(format!("was changed while it was read: {}", blob.digest)));
            }
            archived.bytes_written = archived.bytes_written.saturating_add(blob.size);
        }
        progress(before.saturating_add(input.place));
    }
    for (index, stream) in manifest.streams().iter().enumerate() {
        input.expect(&stream_path(index), stream.size)?;
        let mut importing = Importing::new(registry, stream, import);
        let mut left = stream.size;
        while left != 0 {
            let body = input.line(&mut left)?;
            importing.take(body).await?;
            progress(before.saturating_add(input.place));
        }
        input.skip_padding(stream.size)?;
        let written = importing.finish(&manifest).await?;
        archived.records_written = archived.records_written.saturating_add(written);
    }
    input.finish()?;
    Ok(archived)
}

const MANIFEST: &str = "manifest.json";

fn blob_path(blob: &Blob) -> String {
    format!("blobs/sha256/{}", blob.digest.hex())
}

fn stream_path(index: usize) -> String {
    format!("streams/{:08}.jsonl", index.saturating_add(1))
}

/// The one header that an entry can have.
fn header(path: &str, size: u64) -> Result<Header, Error> {
    let mut header = Header::new_ustar();
    header.set_path(path).map_err(|error| Invalid::new("entry of an archive", path, error.to_string()))?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// How many bytes follow so many, up to the end of the block.
fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(padding(size)), out).map(|_| ())
}

fn file(path: &Path, problem: impl std::fmt::Display) -> Error {
    Invalid::new("archive", path.display(), problem.to_string()).into()
}

/// An archive that is read from its beginning to its end.
struct Input {
    path: PathBuf,
    file: BufReader<File>,
    place: u64,
    length: u64,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::open(path).map_err(|error| file(path, error))?;
        let found = opened.metadata().map_err(|error| file(path, error))?;
        if !found.is_file() {
            return Err(file(path, "is not a regular file"));
        }
        let length = found.len();
        Ok(Input { path: path.to_owned(), file: BufReader::new(opened), place: 0, length })
    }

    fn refused(&self, problem: impl std::fmt::Display) -> Error {
        file(&self.path, problem)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let (place, wanted) = (self.place, buffer.len());
        self.file.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                file(&self.path, format!("was cut short: {wanted} bytes are missing from byte {place} on"))
            }
            _ => file(&self.path, error),
        })?;
        self.place = self.place.saturating_add(wanted as u64);
        Ok(())
    }

    /// The manifest, whose header alone has a length that nobody knows beforehand.
    fn manifest(&mut self) -> Result<ArchiveManifest, Error> {
        let mut block = [0; BLOCK as usize];
        self.fill(&mut block)?;
        let size = Header::from_byte_slice(&block).entry_size().unwrap_or(u64::MAX);
        if MANIFEST_BYTES_MAX < size || header(MANIFEST, size)?.as_bytes() != &block {
            return Err(self.refused("does not begin with a manifest as `registry export` writes it"));
        }
        self.has_room(MANIFEST, size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.fill(&mut bytes)?;
        self.skip_padding(size)?;
        ArchiveManifest::parse(&bytes)
    }

    /// Before anything is done for its size: the file must be long enough.
    fn has_room(&self, path: &str, size: u64) -> Result<(), Error> {
        let left = self.length.saturating_sub(self.place);
        if left < size {
            return Err(
                self.refused(format!("was cut short: `{path}` has {size} bytes, and {left} are left"))
            );
        }
        Ok(())
    }

    /// The header of the entry that must come next.
    fn expect(&mut self, path: &str, size: u64) -> Result<(), Error> {
        let (place, mut block) = (self.place, [0; BLOCK as usize]);
        self.fill(&mut block)?;
        if header(path, size)?.as_bytes() != &block {
            let problem = format!(
                "has something else at byte {place} than `{path}` of {size} bytes, as its manifest says"
            );
            return Err(self.refused(problem));
        }
        self.has_room(path, size)
    }

    /// The bytes of a blob, which must be the ones that its name says.
    fn blob(&mut self, blob: &Blob) -> Result<(), Error> {
        let (mut hasher, mut left) = (Hasher::new(), blob.size);
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        while left != 0 {
            piece.truncate(usize::try_from(left).unwrap_or(PIECE));
            self.fill(&mut piece)?;
            hasher.update(&piece);
            left = left.saturating_sub(piece.len() as u64);
        }
        let found = hasher.finish();
        if found != blob.digest {
            return Err(self.refused(format!("holds other bytes for {}: {found}", blob.digest)));
        }
        self.skip_padding(blob.size)
    }

    /// The next record of a log that has so many bytes left.
    fn line(&mut self, left: &mut u64) -> Result<Bytes, Error> {
        let longest = (RECORD_BYTES_MAX as u64).saturating_add(1).min(*left);
        let (place, mut line) = (self.place, Vec::new());
        let read = self.file.by_ref().take(longest).read_until(b'\n', &mut line);
        let read = read.map_err(|error| file(&self.path, error))? as u64;
        self.place = self.place.saturating_add(read);
        *left = left.saturating_sub(read);
        if line.pop() != Some(b'\n') {
            let problem = format!("holds a record at byte {place} that does not end, or is too long");
            return Err(self.refused(problem));
        }
        Ok(line.into())
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), Error> {
        self.zeros(padding(size))
    }

    fn zeros(&mut self, count: u64) -> Result<(), Error> {
        let (place, mut zeros) = (self.place, vec![0; usize::try_from(count).unwrap_or(0)]);
        self.fill(&mut zeros)?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(self.refused(format!("has something at byte {place} where nothing may be")));
        }
        Ok(())
    }

    /// Behind the last entry: the end of a tar file, and of the file.
    fn finish(mut self) -> Result<(), Error> {
        self.zeros(2 * BLOCK)?;
        if self.place != self.length {
            return Err(self.refused(format!("goes on behind its end, at byte {}", self.place)));
        }
        Ok(())
    }
}

/// A blob in an archive.
struct Part {
    path: PathBuf,
    start: u64,
    blob: Blob,
}

#[async_trait]
impl ByteSource for Part {
    fn size(&self) -> Option<u64> {
        Some(self.blob.size)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let file = File::open(&self.path).map_err(|error| {
            let problem = format!("{} cannot be opened again", self.path.display());
            StorageError::with_source(StorageErrorKind::NotDone, problem, error)
        })?;
        let start = start.min(self.blob.size);
        read::stream(file, self.start.saturating_add(start), self.blob.size - start, &self.path)
    }
}
