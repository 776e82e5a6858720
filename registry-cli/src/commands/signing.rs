//! Why this exists: signing is worth as much as the care that is taken of keys. So keys are given as files, each time,
//! and are never looked for; a private key is written for its owner alone and over nothing; and whatever is verified is
//! verified with a key that was given, never with one that came along.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use registry_core::{EnvironmentName, ModelName, RegistryExt as _, Selector, Stream, Timestamp, Version};
use registry_signing::{
    Algorithm, CHECKPOINT_BYTES_MAX, Covers, LogHead, LogHeads, MODEL_SIGNATURE_BYTES_MAX, ModelSignature,
    SignedCheckpoint, SigningKey, sign_files, signature_in, verify_version,
};
use serde::Serialize;

use crate::commands::Session;
use crate::failure::{Failure, Kind};
use crate::input::{bounded_file, signing_key, verifying_keys};
use crate::output::one_line;
use crate::place::Purpose;
use crate::words;

/// What a registry is called in a checkpoint if nobody says.
const NAME: &str = "registry";

/// What can be done with checkpoints.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum CheckpointCommand {
    /// Make a key to sign checkpoints with, Ed25519
    Keygen(Keygen),
    /// Go through the logs and note, signed, where each ends
    Create(Create),
    /// Show what a checkpoint says; `verify --against` verifies it
    Show(Show),
}

impl CheckpointCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            CheckpointCommand::Keygen(keygen) => keygen.run(session, Algorithm::Ed25519),
            CheckpointCommand::Create(create) => create.run(session).await,
            CheckpointCommand::Show(show) => show.run(session),
        }
    }
}

/// What can be done with signatures of models.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum SignCommand {
    /// Make a key to sign models with, P-256
    Keygen(Keygen),
    /// Sign the files of a version that is registered; `register --sign` does so before
    Version(SignVersion),
    /// Verify a signature over the files of a version, and their bytes
    Verify(VerifySignature),
}

impl SignCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            SignCommand::Keygen(keygen) => keygen.run(session, Algorithm::P256),
            SignCommand::Version(sign) => sign.run(session).await,
            SignCommand::Verify(verify) => verify.run(session).await,
        }
    }
}

/// `registry checkpoint keygen --key checkpoint.pem --public-key checkpoint.pub.pem`
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// The file for the private key, which must not be there yet; only its owner may read it
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The file for the public key, which must not be there yet; it is what others verify with
    #[arg(long, value_name = "KEY")]
    public_key: PathBuf,
}

/// The answer to `keygen`.
#[derive(Debug, Serialize)]
struct Generated {
    algorithm: String,
    /// What the key is known by.
    key: String,
}

impl Keygen {
    fn run(self, session: &mut Session, algorithm: Algorithm) -> Result<(), Failure> {
        let key = SigningKey::generate(algorithm)?;
        let public = key.verifying_key();
        write_new(&self.key, key.to_pem()?.as_bytes(), Readers::Owner)?;
        if let Err(failure) = write_new(&self.public_key, public.to_pem().as_bytes(), Readers::Everybody) {
            // Made by this call a moment ago, and of no use without the other.
            let _ = fs::remove_file(&self.key);
            return Err(failure);
        }
        if session.out.json {
            let generated = Generated { algorithm: algorithm.to_string(), key: public.id().to_string() };
            return session.out.document(&generated);
        }
        session.out.line(format!("{algorithm} key {}", public.id()))?;
        session.out.line(format!(
            "  keep {} to yourself; hand out {}",
            self.key.display(),
            self.public_key.display()
        ))
    }
}

/// `registry checkpoint create --key checkpoint.pem --name fraud-prod --output 2026-03-01.json`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The private key, in PEM
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// Only the log of this model. Default: all logs of the registry
    #[arg(long, value_name = "MODEL")]
    model: Option<ModelName>,
    /// What the registry is called in it. Default: registry
    #[arg(long, value_name = "NAME")]
    name: Option<EnvironmentName>,
    /// An earlier checkpoint: of the logs in it, only what came since is read
    #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with_all = ["model", "name"])]
    since: Option<PathBuf>,
    /// The public key that the earlier one must be signed with
    #[arg(long, value_name = "KEY", requires = "since")]
    public_key: Vec<PathBuf>,
    /// The file, which must not be there yet. Keep it where whoever can write to the registry cannot
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
}

impl Create {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let key = signing_key(&self.key)?;
        let earlier = match &self.since {
            Some(file) => Some(checkpoint_file(file)?.verify_signature(&verifying_keys(&self.public_key)?)?),
            None => None,
        };
        let registry = session.open(Purpose::Read).await?;
        let heads = match (&earlier, self.model) {
            (Some(earlier), _) => LogHeads::since(registry.as_ref(), earlier).await?,
            (None, model) => {
                let covers = model.map_or(Covers::All, |model| Covers::Log(Stream::Model(model)));
                let name = self.name.map_or_else(|| NAME.parse(), Ok)?;
                LogHeads::of(registry.as_ref(), &covers, name).await?
            }
        };
        let checkpoint = SignedCheckpoint::sign(&heads, &key);
        write_new(&self.output, &checkpoint.to_bytes(), Readers::Everybody)?;
        tell(session, &checkpoint)
    }
}

/// `registry checkpoint show 2026-03-01.json`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The file
    file: PathBuf,
}

/// The answer to `checkpoint show` and `checkpoint create`.
#[derive(Debug, Serialize)]
struct CheckpointView<'a> {
    registry: &'a EnvironmentName,
    made: Timestamp,
    covers: String,
    commits: u64,
    /// The key that it says it was signed with.
    key: Option<String>,
    logs: &'a [LogHead],
}

impl Show {
    fn run(self, session: &mut Session) -> Result<(), Failure> {
        tell(session, &checkpoint_file(&self.file)?)?;
        match session.out.json {
            true => Ok(()),
            false => {
                session.out.line("not verified: `registry verify --against FILE --public-key KEY` does that")
            }
        }
    }
}

fn tell(session: &mut Session, checkpoint: &SignedCheckpoint) -> Result<(), Failure> {
    let heads = checkpoint.claimed();
    let key = checkpoint.claimed_key().map(|key| key.to_string());
    if session.out.json {
        return session.out.document(&CheckpointView {
            registry: heads.registry(),
            made: heads.made(),
            covers: heads.covers().to_string(),
            commits: heads.commits(),
            key,
            logs: heads.logs(),
        });
    }
    let paint = session.out.paint();
    let count = words::count(heads.logs().len() as u64, "log", "logs");
    let commits = words::count(heads.commits(), "commit", "commits");
    session.out.line(format!(
        "{} at {}: {count} with {commits}",
        paint.bold(heads.registry().as_str()),
        heads.made()
    ))?;
    if let Some(key) = key {
        session.out.line(paint.dim(&format!("  signed with key {key}")))?;
    }
    for head in heads.logs() {
        session.out.line(format!(
            "  {}  {}",
            head.log,
            paint.dim(&format!("{}@{}", head.revision, head.digest))
        ))?;
    }
    Ok(())
}

/// Reads a checkpoint; nothing is verified by that.
pub(crate) fn checkpoint_file(path: &Path) -> Result<SignedCheckpoint, Failure> {
    let bytes = bounded_file(path, CHECKPOINT_BYTES_MAX as u64)?;
    Ok(SignedCheckpoint::parse(&bytes)?)
}

/// `registry sign version fraud-detection production --key signing.pem --output model.sig`
#[derive(Debug, Args)]
pub(crate) struct SignVersion {
    /// The model
    model: ModelName,
    /// Which version
    selector: Selector,
    /// The private key, in PEM
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The file for the signature, which must not be there yet
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
}

/// The answer to `sign version`.
#[derive(Debug, Serialize)]
struct SignedVersion<'a> {
    model: &'a ModelName,
    version: &'a Version,
    key: String,
}

impl SignVersion {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let key = signing_key(&self.key)?;
        let registry = session.open(Purpose::Read).await?;
        let found = registry.get_with_files(&self.model, &self.selector).await?;
        let signature = sign_files(&found.model, &found.content.artifacts, &key)?;
        write_new(&self.output, &signature.to_bytes(), Readers::Everybody)?;
        let id = key.verifying_key().id();
        if session.out.json {
            let (model, version) = (&found.model, &found.version);
            return session.out.document(&SignedVersion { model, version, key: id.to_string() });
        }
        let paint = session.out.paint();
        let version = paint.bold(&format!("{} {}", found.model, found.version));
        session.out.line(format!("{version}: signed in {} with key {id}", self.output.display()))
    }
}

/// `registry sign verify fraud-detection production --public-key signing.pub.pem`
#[derive(Debug, Args)]
pub(crate) struct VerifySignature {
    /// The model
    model: ModelName,
    /// Which version
    selector: Selector,
    /// The signature. Default: the one among the files of the version, `model.sig`
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The public key that it must be made with, as you got it from whoever signs; may be repeated, and any of them will
    /// do
    #[arg(long, value_name = "KEY", required = true)]
    public_key: Vec<PathBuf>,
}

/// The answer to `sign verify`.
#[derive(Debug, Serialize)]
struct VerifiedSignature<'a> {
    is_sound: bool,
    model: &'a ModelName,
    version: &'a Version,
    /// The key that made the signature.
    key: String,
    /// How many files it covers, and how many bytes of them were read.
    files: u64,
    bytes: u64,
    /// Files of the version that it says nothing of.
    uncovered: Vec<String>,
    problems: Vec<String>,
}

impl VerifySignature {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let keys = verifying_keys(&self.public_key)?;
        let given = match &self.signature {
            Some(file) => Some(ModelSignature::parse(&bounded_file(file, MODEL_SIGNATURE_BYTES_MAX)?)?),
            None => None,
        };
        let registry = session.open(Purpose::Read).await?;
        let found = registry.get_with_files(&self.model, &self.selector).await?;
        let signature = match given {
            Some(signature) => signature,
            None => signature_in(registry.as_ref(), found.state()).await?,
        };
        let done = verify_version(registry.as_ref(), found.state(), &signature, &keys).await?;
        let view = VerifiedSignature {
            is_sound: done.is_sound(),
            model: &found.model,
            version: &found.version,
            key: done.key.to_string(),
            files: done.files,
            bytes: done.bytes,
            uncovered: done.uncovered.iter().map(ToString::to_string).collect(),
            problems: done.problems.iter().map(ToString::to_string).collect(),
        };
        if session.out.json {
            session.out.document(&view)?;
        } else {
            show(session, &view)?;
        }
        match view.problems.len() as u64 {
            0 => Ok(()),
            problems => {
                let message = format!("{} found; see above", words::count(problems, "problem", "problems"));
                Err(Failure::new(Kind::Corrupt, message))
            }
        }
    }
}

fn show(session: &mut Session, view: &VerifiedSignature<'_>) -> Result<(), Failure> {
    let paint = session.out.paint();
    let verdict =
        if view.is_sound { paint.good("as it was signed") } else { paint.bad("not what was signed") };
    let files = words::count(view.files, "file", "files");
    let name = paint.bold(&format!("{} {}", view.model, view.version));
    session.out.line(format!("{name}: {verdict}, {files}, {}", words::bytes(view.bytes)))?;
    session.out.line(paint.dim(&format!("  signed with key {}", view.key)))?;
    for path in &view.uncovered {
        session.out.line(paint.dim(&format!("  {path} is not covered")))?;
    }
    for problem in &view.problems {
        session.out.line(format!("  {}", paint.bad(&one_line(problem))))?;
    }
    Ok(())
}

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    Owner,
    Everybody,
}

/// Writes a file that must not be there yet. What was begun and could not be finished is removed.
fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::taken(path),
        _ => Failure::file(path, error),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        Failure::file(path, error)
    })
}
