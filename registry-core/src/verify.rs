//! Why this exists: "is the record untouched?" Going through a log link by link finds every commit
//! that was altered, exchanged, reordered or taken out, and goes on behind it, so that the report is
//! whole. What it cannot find by itself is a tail that was cut off, or a log that was rewritten from
//! some commit on with all digests made anew: for that, compare the head with one noted elsewhere.

use futures_util::StreamExt as _;

use crate::codec::DecodeError;
use crate::digest::Digest;
use crate::engine::check_link;
use crate::error::Error;
use crate::ext::{HISTORY_PAGE, RegistryExt};
use crate::name::ArtifactPath;
use crate::registry::{Recorded, Registry};
use crate::state::{Head, ModelState};
use crate::stream::{Revision, Stream};
use crate::version::Version;

/// What to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyOptions {
    /// Also read all bytes of all versions that are not deleted.
    pub bytes: bool,
    /// A head noted earlier, elsewhere: the log must still hold that very commit.
    pub against: Option<(Revision, Digest)>,
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
    /// The bytes of a file.
    File {
        /// The version.
        version: Version,
        /// The file.
        path: ArtifactPath,
        /// What.
        problem: String,
    },
    /// The log does not hold the commit that it was compared with.
    Against {
        /// The commit's place.
        revision: Revision,
        /// What.
        problem: String,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Commit { revision, problem } => write!(f, "revision {revision}: {problem}"),
            Problem::File { version, path, problem } => write!(f, "{version} {path}: {problem}"),
            Problem::Against { revision, problem } => write!(f, "revision {revision}: {problem}"),
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
    let mut found = Verification { commits: 0, files: 0, bytes: 0, head: None, problems: Vec::new() };
    let mut state = ModelState::new();
    let mut next = Revision::FIRST;
    let mut page_size = HISTORY_PAGE;
    while found.problems.len() < PROBLEMS_MAX {
        match registry.history(stream, next, page_size).await {
            Ok(page) => {
                for recorded in &page {
                    check(recorded, &mut state, &mut found, options);
                    seen(recorded);
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
                next = next.next();
                page_size = HISTORY_PAGE;
            }
            Err(other) => return Err(other),
        }
    }
    found.head = state.head;
    if let Some((revision, _)) = options.against
        && state.revision() < Some(revision)
    {
        let problem = match state.revision() {
            Some(last) => format!("the log ends at {last}: its tail was cut off"),
            None => "the log is empty".to_owned(),
        };
        found.problems.push(Problem::Against { revision, problem });
    }
    if options.bytes {
        verify_files(registry, &state, &mut found).await?;
    }
    Ok(found)
}

fn check(recorded: &Recorded, state: &mut ModelState, found: &mut Verification, options: VerifyOptions) {
    let commit = &recorded.commit;
    found.commits += 1;
    // Behind a damaged commit the link cannot be checked; the damage itself is reported already.
    let follows = state.revision().map_or(Revision::FIRST, Revision::next) == commit.revision;
    if follows
        && let Err(DecodeError::Corrupt { revision, problem, .. }) = check_link(commit, state.head.as_ref())
    {
        found.problems.push(Problem::Commit { revision, problem });
    }
    if let Some((revision, digest)) = options.against
        && revision == commit.revision
        && digest != recorded.digest
    {
        let problem =
            format!("is another commit than the one noted: {} instead of {digest}", recorded.digest);
        found.problems.push(Problem::Against { revision, problem });
    }
    state.apply(commit, recorded.digest);
}

async fn verify_files<R: Registry + ?Sized>(
    registry: &R,
    state: &ModelState,
    found: &mut Verification,
) -> Result<(), Error> {
    for version in state.versions().filter(|version| version.deleted.is_none()) {
        for file in &version.content.artifacts {
            found.files += 1;
            let problem = match registry.open(file).await {
                Err(error) => Some(error),
                Ok(mut bytes) => loop {
                    match bytes.next().await {
                        Some(Ok(piece)) => found.bytes = found.bytes.saturating_add(piece.len() as u64),
                        Some(Err(error)) => break Some(error.into()),
                        None => break None,
                    }
                },
            };
            match problem {
                None => {}
                Some(Error::CorruptBytes(error)) if found.problems.len() < PROBLEMS_MAX => {
                    found.problems.push(Problem::File {
                        version: version.version.clone(),
                        path: file.path.clone(),
                        problem: error.to_string(),
                    });
                }
                Some(Error::CorruptBytes(_)) => {}
                Some(other) => return Err(other),
            }
        }
    }
    Ok(())
}
