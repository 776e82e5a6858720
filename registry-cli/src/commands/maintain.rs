//! Why this exists: the commands of those who look after a registry: is the record untouched, what can
//! go, and completions for their shell.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory as _};
use registry_core::state::Head;
use registry_core::{
    Digest, EnvironmentName, GarbageOptions, Invalid, ModelName, RegistryExt as _, Revision, Stream,
    Timestamp, Verification, VerifyOptions,
};
use registry_signing::{HeldLog, verify_against};
use serde::Serialize;

use crate::card::units;
use crate::cli::Cli;
use crate::commands::Session;
use crate::commands::signing::checkpoint_file;
use crate::failure::{Failure, Kind};
use crate::input::verifying_keys;
use crate::output::one_line;
use crate::place::Purpose;
use crate::words;

/// `registry verify fraud-detection --bytes`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The models. Default: every log of the registry, those of health, experiments and rules too
    models: Vec<ModelName>,
    /// Also read all bytes of all versions that are not deleted, and of runs
    #[arg(long)]
    bytes: bool,
    /// A head noted earlier, elsewhere, as `verify` shows it: the log must still hold that commit. Or a file with a
    /// signed checkpoint: the same for every log in it
    #[arg(long, value_name = "REVISION@DIGEST|FILE")]
    against: Option<Against>,
    /// The public key that a checkpoint must be signed with, as you got it from whoever signs; may be repeated, and any
    /// of them will do. It must not come from where the checkpoint comes from
    #[arg(long, value_name = "KEY", requires = "against")]
    public_key: Vec<PathBuf>,
    /// Put right checkpoints, which the storage keeps so that processes start quickly, in the place of such that
    /// contradict a log that is sound. Processes that run are to be started anew then
    #[arg(long)]
    renew_checkpoints: bool,
    /// Also look whether each log is found by all that its commits make it findable by: stages, tags, features and so
    /// on, which searches go by. In a bucket that is a request for each
    #[arg(long)]
    markers: bool,
    /// The same, and make a log findable again where it is not, if it is sound
    #[arg(long)]
    renew_markers: bool,
}

/// What the record is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Against {
    Head(Revision, Digest),
    Checkpoint(PathBuf),
}

impl std::str::FromStr for Against {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('@') {
            Some((revision, digest)) if digest.starts_with("sha256:") => {
                Ok(Against::Head(revision.parse()?, digest.parse()?))
            }
            _ => Ok(Against::Checkpoint(text.into())),
        }
    }
}

/// What was found of a log.
#[derive(Debug, Serialize)]
struct Verified {
    log: Stream,
    is_sound: bool,
    commits: u64,
    files: u64,
    bytes: u64,
    head: Option<Head>,
    problems: Vec<String>,
}

impl Verified {
    fn new(log: Stream, found: &Verification) -> Self {
        Verified {
            log,
            is_sound: found.is_sound(),
            commits: found.commits,
            files: found.files,
            bytes: found.bytes,
            head: found.head,
            problems: found.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The answer to `verify`.
#[derive(Debug, Serialize)]
struct VerifiedAll {
    is_sound: bool,
    logs: Vec<Verified>,
}

impl Verify {
    /// The option that looks at what a storage keeps beside the logs, if there is one.
    fn of_storage(&self) -> Option<&'static str> {
        let options = [
            (self.renew_checkpoints, "--renew-checkpoints"),
            (self.markers, "--markers"),
            (self.renew_markers, "--renew-markers"),
        ];
        options.into_iter().find_map(|(given, name)| given.then_some(name))
    }

    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if let (Some(Against::Checkpoint(_)), Some(option)) = (&self.against, self.of_storage()) {
            let problem = "goes with the logs of this registry alone, without a signed checkpoint";
            return Err(Invalid::new("option", option, problem).into());
        }
        let against = match &self.against {
            Some(Against::Checkpoint(file)) => return self.against_checkpoint(session, file).await,
            Some(Against::Head(..)) if !self.public_key.is_empty() => {
                let problem = "a head is not signed; --public-key is for a checkpoint";
                return Err(Invalid::new("option", "--public-key", problem).into());
            }
            Some(Against::Head(..)) if self.models.len() != 1 => {
                let problem = "a head belongs to one model; name exactly that";
                return Err(Invalid::new("models", self.models.len(), problem).into());
            }
            Some(Against::Head(revision, digest)) => Some((*revision, *digest)),
            None => None,
        };
        let renews = self.renew_checkpoints || self.renew_markers;
        let purpose = if renews { Purpose::Change } else { Purpose::Read };
        let registry = session.open(purpose).await?;
        let logs = match self.models.is_empty() {
            true => registry.all_streams().await?,
            false => self.models.iter().map(Stream::from).collect(),
        };
        let options = VerifyOptions {
            bytes: self.bytes,
            against,
            renew_checkpoints: self.renew_checkpoints,
            markers: self.markers,
            renew_markers: self.renew_markers,
        };
        let mut all = VerifiedAll { is_sound: true, logs: Vec::new() };
        let mut problems = 0_u64;
        for log in logs {
            let found = registry.verify(&log, options).await?;
            if found.commits == 0 && found.problems.is_empty() {
                // A first commit that broke off, or that is under way.
                let Some(model) = log.model().filter(|_| !self.models.is_empty()) else { continue };
                return Err(registry_core::Rejection::ModelNotFound { model: model.clone() }.into());
            }
            problems = problems.saturating_add(found.problems.len() as u64);
            let verified = Verified::new(log, &found);
            all.is_sound &= verified.is_sound;
            if !session.out.json {
                self.show(session, &verified)?;
            }
            all.logs.push(verified);
        }
        if session.out.json {
            session.out.document(&all)?;
        } else if all.logs.is_empty() {
            session.out.line("there are no logs")?;
        }
        told(problems)
    }

    async fn against_checkpoint(&self, session: &mut Session, file: &Path) -> Result<(), Failure> {
        if self.public_key.is_empty() {
            let problem = "expected `REVISION@DIGEST`, or a file with a checkpoint, and with it --public-key KEY: a \
                           checkpoint that is believed because of the key inside it proves nothing";
            return Err(Invalid::new("head", file.display(), problem).into());
        }
        if !self.models.is_empty() {
            let problem = "a checkpoint says itself of which logs it speaks; name no models";
            return Err(Invalid::new("models", self.models.len(), problem).into());
        }
        let checkpoint = checkpoint_file(file)?;
        let heads = checkpoint.verify_signature(&verifying_keys(&self.public_key)?)?;
        let registry = session.open(Purpose::Read).await?;
        let held = verify_against(registry.as_ref(), &heads, self.bytes).await?;
        let verifications = held.logs.iter().map(|log| &log.verification);
        let verifications = verifications.chain(held.others.iter().map(|other| &other.verification));
        let problems = verifications.map(|found| found.problems.len() as u64).sum();
        let held = HeldView {
            is_sound: held.is_sound(),
            registry: heads.registry().clone(),
            made: heads.made(),
            covers: heads.covers().to_string(),
            logs: held.logs.iter().map(HeldLogView::from).collect(),
            others: held
                .others
                .into_iter()
                .map(|other| Verified::new(other.log, &other.verification))
                .collect(),
        };
        if session.out.json {
            session.out.document(&held)?;
        } else {
            self.show_held(session, &held)?;
        }
        told(problems)
    }

    fn show_held(&self, session: &mut Session, held: &HeldView) -> Result<(), Failure> {
        let paint = session.out.paint();
        let made = format!(
            "held against the checkpoint of {} at {}, which covers {}",
            held.registry, held.made, held.covers
        );
        session.out.line(paint.dim(&made))?;
        for log in &held.logs {
            let verdict = if log.is_sound { paint.good("sound") } else { paint.bad("damaged") };
            let mut line = format!(
                "{}: {verdict}, {}, {} since",
                paint.bold(&log.log.to_string()),
                words::count(log.commits, "commit", "commits"),
                log.commits_since
            );
            if self.bytes {
                let files = words::count(log.files, "file", "files");
                line.push_str(&format!(", {files}, {}", words::bytes(log.bytes)));
            }
            session.out.line(line)?;
            for problem in &log.problems {
                session.out.line(format!("  {}", paint.bad(&one_line(problem))))?;
            }
        }
        if !held.others.is_empty() {
            session.out.line(paint.dim("not in the checkpoint, checked by themselves"))?;
        }
        held.others.iter().try_for_each(|other| self.show(session, other))
    }

    fn show(&self, session: &mut Session, found: &Verified) -> Result<(), Failure> {
        let paint = session.out.paint();
        let verdict = if found.is_sound { paint.good("sound") } else { paint.bad("damaged") };
        let mut line = format!(
            "{}: {verdict}, {}",
            paint.bold(&found.log.to_string()),
            words::count(found.commits, "commit", "commits")
        );
        if self.bytes {
            let files = words::count(found.files, "file", "files");
            line.push_str(&format!(", {files}, {}", words::bytes(found.bytes)));
        }
        session.out.line(line)?;
        if let Some(head) = &found.head {
            session.out.line(paint.dim(&format!("  head {}@{}", head.revision, head.digest)))?;
        }
        for problem in &found.problems {
            session.out.line(format!("  {}", paint.bad(&one_line(problem))))?;
        }
        Ok(())
    }
}

/// The answer to `verify` against a checkpoint.
#[derive(Debug, Serialize)]
struct HeldView {
    is_sound: bool,
    /// What the checkpoint calls the registry, and when it was made.
    registry: EnvironmentName,
    made: Timestamp,
    /// `all`, or the one log that it speaks of.
    covers: String,
    logs: Vec<HeldLogView>,
    /// Those that the checkpoint does not know, if it covers all.
    others: Vec<Verified>,
}

/// What was found of a log that is in a checkpoint.
#[derive(Debug, Serialize)]
struct HeldLogView {
    log: Stream,
    is_sound: bool,
    commits: u64,
    /// How many of them came after the checkpoint.
    commits_since: u64,
    files: u64,
    bytes: u64,
    head: Option<Head>,
    problems: Vec<String>,
}

impl From<&HeldLog> for HeldLogView {
    fn from(held: &HeldLog) -> Self {
        let found = &held.verification;
        HeldLogView {
            log: held.noted.log.clone(),
            is_sound: found.is_sound(),
            commits: found.commits,
            commits_since: held.grown_by(),
            files: found.files,
            bytes: found.bytes,
            head: found.head,
            problems: found.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

fn told(problems: u64) -> Result<(), Failure> {
    match problems {
        0 => Ok(()),
        _ => {
            let message = format!("{} found; see above", words::count(problems, "problem", "problems"));
            Err(Failure::new(Kind::Corrupt, message))
        }
    }
}

/// `registry gc --grace 30d --dry-run`
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// How long bytes that nothing needs are spared; at least one hour
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = units::whole_seconds)]
    grace: u64,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// The answer to `gc`.
#[derive(Debug, Serialize)]
struct Collected {
    dry_run: bool,
    /// How many blobs were removed, or would be.
    removed: u64,
    /// How many bytes they had.
    bytes: u64,
    /// How many blobs are needed.
    needed: u64,
    /// How many are not, but are too young.
    spared: u64,
    /// How many uploads that broke off were given up; a rehearsal does not look.
    uploads: u64,
    /// The digests of those removed.
    digests: Vec<Digest>,
}

impl Gc {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let options = GarbageOptions { grace: Duration::from_secs(self.grace), dry_run: self.dry_run };
        let registry = session.open_to_change(self.dry_run).await?;
        let garbage = registry.collect_garbage(options).await?;
        let collected = Collected {
            dry_run: self.dry_run,
            removed: garbage.removed.len() as u64,
            bytes: garbage.bytes(),
            needed: garbage.needed,
            spared: garbage.spared,
            uploads: garbage.uploads,
            digests: garbage.removed.iter().map(|blob| blob.digest).collect(),
        };
        if session.out.json {
            return session.out.document(&collected);
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let blobs = words::count(collected.removed, "blob", "blobs");
        session.out.line(format!(
            "{verb} {blobs}, {}; {} needed, {} too young",
            words::bytes(collected.bytes),
            collected.needed,
            collected.spared
        ))?;
        match collected.uploads {
            0 => Ok(()),
            given_up => {
                let uploads = words::count(given_up, "upload", "uploads");
                session.out.line(format!("gave up {uploads} that broke off"))
            }
        }
    }
}

/// `registry completions bash > ~/.local/share/bash-completion/completions/registry`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "registry", &mut script);
        session.out.bytes(&script)
    }
}
