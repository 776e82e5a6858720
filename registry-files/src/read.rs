//! Why this exists: a model may be larger than memory. Files are read in pieces by a thread that is a
//! few pieces ahead of whoever uses them; small files are read in place.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::storage::{ByteSource, ByteStream, StorageError, StorageErrorKind};

/// The size of the pieces in which files are read.
const PIECE: usize = 1024 * 1024;
/// How many pieces are read ahead.
const PIECES_AHEAD: usize = 4;

/// A file whose bytes can be registered.
#[derive(Debug, Clone)]
pub struct FileSource {
    path: PathBuf,
    size: u64,
}

impl FileSource {
    /// The file at `path`, which must be a regular file.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let found = std::fs::metadata(&path)?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        Ok(FileSource { path, size: found.len() })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl ByteSource for FileSource {
    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let file = File::open(&self.path).map_err(|error| failed(&self.path, error))?;
        // One byte more than was there: a file that has grown is noticed, not cut.
        stream(file, start, self.size.saturating_add(1).saturating_sub(start), &self.path)
    }
}

/// At most `length` bytes of an open file from `start` on; fewer if it ends before. `path` is named in
/// errors.
pub fn stream(mut file: File, start: u64, length: u64, path: &Path) -> Result<ByteStream, StorageError> {
    file.seek(SeekFrom::Start(start)).map_err(|error| failed(path, error))?;
    let pieces = Pieces { file, left: length, path: path.to_owned() };
    if length <= PIECE as u64 {
        return Ok(Box::pin(futures_util::stream::iter(pieces)));
    }
    let (sender, receiver) = async_channel::bounded(PIECES_AHEAD);
    std::thread::Builder::new()
        .name("registry-read".to_owned())
        .spawn(move || {
            for piece in pieces {
                if sender.send_blocking(piece).is_err() {
                    return; // Nobody reads any more.
                }
            }
        })
        .map_err(|error| failed(path, error))?;
    Ok(Box::pin(receiver))
}

fn failed(path: &Path, error: io::Error) -> StorageError {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => StorageErrorKind::PermissionDenied,
        _ => StorageErrorKind::NotDone,
    };
    StorageError::with_source(kind, format!("reading {} failed", path.display()), error)
}

/// A file, piece by piece.
struct Pieces {
    file: File,
    left: u64,
    path: PathBuf,
}

impl Iterator for Pieces {
    type Item = Result<Bytes, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left != 0 {
            let wanted = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
            let mut piece = vec![0; wanted];
            match self.file.read(&mut piece) {
                Ok(0) => self.left = 0,
                Ok(read) => {
                    piece.truncate(read);
                    self.left = self.left.saturating_sub(read as u64);
                    return Some(Ok(piece.into()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.left = 0;
                    return Some(Err(failed(&self.path, error)));
                }
            }
        }
        None
    }
}
