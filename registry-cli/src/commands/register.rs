//! Why this exists: registering takes files, a card and a number. Everything that can be refused is
//! refused before the first byte is sent: a registration is rehearsed on the present state first, so
//! that a version that may not be leaves nothing behind. `explain` is that rehearsal alone.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use registry_core::compat::{Comparison, compare_interfaces};
use registry_core::event::{Numbering, VersionRegistered};
use registry_core::gate::SIGNATURE_FILE;
use registry_core::storage::ByteSource as _;
use registry_core::{
    Artifact, Bump, By, Command, Content, Digest, Event, Hasher, Invalid, Manifest, ModelName, ModelState,
    Need, Outcome, Receipt, Registration, Registry, RegistryExt as _, Rejection, Request, RunName, Selector,
    Stage, Stream, Text, Version, VersionChoice,
};
use registry_files::{FileSource, ScannedFile};
use registry_signing::SigningKey;
use serde::Serialize;

use crate::card::{Card, Described};
use crate::cli::Writing;
use crate::commands::{Session, tell_people, tell_program, warn};
use crate::failure::Failure;
use crate::input::signing_key;
use crate::place::{self, Purpose};
use crate::progress;

/// `registry register fraud-detection model.pkl --card card.toml --version v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The model; a new name makes a new model
    model: ModelName,
    /// Files and folders of the version
    paths: Vec<PathBuf>,
    /// Its number. Default: the one in the card, else as with --auto
    #[arg(long, value_name = "VERSION", group = "number")]
    version: Option<Version>,
    /// The number that follows by this bump: major, minor or patch
    #[arg(long, value_name = "BUMP", group = "number")]
    bump: Option<Bump>,
    /// The smallest number that the changes allow
    #[arg(long, group = "number")]
    auto: bool,
    /// Why a smaller step than the changes demand is right all the same
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["bump", "auto"])]
    allow_smaller: Option<Text>,
    /// The stage it starts in. Default: the one in the card, else development
    #[arg(long, value_name = "STAGE")]
    stage: Option<Stage>,
    /// Sign all files with this private key, P-256, P-384 or P-521 in PEM; the signature is registered as `model.sig`
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    writing: Writing,
}

impl Register {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        self.out_of(None, session).await
    }

    /// The same, as it comes out of a run.
    pub(crate) async fn out_of(self, run: Option<RunName>, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let card = self.described.read(&self.model)?;
        let explicit =
            |version| VersionChoice::Explicit { version, allow_smaller: self.allow_smaller.clone() };
        let choice = match (self.version.clone(), self.bump, self.auto, card.version.clone()) {
            (Some(version), ..) => explicit(version),
            (None, Some(bump), ..) => VersionChoice::Bump { bump },
            (None, None, false, Some(version)) => explicit(version),
            _ => VersionChoice::Auto,
        };
        if self.allow_smaller.is_some() && !matches!(choice, VersionChoice::Explicit { .. }) {
            let problem = "only a version that is given, with --version or in the card, can be too small";
            return Err(Invalid::new("option", "--allow-smaller", problem).into());
        }
        let sign = self.sign.as_deref().map(signing_key).transpose()?;
        Wish { by, model: self.model, paths: self.paths, stage: self.stage, choice, card, run, sign }
            .register(session)
            .await
    }
}

/// How the number rises.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum BumpWord {
    /// Breaking change
    Major,
    /// Improvement
    Minor,
    /// Bug fix or retraining
    Patch,
    /// As much as the changes demand
    Auto,
}

/// `registry bump fraud-detection minor model.pkl --card card.toml`
#[derive(Debug, Args)]
pub(crate) struct BumpCommand {
    /// The model
    model: ModelName,
    /// How the number rises
    bump: BumpWord,
    /// Files and folders of the version
    paths: Vec<PathBuf>,
    /// The stage it starts in. Default: the one in the card, else development
    #[arg(long, value_name = "STAGE")]
    stage: Option<Stage>,
    /// Sign all files with this private key, P-256, P-384 or P-521 in PEM; the signature is registered as `model.sig`
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    writing: Writing,
}

impl BumpCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let card = self.described.read(&self.model)?;
        let choice = match self.bump {
            BumpWord::Major => Bump::Major.into(),
            BumpWord::Minor => Bump::Minor.into(),
            BumpWord::Patch => Bump::Patch.into(),
            BumpWord::Auto => VersionChoice::Auto,
        };
        let sign = self.sign.as_deref().map(signing_key).transpose()?;
        Wish { by, model: self.model, paths: self.paths, stage: self.stage, choice, card, run: None, sign }
            .register(session)
            .await
    }
}

/// What the verbs add to their answer.
#[derive(Debug, Serialize)]
struct RegisteredMore<'a> {
    version: Option<&'a Version>,
    digest: Digest,
    /// Whether it was there before, with the same content.
    existed: bool,
    /// Parts in which the request differs from what is on record, and which were not changed.
    not_applied: Vec<&'static str>,
    numbering: Option<&'a Numbering>,
}

/// A version to be registered.
struct Wish {
    by: By,
    model: ModelName,
    paths: Vec<PathBuf>,
    stage: Option<Stage>,
    choice: VersionChoice,
    card: Card,
    /// The run that it comes out of.
    run: Option<RunName>,
    sign: Option<SigningKey>,
}

impl Wish {
    async fn register(self, session: &mut Session) -> Result<(), Failure> {
        let Wish { by, model, paths, stage, choice, card, run, sign } = self;
        let stage = stage.or(card.stage).unwrap_or(Stage::Development);
        let mut content = card.content;
        let files = scan(&paths)?;
        let sign = sign.as_ref();
        if sign.is_some() && files.iter().any(|file| file.path.as_str() == SIGNATURE_FILE) {
            let problem = "is where --sign puts the signature; leave the file out";
            return Err(Invalid::new("artifact path", SIGNATURE_FILE, problem).into());
        }
        let rehearsing = place::open_to_rehearse(session.place()).await?;
        if let Some(run) = &run {
            content = rehearsing.content_from_run(&by, run, &model, content, files.is_empty()).await?;
        }
        if by.dry_run {
            let registry = rehearsing;
            if !files.is_empty() {
                content.artifacts = hashed(&files).await?;
            }
            content.artifacts = signed(&model, content.artifacts, sign)?.0;
            let (state, events) = rehearse(registry.as_ref(), &by, &model, &choice, &content, stage).await?;
            return tell_rehearsal(session, registry.as_ref(), &by, &model, &choice, content, state, events)
                .await;
        }
        preflight(rehearsing.as_ref(), &by, &model, &choice, &content, stage, &files, sign).await?;
        let registry = session.open(Purpose::Begin).await?;
        if !files.is_empty() {
            content.artifacts =
                uploaded(registry.as_ref(), model.as_str(), &files, !session.out.json).await?;
        }
        let (artifacts, signature) = signed(&model, content.artifacts, sign)?;
        if let Some(signature) = signature {
            registry.upload(&SIGNATURE_FILE.parse()?, &signature, &|_| {}).await?;
        }
        content.artifacts = artifacts;
        let registration = Registration { version: choice, content, stage };
        let done = match &run {
            Some(run) => registry.register_from_run(&by, run, &model, registration, &[]).await?,
            None => registry.register(&by, &model, registration, &[]).await?,
        };
        if session.out.json {
            let more = RegisteredMore {
                version: Some(&done.version.version),
                digest: done.version.digest,
                existed: done.existed,
                not_applied: done.not_applied.clone(),
                numbering: Some(&done.version.numbering),
            };
            return tell_program(session, &model, &done.receipt, more);
        }
        let version = &done.version.version;
        if let Outcome::Unchanged = done.receipt.outcome {
            let name = session.out.paint().bold(model.as_str());
            session.out.line(format!("{name}: {version} is registered already, with the same content"))?;
        } else {
            tell_people(session, registry.as_ref(), Some(&model), &done.receipt).await?;
        }
        session.out.line(session.out.paint().dim(&format!("  {}", done.version.digest)))?;
        if !done.not_applied.is_empty() {
            let parts = done.not_applied.join(", ");
            warn(&format!(
                "{version} differs in {parts}, which was not changed; see `registry amend`, `tag` and `describe`"
            ));
        }
        Ok(())
    }
}

#[expect(clippy::too_many_arguments, reason = "all that a rehearsal knows, told once")]
async fn tell_rehearsal(
    session: &mut Session,
    registry: &dyn Registry,
    by: &By,
    model: &ModelName,
    choice: &VersionChoice,
    content: Content,
    state: Arc<ModelState>,
    events: Vec<Event>,
) -> Result<(), Failure> {
    let request_id = match &by.request_id {
        Some(id) => id.clone(),
        None => "rehearsal".parse()?,
    };
    let outcome = if events.is_empty() { Outcome::Unchanged } else { Outcome::Rehearsed(events) };
    let receipt = Receipt { request_id, outcome, state };
    if !session.out.json {
        return tell_people(session, registry, Some(model), &receipt).await;
    }
    let registered = registered_in(receipt.events());
    let version = match (registered, choice) {
        (Some(registered), _) => Some(&registered.version),
        (None, VersionChoice::Explicit { version, .. }) => Some(version),
        (None, _) => None,
    };
    let existing = version.and_then(|version| receipt.state.version(version));
    let more = RegisteredMore {
        version,
        digest: content.digest(),
        existed: registered.is_none(),
        not_applied: existing.map(|existing| existing.content.differences(&content)).unwrap_or_default(),
        numbering: registered.map(|registered| &registered.numbering),
    };
    tell_program(session, model, &receipt, more)
}

fn registered_in(events: &[Event]) -> Option<&VersionRegistered> {
    events.iter().find_map(|event| match event {
        Event::VersionRegistered(registered) => Some(registered.as_ref()),
        _ => None,
    })
}

/// The files to be registered, none twice, all with names that can stand side by side.
pub(crate) fn scan(paths: &[PathBuf]) -> Result<Vec<ScannedFile>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let found = registry_files::scan(path)?;
        if found.is_empty() {
            return Err(Failure::file(path, "is an empty folder"));
        }
        files.extend(found);
    }
    unsent(&files)?;
    Ok(files)
}

/// A manifest with made-up digests, for rules that do not look at them.
fn unsent(files: &[ScannedFile]) -> Result<Manifest, Invalid> {
    let artifact = |file: &ScannedFile| Artifact {
        path: file.path.clone(),
        digest: Digest::of(file.path.as_str().as_bytes()),
        size: file.size,
    };
    Manifest::new(files.iter().map(artifact).collect())
}

/// The manifest of files that are only read, not sent.
async fn hashed(files: &[ScannedFile]) -> Result<Manifest, Failure> {
    let mut artifacts = Vec::new();
    for file in files {
        let source = FileSource::open(&file.file).map_err(|error| Failure::file(&file.file, error))?;
        let mut bytes = source.open(0).await.map_err(registry_core::Error::from)?;
        let (mut hasher, mut size) = (Hasher::new(), 0_u64);
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(registry_core::Error::from)?;
            size = size.saturating_add(piece.len() as u64);
            hasher.update(&piece);
        }
        artifacts.push(Artifact { path: file.path.clone(), digest: hasher.finish(), size });
    }
    Ok(Manifest::new(artifacts)?)
}

/// Sends the files and says what was sent.
pub(crate) async fn uploaded(
    registry: &dyn Registry,
    what: &str,
    files: &[ScannedFile],
    is_watched: bool,
) -> Result<Manifest, Failure> {
    let total = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    let bar = progress::bar(Some(total), what, is_watched);
    let mut artifacts = Vec::new();
    let mut before = 0_u64;
    for file in files {
        let source = FileSource::open(&file.file).map_err(|error| Failure::file(&file.file, error))?;
        let told = |sent: u64| bar.set_position(before.saturating_add(sent));
        let artifact = registry.upload(&file.path, &source, &told).await?;
        before = before.saturating_add(artifact.size);
        artifacts.push(artifact);
    }
    bar.finish_and_clear();
    Ok(Manifest::new(artifacts)?)
}

/// The files with their signature among them, and the signature, if there is a key to sign with.
fn signed(
    model: &ModelName,
    files: Manifest,
    key: Option<&SigningKey>,
) -> Result<(Manifest, Option<Bytes>), Failure> {
    let Some(key) = key else { return Ok((files, None)) };
    let signature = Bytes::from(registry_signing::sign_files(model, &files, key)?.to_bytes());
    let artifact = Artifact {
        path: SIGNATURE_FILE.parse()?,
        digest: Digest::of(&signature),
        size: u64::try_from(signature.len()).unwrap_or(u64::MAX),
    };
    let files = Manifest::new(files.iter().cloned().chain([artifact]).collect())?;
    Ok((files, Some(signature)))
}

/// Refuses what would be refused anyway before bytes are sent.
#[expect(clippy::too_many_arguments, reason = "all that a registration is made of, told once")]
async fn preflight(
    registry: &dyn Registry,
    by: &By,
    model: &ModelName,
    choice: &VersionChoice,
    content: &Content,
    stage: Stage,
    files: &[ScannedFile],
    sign: Option<&SigningKey>,
) -> Result<(), Failure> {
    let state = registry.state(&Stream::Model(model.clone()), &Need::Whole).await?;
    if by.request_id.as_ref().is_some_and(|id| state.fulfilled(id).is_some()) {
        return Ok(()); // Done before; the engine knows what to answer.
    }
    let mut content = content.clone();
    let is_known = match choice {
        VersionChoice::Explicit { version, .. } => state.version(version).is_some(),
        _ => false,
    };
    if !is_known {
        if !files.is_empty() {
            content.artifacts = unsent(files)?;
        }
        match rehearse(registry, by, model, choice, &content, stage).await {
            Ok(_) => return Ok(()),
            Err(_) if matches!(choice, VersionChoice::Auto) => {}
            Err(refused) => return Err(refused),
        }
    }
    // The answer may hang on the bytes: the same ones again are no new version.
    if !files.is_empty() {
        content.artifacts = hashed(files).await?;
    }
    content.artifacts = signed(model, content.artifacts, sign)?.0;
    rehearse(registry, by, model, choice, &content, stage).await.map(|_| ())
}

/// What a registration would record.
async fn rehearse(
    registry: &dyn Registry,
    by: &By,
    model: &ModelName,
    choice: &VersionChoice,
    content: &Content,
    stage: Stage,
) -> Result<(Arc<ModelState>, Vec<Event>), Failure> {
    let command = Command::Register {
        version: choice.clone(),
        content: Box::new(content.clone()),
        stage,
        origins: Vec::new(),
    };
    let request = Request { stream: Stream::from(model), by: by.rehearsing(), command };
    let receipt = registry.execute(request).await?;
    let events = receipt.events().to_vec();
    Ok((receipt.state, events))
}

/// In which form findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For a pull request
    Markdown,
    /// For programs, as with --json
    Json,
}

/// `registry explain fraud-detection --card card.toml --format markdown`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The model
    model: ModelName,
    /// The version to compare with. Default: the last one in production, else the latest
    #[arg(long, value_name = "SELECTOR")]
    against: Option<Selector>,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    described: Described,
}

/// The answer to `explain`.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    model: &'a ModelName,
    /// What it was compared with; null for a first version.
    baseline: Option<&'a Version>,
    /// The bump that is needed; null if a person must say, or for a first version.
    required: Option<Bump>,
    /// The number that --auto would give; null if it would be refused.
    next: Option<&'a Version>,
    #[serde(flatten)]
    comparison: Option<&'a Comparison>,
}

impl Explain {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let card = self.described.read(&self.model)?;
        let content = card.content;
        let registry = place::open_to_rehearse(session.place()).await?;
        // Nobody asks for anything here, so nobody need say who they are.
        let by = By::new("explain".parse()?);
        let auto =
            rehearse(registry.as_ref(), &by, &self.model, &VersionChoice::Auto, &content, Stage::Development);
        let (next, baseline) = match auto.await {
            Ok((_, events)) => match registered_in(&events) {
                Some(registered) => (Some(registered.version.clone()), registered.numbering.baseline.clone()),
                None => (None, None),
            },
            Err(Failure::Registry(registry_core::Error::Rejected(Rejection::BumpUnknown { baseline }))) => {
                (None, Some(baseline))
            }
            Err(other) => return Err(other),
        };
        let (next, selector) = match &self.against {
            // What --auto would give follows from the baseline, not from any other version.
            Some(selector) => (None, Some(selector.clone())),
            None => (next, baseline.map(Selector::Version)),
        };
        let Some(selector) = selector else {
            return self.tell(session, None, next.as_ref(), None);
        };
        let found = registry.get(&self.model, &selector).await?;
        let comparison = compare_interfaces(&found.content.interface(), &content.interface());
        self.tell(session, Some(&found.version), next.as_ref(), Some(&comparison))
    }

    fn tell(
        &self,
        session: &mut Session,
        baseline: Option<&Version>,
        next: Option<&Version>,
        comparison: Option<&Comparison>,
    ) -> Result<(), Failure> {
        if session.out.json || self.format == Format::Json {
            let required = comparison.and_then(Comparison::required_bump);
            return session.out.document(&Explained {
                model: &self.model,
                baseline,
                required,
                next,
                comparison,
            });
        }
        let is_markdown = self.format == Format::Markdown;
        let code = |text: &str| if is_markdown { format!("`{text}`") } else { text.to_owned() };
        let Some((baseline, comparison)) = baseline.zip(comparison) else {
            let next = next.map(|next| format!(": {}", code(&next.to_string()))).unwrap_or_default();
            return session.out.line(format!("This would be the first version{next}"));
        };
        let text = if is_markdown { comparison.to_markdown() } else { comparison.to_text() };
        session.out.line(format!("Compared with {}.", code(&format!("{}@{baseline}", self.model))))?;
        if is_markdown {
            session.out.line("")?;
        }
        session.out.line(text.trim_end())?;
        match next {
            Some(next) => session.out.line(format!("\nNext version: {}", code(&next.to_string()))),
            None => Ok(()),
        }
    }
}
