//! Why this exists: "is the record untouched?" Going through a log link by link finds every commit
//! that was altered, exchanged, reordered or taken out, and goes on behind it, so that the report is
//! whole. What it cannot find by itself is a tail that was cut off, or a log that was rewritten from
//! some commit on with all digests made anew: for that, compare the head with one noted elsewhere. The crate
//! `registry-signing` notes the heads of all logs, signed.
//!
//! The checkpoints that a storage keeps are no part of the record, but processes that start believe them, if the log
//! has the commit that they were made at. So what they say is compared with what the log says at that commit.
//!
//! Nor are the markers by which a log is found across the registry. Whoever takes one away hides a model from a search,
//! though not from those who know its name. So the storage can be asked for each that the commits give rise to.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use crate::checkpoint;
use crate::codec::DecodeError;
use crate::content::Artifact;
use crate::digest::Digest;
use crate::engine::check_link;
use crate::error::Error;
use crate::ext::{HISTORY_PAGE, RegistryExt};
use crate::name::ArtifactPath;
use crate::registry::{Recorded, Registry};
use crate::state::{Head, ModelState};
use crate::storage::CheckpointKind;
use crate::stream::{Revision, Stream, Term};
use crate::terms::terms;
use crate::version::Version;

/// What to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyOptions {
    /// Also read all bytes of all versions that are not deleted, and of runs.
    pub bytes: bool,
    /// A head noted earlier, elsewhere: the log must still hold that very commit.
    pub against: Option<(Revision, Digest)>,
    /// Put right checkpoints in the place of such that contradict the log, if nothing else is wrong.
    pub renew_checkpoints: bool,
    /// Also look whether the log is found by all that its commits make it findable by. In a bucket that is a request
    /// for each.
    pub markers: bool,
    /// The same, and make it findable again where it is not, if the log itself is sound.
    pub renew_markers: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many commits were read.
    pub commits: u64,
    /// How many files were read.
    pub files: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// The end of the log; note it elsewhere and give it as `against` next time.
    pub head: Option<Head>,
    /// What is wrong; empty if nothing is.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A commit.
    Commit {
        /// Where.
        revision: Revision,
        /// What.
        problem: String,
    },
    /// A commit that says something which this version of the library does not know, so that neither it nor its link to
    /// the one before could be checked. A newer version may understand it.
    NotUnderstood {
        /// Where.
        revision: Revision,
        /// What.
        problem: String,
    },
    /// The bytes of a file.
    File {
        /// The version.
        version: Version,
        /// The file.
        path: ArtifactPath,
        /// What.
        problem: String,
    },
    /// The bytes of a file of a training run.
    RunFile {
        /// The run, by the revision at which it was started.
        run: Revision,
        /// The file.
        path: ArtifactPath,
        /// What.
        problem: String,
    },
    /// What the storage keeps so that processes start quickly contradicts the log: the log is what it was, but a process
    /// that started since, and what it then wrote, may have gone by something else.
    Checkpoint {
        /// The commit that it claims to have been made at.
        revision: Revision,
        /// Which one.
        kind: CheckpointKind,
        /// Whether a right one was put in its place.
        renewed: bool,
    },
    /// The log is not found by something that its commits make it findable by: somebody took that away in the storage, or
    /// a version of the library wrote it that did not know this term yet.
    Marker {
        /// What; none is the list of all logs.
        term: Option<Term>,
        /// Whether it is found by that again.
        renewed: bool,
    },
    /// There is no commit at all, where one was noted.
    Gone {
        /// The place of the commit that was noted.
        noted: Revision,
    },
    /// The log ends before the commit that was noted: its tail was cut off.
    CutOff {
        /// The place of the commit that was noted.
        noted: Revision,
        /// Where the log ends.
        last: Revision,
    },
    /// The log holds another commit than the one that was noted: it was rewritten up to here, or another log that
    /// shares its beginning was put in its place.
    OtherHistory {
        /// The place.
        revision: Revision,
        /// The digest that was noted.
        noted: Digest,
        /// The digest of the commit that is there.
        found: Digest,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Commit { revision, problem } => write!(f, "revision {revision}: {problem}"),
            Problem::NotUnderstood { revision, problem } => {
                write!(f, "revision {revision}: was not checked: {problem}")
            }
            Problem::File { version, path, problem } => write!(f, "{version} {path}: {problem}"),
            Problem::RunFile { run, path, problem } => write!(f, "run {run} {path}: {problem}"),
            Problem::Checkpoint { revision, kind, renewed } => write!(
                f,
                "revision {revision}: the {} checkpoint kept there contradicts the log, {}",
                kind.as_str(),
                if *renewed {
                    "and was replaced; start processes anew that run since before that"
                } else {
                    "and processes that start believe it until it is renewed"
                }
            ),
            Problem::Marker { term, renewed } => {
                match term {
                    None => f.write_str("it is missing from the list of all")?,
                    Some(term) => write!(f, "it is not found by `{term}`, as its record says it should be")?,
                }
                f.write_str(if *renewed {
                    ", and is again"
                } else {
                    "; searches miss it until that is renewed"
                })
            }
            Problem::Gone { noted } => {
                write!(f, "revision {noted}: it is gone, and all of the log with it")
            }
            Problem::CutOff { noted, last } => {
                write!(f, "revision {noted}: the log ends at {last}: its tail was cut off")
            }
            Problem::OtherHistory { revision, noted, found } => write!(
                f,
                "revision {revision}: is another commit than the one noted, {found} instead of {noted}: the log was \
                 rewritten, or another was put in its place"
            ),
        }
    }
}

/// The most problems that are reported; a log that is wholly wrong need not fill the memory.
const PROBLEMS_MAX: usize = 1_000;

pub(crate) async fn verify<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    options: VerifyOptions,
    mut seen: impl FnMut(&Recorded) + Send,
) -> Result<Verification, Error> {
    // Read before the log, so that the log has the commits that they were made at.
    let kept = checkpoints(registry, stream).await?;
    let mut markers = BTreeSet::new();
    let look_for_markers = options.markers || options.renew_markers;
    let seen = |recorded: &Recorded| {
        if look_for_markers {
            markers.extend(terms(&recorded.commit));
        }
        seen(recorded);
    };
    let (mut found, state) = read(registry, stream, Revision::FIRST, options.against, &kept, seen).await?;
    if options.renew_checkpoints {
        renew(registry, stream, &state, &mut found).await?;
    }
    if look_for_markers && 0 < found.commits {
        verify_markers(registry, stream, markers, options.renew_markers, &mut found).await?;
    }
    if options.bytes {
        verify_files(registry, &state, &mut found).await?;
    }
    Ok(found)
}

/// The checkpoints that can be read. Others are never believed.
async fn checkpoints<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
) -> Result<Vec<(CheckpointKind, ModelState, Head)>, Error> {
    let mut kept = Vec::new();
    for kind in [CheckpointKind::Brief, CheckpointKind::Whole] {
        let body = registry.commits().load_checkpoint(stream, kind).await?;
        if let Some((state, head)) = body.and_then(|body| checkpoint::decode(stream, &body)) {
            kept.push((kind, state, head));
        }
    }
    Ok(kept)
}

/// Puts right checkpoints in the place of those that contradict a log that is sound.
async fn renew<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    state: &ModelState,
    found: &mut Verification,
) -> Result<(), Error> {
    if !found.problems.iter().all(is_checkpoint) {
        return Ok(());
    }
    for problem in &mut found.problems {
        if let Problem::Checkpoint { kind, renewed, .. } = problem
            && let Some(body) = checkpoint::encode(stream, *kind, state)
        {
            registry.commits().save_checkpoint(stream, *kind, body.into()).await?;
            *renewed = true;
        }
    }
    Ok(())
}

/// Whether the log is found by these, and in the list of all.
async fn verify_markers<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    markers: BTreeSet<Term>,
    renew: bool,
    found: &mut Verification,
) -> Result<(), Error> {
    let markers = std::iter::once(None).chain(markers.into_iter().map(Some)).collect();
    let missing = registry.commits().unmarked(stream, markers).await?;
    // A log that is damaged may say anything of what it should be found by.
    let renewed = renew && !missing.is_empty() && found.problems.iter().all(is_checkpoint);
    if renewed {
        registry.commits().mark_again(stream, &missing).await?;
    }
    let room = PROBLEMS_MAX.saturating_sub(found.problems.len());
    found.problems.extend(missing.into_iter().take(room).map(|term| Problem::Marker { term, renewed }));
    Ok(())
}

fn is_checkpoint(problem: &Problem) -> bool {
    matches!(problem, Problem::Checkpoint { .. })
}

pub(crate) async fn verify_since<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    noted: (Revision, Digest),
) -> Result<Verification, Error> {
    let (found, _) = read(registry, stream, noted.0, Some(noted), &[], |_| {}).await?;
    match found.commits {
        // Where the log ends instead, only its beginning can tell.
        0 => Ok(read(registry, stream, Revision::FIRST, Some(noted), &[], |_| {}).await?.0),
        _ => Ok(found),
    }
}

/// Goes through a log from a commit on.
async fn read<R: Registry + ?Sized>(
    registry: &R,
    stream: &Stream,
    first: Revision,
    against: Option<(Revision, Digest)>,
    kept: &[(CheckpointKind, ModelState, Head)],
    mut seen: impl FnMut(&Recorded) + Send,
) -> Result<(Verification, ModelState), Error> {
    let mut found = Verification { commits: 0, files: 0, bytes: 0, head: None, problems: Vec::new() };
    let mut state = ModelState::new();
    let mut next = first;
    let mut last = None;
    let mut page_size = HISTORY_PAGE;
    while found.problems.len() < PROBLEMS_MAX {
        match registry.history(stream, next, page_size).await {
            Ok(page) => {
                for recorded in &page {
                    check(recorded, &mut state, &mut found, against);
                    compare(kept, &state, &mut found);
                    seen(recorded);
                    last = Some(recorded.commit.revision);
                    next = recorded.commit.revision.next();
                }
                if page.len() < page_size {
                    break;
                }
                page_size = HISTORY_PAGE;
            }
            // Something in the page is wrong: read up to it, then it alone, name it, and go on behind it.
            Err(Error::CorruptLog(DecodeError::Corrupt { revision, .. })) if 1 < page_size => {
                let before = usize::try_from(revision.get().saturating_sub(next.get())).unwrap_or(1);
                page_size = before.clamp(1, page_size - 1);
            }
            Err(Error::CorruptLog(DecodeError::Corrupt { problem, .. })) => {
                found.problems.push(Problem::Commit { revision: next, problem });
                last = Some(next);
                next = next.next();
                page_size = HISTORY_PAGE;
            }
            // Which one it is, is not said: what is read is halved until it is the only one.
            Err(Error::NewerFormat(_)) if 1 < page_size => page_size /= 2,
            Err(Error::NewerFormat(problem)) => {
                found.problems.push(Problem::NotUnderstood { revision: next, problem });
                last = Some(next);
                next = next.next();
                page_size = HISTORY_PAGE;
            }
            Err(other) => return Err(other),
        }
    }
    found.head = state.head;
    if let Some((noted, _)) = against {
        match last {
            None => found.problems.push(Problem::Gone { noted }),
            Some(last) if last < noted && found.problems.len() < PROBLEMS_MAX => {
                found.problems.push(Problem::CutOff { noted, last });
            }
            Some(_) => {}
        }
    }
    Ok((found, state))
}

fn check(
    recorded: &Recorded,
    state: &mut ModelState,
    found: &mut Verification,
    against: Option<(Revision, Digest)>,
) {
    let commit = &recorded.commit;
    found.commits += 1;
    // Behind a damaged commit the link cannot be checked; the damage itself is reported already.
    let follows = state.revision().map_or(Revision::FIRST, Revision::next) == commit.revision;
    if follows
        && let Err(DecodeError::Corrupt { revision, problem, .. }) = check_link(commit, state.head.as_ref())
    {
        found.problems.push(Problem::Commit { revision, problem });
    }
    if let Some((revision, noted)) = against
        && revision == commit.revision
        && noted != recorded.digest
    {
        found.problems.push(Problem::OtherHistory { revision, noted, found: recorded.digest });
    }
    state.apply(commit, recorded.digest);
}

/// Holds the checkpoints of a commit against the fold up to it. Behind damage the fold is not what they were made of.
fn compare(kept: &[(CheckpointKind, ModelState, Head)], folded: &ModelState, found: &mut Verification) {
    for (kind, state, head) in kept.iter().filter(|(_, _, head)| Some(*head) == folded.head) {
        if found.problems.iter().all(is_checkpoint) && !checkpoint::agrees(state, folded) {
            let (revision, kind) = (head.revision, *kind);
            found.problems.push(Problem::Checkpoint { revision, kind, renewed: false });
        }
    }
}

async fn verify_files<R: Registry + ?Sized>(
    registry: &R,
    state: &ModelState,
    found: &mut Verification,
) -> Result<(), Error> {
    for version in state.versions().filter(|version| version.deleted.is_none()) {
        for file in &version.content.artifacts {
            if let Some(problem) = damage(registry, file, found).await? {
                let (version, path) = (version.version.clone(), file.path.clone());
                found.problems.push(Problem::File { version, path, problem });
            }
        }
    }
    for (run, state) in state.runs() {
        for file in state.artifacts.values() {
            if let Some(problem) = damage(registry, file, found).await? {
                found.problems.push(Problem::RunFile { run, path: file.path.clone(), problem });
            }
        }
    }
    Ok(())
}

/// What is wrong with the bytes of a file, if there is room to report it.
async fn damage<R: Registry + ?Sized>(
    registry: &R,
    file: &Artifact,
    found: &mut Verification,
) -> Result<Option<String>, Error> {
    found.files += 1;
    let problem = match registry.open(file).await {
        Err(error) => error,
        Ok(mut bytes) => loop {
            match bytes.next().await {
                Some(Ok(piece)) => found.bytes = found.bytes.saturating_add(piece.len() as u64),
                Some(Err(error)) => break error.into(),
                None => return Ok(None),
            }
        },
    };
    match problem {
        Error::CorruptBytes(error) => Ok((found.problems.len() < PROBLEMS_MAX).then(|| error.to_string())),
        other => Err(other),
    }
}
