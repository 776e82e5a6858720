//! Why this exists: a rule knows the state of one stream and nothing else. Where it depends on more, on whether bytes
//! verify or on what a version of another model was made out of, it says so and is asked again with the answer. This is
//! who looks it up, for whoever decides: the engine, and a registry that rehearses on a state of its own.

use std::sync::Arc;

use futures_util::StreamExt as _;

use crate::command::Request;
use crate::decide::{Context, Evidence, Halt, decide};
use crate::error::Error;
use crate::event::Event;
use crate::lineage;
use crate::name::ModelVersion;
use crate::policy::Policy;
use crate::registry::{Need, Registry};
use crate::selector::Selector;
use crate::state::{ModelState, VersionState};
use crate::storage::{ArtifactStore, Blob, StorageErrorKind, verified};
use crate::stream::Stream;
use crate::time::Timestamp;

/// Decides on a request in a state, looking up what the rules ask for. Events may be all that comes of a request that is
/// refused: whoever commits them answers with what [`Commit::refusal`](crate::Commit::refusal) says.
pub(crate) async fn decided<R: Registry + ?Sized>(
    registry: &R,
    request: &Request,
    state: &ModelState,
    now: Timestamp,
    policy: &Policy,
    evidence: &mut Evidence,
) -> Result<Vec<Event>, Error> {
    loop {
        let context = Context {
            stream: &request.stream,
            now,
            actor: &request.by.actor,
            reason: request.by.reason.as_ref(),
            registry: policy,
            evidence,
        };
        match decide(state, &request.command, &context) {
            Ok(events) => return Ok(events),
            Err(Halt::Rejected(rejection)) => return Err(rejection.into()),
            // A rehearsal leaves nothing behind.
            Err(Halt::RejectedOnRecord { events, .. }) if !request.by.dry_run => return Ok(events),
            Err(Halt::RejectedOnRecord { rejection, .. }) => return Err(rejection.into()),
            Err(Halt::NeedsBytes(version)) => {
                let result = match state.version(&version) {
                    Some(found) => verify_bytes(registry.artifacts(), found).await?,
                    None => Err("is not registered".to_owned()),
                };
                evidence.bytes.insert(version, result);
            }
            Err(Halt::NeedsParents(versions)) => {
                for version in versions {
                    let found = other_version(registry, &version).await?;
                    let parents = found.iter().flat_map(|found| lineage::parents(&found.content).into_keys());
                    let parents = parents.cloned().collect();
                    evidence.parents.insert(version, parents);
                }
            }
        }
    }
}

async fn other_version<R: Registry + ?Sized>(
    registry: &R,
    name: &ModelVersion,
) -> Result<Option<Arc<VersionState>>, Error> {
    let need = Need::Selected(Selector::Version(name.version.clone()));
    let state = registry.state(&Stream::from(&name.model), &need).await?;
    Ok(state.version(&name.version).cloned())
}

/// Reads all bytes of a version. The inner result says what is wrong with them.
pub(crate) async fn verify_bytes(
    artifacts: &(impl ArtifactStore + ?Sized),
    version: &VersionState,
) -> Result<Result<(), String>, Error> {
    for file in &version.content.artifacts {
        let blob = Blob { digest: file.digest, size: file.size };
        let problem = match artifacts.read(&file.digest, None).await {
            Ok(stream) => {
                let mut stream = verified(blob, stream);
                loop {
                    match stream.next().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    }
                }
            }
            Err(error) => Some(error),
        };
        match problem {
            None => {}
            Some(error) if matches!(error.kind, StorageErrorKind::Corrupt | StorageErrorKind::Missing) => {
                return Ok(Err(format!("{}: {error}", file.path)));
            }
            Some(error) => return Err(error.into()),
        }
    }
    Ok(Ok(()))
}
