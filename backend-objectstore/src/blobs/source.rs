//! Why this exists: bytes are read twice, once to learn their name and once to send them, and in between
//! the file may change. Nothing may be sent then, not even a part: a part that is there is taken for good
//! when an interrupted upload is resumed, maybe by another process.
//!
//! So each part is checked **before it is sent**, by itself and in any order. SHA-256 goes through bytes
//! from front to back; the first reading keeps its state at every boundary between parts (some hundred
//! bytes each), and a part is good if it leads from one state to the next. That costs no more than hashing
//! everything twice.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use registry_core::Hasher;
use registry_core::storage::{Blob, ByteSource, ByteStream, StorageError};

use crate::log::not_done;

/// The smallest part, but for the last. What is not larger is not sent in parts at all.
pub(super) const PART: u64 = 8 * 1024 * 1024;
/// How many parts a store takes at most, with a margin; larger blobs go in larger parts.
const PARTS_MAX: u64 = 9_000;

/// What the first reading of a source found.
pub(super) struct Hashed {
    pub(super) blob: Blob,
    /// The bytes, if they are few.
    pub(super) bytes: Option<Bytes>,
    /// The states of the digest at 0, `PART`, 2 `PART`, … and at the end.
    states: Vec<Hasher>,
}

impl Hashed {
    pub(super) async fn read(source: &dyn ByteSource) -> Result<Hashed, StorageError> {
        let mut stream = source.open(0).await?;
        let mut hasher = Hasher::new();
        let mut states = vec![hasher.clone()];
        let mut size = 0_u64;
        let mut kept = Some(BytesMut::new());
        while let Some(piece) = stream.next().await {
            let mut piece = piece?;
            match &mut kept {
                Some(bytes) if (bytes.len() + piece.len()) as u64 <= PART => bytes.extend_from_slice(&piece),
                _ => kept = None,
            }
            while !piece.is_empty() {
                let to_boundary = usize::try_from(PART - size % PART).unwrap_or(usize::MAX);
                let part = piece.split_to(piece.len().min(to_boundary));
                hasher.update(&part);
                size = size.saturating_add(part.len() as u64);
                if size.is_multiple_of(PART) {
                    states.push(hasher.clone());
                }
            }
        }
        if !size.is_multiple_of(PART) {
            states.push(hasher.clone());
        }
        let blob = Blob { digest: hasher.finish(), size }.announced_by(source)?;
        Ok(Hashed { blob, bytes: kept.map(BytesMut::freeze), states })
    }

    /// The size of all parts but the last.
    pub(super) fn part_size(&self) -> u64 {
        PART * self.blob.size.div_ceil(PART * PARTS_MAX).max(1)
    }

    /// How many parts there are.
    pub(super) fn parts(&self) -> u64 {
        self.blob.size.div_ceil(self.part_size())
    }

    /// Where a part lies.
    pub(super) fn range(&self, part: u64) -> Range<u64> {
        let size = self.part_size();
        part.saturating_mul(size)..part.saturating_add(1).saturating_mul(size).min(self.blob.size)
    }

    /// The states of the digest before and after a part.
    fn around(&self, part: u64) -> Option<(Hasher, Hasher)> {
        let range = self.range(part);
        let state = |place: u64| self.states.get(usize::try_from(place.div_ceil(PART)).ok()?).cloned();
        Some((state(range.start)?, state(range.end)?))
    }
}

/// The second reading, part by part.
pub(super) struct Parts<'a> {
    source: &'a dyn ByteSource,
    hashed: &'a Hashed,
    stream: Option<ByteStream>,
    /// Where the stream is, after what is left over.
    position: u64,
    left_over: Bytes,
}

impl<'a> Parts<'a> {
    pub(super) fn new(source: &'a dyn ByteSource, hashed: &'a Hashed) -> Self {
        Parts { source, hashed, stream: None, position: 0, left_over: Bytes::new() }
    }

    /// A part's bytes, if they are those of the first reading. Parts that follow each other are read in one
    /// go; what is skipped is not read.
    pub(super) async fn read(&mut self, part: u64) -> Result<Vec<Bytes>, StorageError> {
        let range = self.hashed.range(part);
        let mut stream = match self.stream.take() {
            Some(stream) if self.position == range.start => stream,
            _ => {
                (self.position, self.left_over) = (range.start, Bytes::new());
                self.source.open(range.start).await?
            }
        };
        let mut pieces = Vec::new();
        while self.position < range.end {
            if self.left_over.is_empty() {
                self.left_over = stream.next().await.ok_or_else(StorageError::source_changed)??;
            }
            let wanted = usize::try_from(range.end - self.position).unwrap_or(usize::MAX);
            let piece = self.left_over.split_to(self.left_over.len().min(wanted));
            self.position = self.position.saturating_add(piece.len() as u64);
            pieces.push(piece);
        }
        if range.end == self.hashed.blob.size {
            // Nothing may follow.
            while self.left_over.is_empty() {
                match stream.next().await {
                    Some(piece) => self.left_over = piece?,
                    None => break,
                }
            }
            if !self.left_over.is_empty() {
                return Err(StorageError::source_changed());
            }
        }
        self.stream = Some(stream);
        let Some((mut before, after)) = self.hashed.around(part) else {
            return Err(StorageError::source_changed());
        };
        // Beside what is being sent, not in its way.
        let checked = tokio::task::spawn_blocking(move || {
            pieces.iter().for_each(|piece| before.update(piece));
            (before.finish() == after.finish()).then_some(pieces)
        });
        checked
            .await
            .map_err(|_| not_done("hashing was interrupted"))?
            .ok_or_else(StorageError::source_changed)
    }
}

#[cfg(test)]
mod tests {
    use registry_core::Digest;

    use super::*;

    fn noise(size: u64) -> Bytes {
        (0..size).map(|place| (place.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
    }

    #[tokio::test]
    async fn parts_are_cut_at_their_boundaries_and_checked_one_by_one() {
        for size in [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 5] {
            let bytes = noise(size);
            let hashed = Hashed::read(&bytes).await.unwrap();
            assert_eq!(hashed.blob, Blob { digest: Digest::of(&bytes), size });
            assert_eq!(hashed.bytes.is_some(), size <= PART);
            assert_eq!(hashed.parts(), size.div_ceil(PART));
            let mut altered = bytes.to_vec();
            if let Some(byte) = altered.last_mut() {
                *byte ^= 1;
            }
            let altered = Bytes::from(altered);
            for part in (0..hashed.parts()).rev() {
                let range = hashed.range(part);
                let expected = bytes.slice(range.start as usize..range.end as usize);
                let read = Parts::new(&bytes, &hashed).read(part).await.unwrap().concat();
                assert!(read == expected, "part {part} of {size} bytes");
                let is_last = part + 1 == hashed.parts();
                let read = Parts::new(&altered, &hashed).read(part).await;
                assert_eq!(read.is_err(), is_last, "part {part} of {size} bytes");
            }
        }
    }

    #[tokio::test]
    async fn a_source_that_grew_or_shrank_is_noticed() {
        let bytes = noise(2 * PART + 10);
        let hashed = Hashed::read(&bytes).await.unwrap();
        for other in [noise(2 * PART + 11), noise(2 * PART + 9), noise(2 * PART)] {
            let mut parts = Parts::new(&other, &hashed);
            parts.read(0).await.unwrap();
            parts.read(1).await.unwrap();
            assert!(parts.read(2).await.unwrap_err().to_string().contains("changed meanwhile"));
        }
    }

    #[test]
    fn however_large_a_blob_is_a_store_takes_its_parts() {
        for size in [1, PART * PARTS_MAX, PART * PARTS_MAX + 1, 5 << 40] {
            let blob = Blob { digest: Digest::of(b""), size };
            let hashed = Hashed { blob, bytes: None, states: Vec::new() };
            assert!(hashed.parts() <= PARTS_MAX, "{size}");
            assert_eq!(hashed.range(hashed.parts() - 1).end, size);
            assert_eq!(hashed.part_size() % PART, 0);
        }
    }
}
