//! Why this exists: a company has a registry for development, one for staging and one for production, perhaps on
//! three kinds of storage, so that a training job cannot write where customers are served. A version that was tested
//! in one of them must arrive in the next one as the very same: the same number, bytes and content, and with the
//! evidence that it may be there. Registering it anew would lose where it comes from and who approved it.
//!
//! ```text
//!  from                          to
//!  1 is the version usable?
//!  2 where was it registered, who approved it?
//!                                3 rehearsal: would the rules here take it? if not, nothing is sent
//!  4 bytes that are not there ─▶   verified on the way
//!                                5 one commit: the version, with its origins
//!  6 one commit: where it went
//! ```
//!
//! Whatever breaks off, the same call again finishes: each step first looks whether it is done. Each side gets one
//! commit at most: the one here is bound to number and content, the one there to the commit here, and the requests of
//! both have ids that follow from what is asked.
//!
//! Nobody can write to two logs at once. Between 5 and 6 the version is there and its origin does not know; that is
//! what [`Error::NotNoted`] says.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::Serialize;

use crate::command::{By, Command, Request, VersionChoice};
use crate::content::Artifact;
use crate::decide::check_usable;
use crate::digest::Digest;
use crate::error::Error;
use crate::event::{ApprovedMove, Copied, Event, Origin, StageCause};
use crate::ext::{HISTORY_PAGE, Registered, Registration, found_in, register_content};
use crate::invalid::Invalid;
use crate::name::{EnvironmentName, ModelName, RequestId, Text};
use crate::registry::{Need, Receipt, Registry};
use crate::selector::Selector;
use crate::stage::Stage;
use crate::state::VersionState;
use crate::storage::{ArtifactStore, Blob, ByteSource, ByteStream, StorageError, StorageErrorKind, verified};
use crate::stream::{Revision, Stream};
use crate::version::Version;

/// How many approved moves of a version are carried along; if there are more, the last ones.
pub const APPROVED_MOVES_MAX: usize = 64;

/// How a version is taken to another registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PromoteToOptions {
    /// What the registry that the version comes from is called, in the record of the other one.
    pub here: EnvironmentName,
    /// What the other registry is called, in the record of this one.
    pub there: EnvironmentName,
    /// The stage it starts in there. The rules there hold: a stage that demands approval is not entered so.
    pub stage: Stage,
    /// Why a smaller number than the rules there demand is right all the same.
    pub allow_smaller: Option<Text>,
}

impl PromoteToOptions {
    /// From one registry to another, into development there.
    pub fn new(here: EnvironmentName, there: EnvironmentName) -> Self {
        PromoteToOptions { here, there, stage: Stage::Development, allow_smaller: None }
    }
}

/// A version that was taken to another registry.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// What became of it there.
    pub registered: Registered,
    /// What the registry that it comes from noted. None for a rehearsal, and if the other one had the version already
    /// from elsewhere: then nothing was copied.
    pub noted: Option<Receipt>,
    /// How many bytes had to be sent; those that were there already were not.
    pub bytes_sent: u64,
}

/// See [`RegistryExt::promote_to`](crate::RegistryExt::promote_to).
pub(crate) async fn promote_to<S: Registry + ?Sized, T: Registry + ?Sized>(
    source: &S,
    by: &By,
    model: &ModelName,
    version: &Version,
    target: &T,
    options: &PromoteToOptions,
) -> Result<Arrival, Error> {
    let PromoteToOptions { here, there, stage, allow_smaller } = options;
    if here == there {
        let problem = "names both registries; give each a name of its own";
        return Err(Invalid::new("environment name", here, problem).into());
    }
    let selector = Selector::Version(version.clone());
    let state = source.state(&Stream::from(model), &Need::WithFiles(selector.clone())).await?;
    let now = source.clock().now();
    let found = found_in(model, &selector, &state, now)?;
    let version = found.state();
    check_usable(version, now)?;
    let content = (*version.content).clone();
    if content.digest() != version.digest {
        let problem = format!(
            "{} in {here} is recorded with the digest {}, but its content has {}",
            version.version,
            version.digest,
            content.digest()
        );
        return Err(StorageError::new(StorageErrorKind::Corrupt, problem).into());
    }
    let origin = origin_of(source, model, version, here).await?;
    let origins: Vec<Origin> = std::iter::once(&origin).chain(version.origins.iter()).cloned().collect();

    let registration = Registration {
        version: VersionChoice::Explicit {
            version: version.version.clone(),
            allow_smaller: allow_smaller.clone(),
        },
        content,
        stage: *stage,
    };
    // What the rules there refuse is refused before a byte is sent.
    let rehearsal = By { request_id: None, ..by.rehearsing() };
    let rehearsed =
        register_content(target, &rehearsal, model, registration.clone(), origins.clone()).await?;
    if by.dry_run {
        return Ok(Arrival { registered: rehearsed, noted: None, bytes_sent: 0 });
    }
    let (registered, bytes_sent) = if rehearsed.existed {
        (rehearsed, 0)
    } else {
        let bytes_sent = send_files(source, target, version, options).await?;
        let Registration { version, content, stage } = &registration;
        let asked = (there, model, version, content, stage, &origins, &by.actor, &by.reason);
        let by = By { request_id: Some(request_id(by, &asked)?), ..by.clone() };
        (register_content(target, &by, model, registration, origins).await?, bytes_sent)
    };
    let noted = match registered.version.origins.first() {
        Some(first) if is_same_place(first, &origin) => {
            let revision = registered.version.registered.revision;
            let noted = note(source, by, model, version, target, there, revision).await;
            Some(noted.map_err(|error| Error::NotNoted {
                version: version.version.clone(),
                here: here.clone(),
                there: there.clone(),
                revision,
                source: Box::new(error),
            })?)
        }
        _ => None,
    };
    Ok(Arrival { registered, noted, bytes_sent })
}

/// Whether both mean one registration in one registry. Approvals may have come since.
fn is_same_place(one: &Origin, other: &Origin) -> bool {
    (&one.environment, &one.model, one.revision, one.commit)
        == (&other.environment, &other.model, other.revision, other.commit)
}

/// Where a version was registered, and the moves of it that people approved, from the log.
async fn origin_of<S: Registry + ?Sized>(
    source: &S,
    model: &ModelName,
    version: &VersionState,
    here: &EnvironmentName,
) -> Result<Origin, Error> {
    let stream = Stream::from(model);
    let mut origin: Option<Origin> = None;
    let mut next = version.registered.revision;
    loop {
        let page = source.history(&stream, next, HISTORY_PAGE).await?;
        for recorded in &page {
            let commit = &recorded.commit;
            next = commit.revision.next();
            for event in &commit.events {
                // What was done past the registry is in the log as what was adopted.
                let event = match event {
                    Event::Adopted(adopted) => &adopted.change,
                    own => own,
                };
                match (event, &mut origin) {
                    (Event::VersionRegistered(registered), None) if registered.version == version.version => {
                        origin = Some(Origin {
                            environment: here.clone(),
                            model: model.clone(),
                            version: version.version.clone(),
                            revision: commit.revision,
                            commit: recorded.digest,
                            registered_by: version.registered.actor.clone(),
                            approved: Vec::new(),
                        });
                    }
                    (Event::StageChanged(change), Some(origin)) if change.version == version.version => {
                        if let StageCause::Promotion { approvals, .. } = &change.cause
                            && !approvals.is_empty()
                        {
                            origin.approved.push(ApprovedMove {
                                revision: commit.revision,
                                at: commit.time,
                                from: change.from,
                                to: change.to,
                                approvals: approvals.clone(),
                            });
                        }
                    }
                    _ => {}
                }
            }
        }
        if page.len() < HISTORY_PAGE {
            break;
        }
    }
    match origin {
        Some(mut origin) => {
            let surplus = origin.approved.len().saturating_sub(APPROVED_MOVES_MAX);
            origin.approved.drain(..surplus);
            Ok(origin)
        }
        None => {
            let problem = format!(
                "is not in the log of {here} yet, since it was registered past the registry; reconcile first"
            );
            Err(Invalid::new("version", &version.version, problem).into())
        }
    }
}

/// Sends the bytes that are not there yet. Says how many.
async fn send_files<S: Registry + ?Sized, T: Registry + ?Sized>(
    source: &S,
    target: &T,
    version: &VersionState,
    options: &PromoteToOptions,
) -> Result<u64, Error> {
    let mut bytes_sent = 0_u64;
    for Artifact { path, digest, size } in &version.content.artifacts {
        if target.artifacts().renew(digest).await? == Some(*size) {
            continue;
        }
        let blob = Blob { digest: *digest, size: *size };
        let bytes = Elsewhere { artifacts: source.artifacts(), blob };
        let sent = target.artifacts().put(&bytes, &|_| {}).await;
        sent.map_err(|error| {
            let PromoteToOptions { here, there, .. } = options;
            let what = format!("{path} of {} cannot be sent from {here} to {there}", version.version);
            StorageError::with_source(error.kind, what, error)
        })?;
        bytes_sent = bytes_sent.saturating_add(*size);
    }
    Ok(bytes_sent)
}

/// The bytes of another store, which end in an error if they are not the ones that they should be.
struct Elsewhere<'a> {
    artifacts: &'a dyn ArtifactStore,
    blob: Blob,
}

#[async_trait]
impl ByteSource for Elsewhere<'_> {
    fn size(&self) -> Option<u64> {
        Some(self.blob.size)
    }

    /// A part cannot be verified. So the whole is read, and what lies before `start` thrown away.
    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let whole = verified(self.blob, self.artifacts.read(&self.blob.digest, None).await?);
        let mut before = start;
        Ok(Box::pin(whole.filter_map(move |piece| {
            let kept = piece.map(|mut piece| {
                let cut = usize::try_from(before).unwrap_or(usize::MAX).min(piece.len());
                before = before.saturating_sub(cut as u64);
                piece.split_off(cut)
            });
            let is_empty = kept.as_ref().is_ok_and(|piece| piece.is_empty());
            std::future::ready((!is_empty).then_some(kept))
        })))
    }
}

/// Notes where a version went, in the registry that it comes from.
async fn note<S: Registry + ?Sized, T: Registry + ?Sized>(
    source: &S,
    by: &By,
    model: &ModelName,
    version: &VersionState,
    target: &T,
    there: &EnvironmentName,
    revision: Revision,
) -> Result<Receipt, Error> {
    let stream = Stream::from(model);
    let commits = target.history(&stream, revision, 1).await?;
    let Some(registered) = commits.first() else {
        let problem = format!("revision {revision} of {model} in {there} was there and is gone");
        return Err(StorageError::new(StorageErrorKind::Corrupt, problem).into());
    };
    let copied =
        Copied { version: version.version.clone(), to: there.clone(), revision, commit: registered.digest };
    let id = request_id(by, &(model, &by.actor, &by.reason, &copied))?;
    // What the caller expects, it expects of the log that the version is registered in.
    let by = By { request_id: Some(id), expected: None, ..by.clone() };
    source.execute(Request { stream, by, command: Command::NoteCopy(copied) }).await
}

/// The caller's, or one that follows from what is asked, so that a repetition is known as one.
fn request_id(by: &By, asked: &impl Serialize) -> Result<RequestId, Error> {
    match &by.request_id {
        Some(id) => Ok(id.clone()),
        None => {
            let digest = Digest::of(&serde_json::to_vec(asked).unwrap_or_default());
            Ok(format!("promote-to:{}", digest.hex()).parse()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::memory::MemoryArtifacts;

    async fn from(artifacts: &MemoryArtifacts, blob: Blob, start: u64) -> Result<Bytes, StorageError> {
        let mut stream = Elsewhere { artifacts, blob }.open(start).await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = stream.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }

    #[tokio::test]
    async fn a_rest_is_what_follows_and_is_verified_with_what_it_follows() {
        // Three pieces, as the store in memory cuts them.
        let bytes: Bytes = (0..2_500_000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
        let artifacts = MemoryArtifacts::default();
        let blob = artifacts.put(&bytes, &|_| {}).await.unwrap();
        for start in [0, 1, 1_048_575, 1_048_576, 1_048_577, 2_499_999, 2_500_000, 2_500_001, u64::MAX] {
            let expected = bytes.slice(usize::try_from(start).unwrap().min(bytes.len())..);
            assert!(from(&artifacts, blob, start).await.unwrap() == expected, "from {start}");
        }
        let mut damaged = bytes.to_vec();
        damaged[0] ^= 1;
        artifacts.damage(&blob.digest, Some(damaged.into()));
        let refused = from(&artifacts, blob, 2_000_000).await.unwrap_err();
        assert_eq!(refused.kind, StorageErrorKind::Corrupt, "the damage lies before the rest");
    }
}
