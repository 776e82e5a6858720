//! Why this exists: a checkpoint is a cache. It stands in a tag of the head run, which a cold reader fetches
//! anyway, or, if it is long, in a run of its own that the tag points to. The run before it is deleted; whoever
//! still reads that one gets what was there.
//!
//! MLflow keeps text. A checkpoint that is none is kept as Base64 behind a mark.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use registry_core::Stream;
use registry_core::storage::{CheckpointKind, StorageError};

use super::body::{self, Pointer, Value};
use super::place::Place;
use super::{MlflowLog, corrupt};

/// The longest text that is kept in the tag itself: searches give back all tags of a run.
const TAG_CHARS_MAX: usize = 4_000;

/// Stands before what is Base64.
const BASE64: &str = "base64:";

/// The text that stands for a checkpoint.
fn text_of(body: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') && !text.starts_with(BASE64) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("{BASE64}{}", STANDARD.encode(body))),
    }
}

/// The checkpoint that a text stands for; one that cannot be read is none.
fn bytes_of(text: String) -> Option<Bytes> {
    match text.strip_prefix(BASE64) {
        None => Some(Bytes::from(text)),
        Some(encoded) => STANDARD.decode(encoded).ok().map(Bytes::from),
    }
}

fn tag(kind: CheckpointKind) -> String {
    format!("model-registry.checkpoint.{}", kind.as_str())
}

impl MlflowLog {
    pub(super) async fn keep_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
        body: &[u8],
    ) -> Result<(), StorageError> {
        let text = &*text_of(body);
        // A log that is not there needs none.
        let Some(place) = self.find(stream).await? else { return Ok(()) };
        let head = self.head(stream, &place).await?;
        let before = head.tag(&tag(kind)).map(body::read);
        let value = if body::fits(text) && text.chars().nth(TAG_CHARS_MAX).is_none() {
            text.to_owned()
        } else {
            self.store_parts(stream, "checkpoint", text).await?.value()
        };
        let set = self.server.set_tag(&place.head, &tag(kind), &value).await;
        set.map_err(|error| error.failed(format_args!("keeping a checkpoint of {stream}")))?;
        if let Some(Ok(Value::Elsewhere(before))) = before {
            self.drop_runs(&[&before.run]).await;
        }
        Ok(())
    }

    pub(super) async fn kept_checkpoint(
        &self,
        stream: &Stream,
        kind: CheckpointKind,
    ) -> Result<Option<Bytes>, StorageError> {
        let Some(place) = self.find(stream).await? else { return Ok(None) };
        let value = match place.take_whole().filter(|_| kind == CheckpointKind::Whole) {
            // A cold reader asks for the brief one, and then for this.
            Some(seen) => seen,
            None => {
                let head = self.head(stream, &place).await?;
                let value = |kind| head.tag(&tag(kind)).map(str::to_owned);
                if kind == CheckpointKind::Brief {
                    Place::keep_whole(&place, value(CheckpointKind::Whole));
                }
                value(kind)
            }
        };
        match value.as_deref().map(body::read) {
            None => Ok(None),
            Some(Ok(Value::Text(text))) => Ok(bytes_of(text)),
            Some(Ok(Value::Elsewhere(pointer))) => self.checkpoint_at(&pointer).await,
            Some(Err(problem)) => Err(corrupt(format!("the checkpoint of {stream} {problem}"))),
        }
    }

    /// One whose run is gone is none.
    async fn checkpoint_at(&self, pointer: &Pointer) -> Result<Option<Bytes>, StorageError> {
        let run = self.server.run(&pointer.run).await;
        let run = run.map_err(|error| error.failed("reading a checkpoint"))?;
        Ok(run.and_then(|run| pointer.join(&run.data.params).ok()).and_then(bytes_of))
    }
}
