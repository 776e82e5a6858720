//! Who says that this is the true record, and these the true weights? A checkpoint and a signature, each with a key that
//! was handed over beforehand.
//!
//! ```console
//! cargo run -p registry-examples --bin signing
//! ```
//!
//! A model is really trained, signed, and put into production; a checkpoint of the log is kept by the auditors. Then
//! somebody with access to the storage makes a copy in which another person asked for the move, with all digests made
//! anew, and one with other weights under the same signature.

use std::error::Error;

use bytes::Bytes;
use registry_core::codec::encode;
use registry_core::gate::SIGNATURE_FILE;
use registry_core::storage::{Append, Record};
use registry_core::{
    Artifact, By, Content, Engine, Manifest, MemoryArtifacts, MemoryLog, ModelName, PromoteOptions,
    Registration, Registry, RegistryExt as _, Revision, Selector, Stage, Stream, VerifyOptions, Version,
};
use registry_examples::describe::{self, MODEL_FILE};
use registry_examples::page::{answer, chapter, say};
use registry_examples::training;
use registry_signing::{
    Algorithm, Covers, LogHeads, SignedCheckpoint, SigningKey, VerifyingKey, sign_files, signature_in,
    verify_against, verify_version,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many commits are copied at once; the log of this story is shorter.
const PAGE: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = registry_core::in_memory();
    let (dana, chen) = (By::new("dana".parse()?), By::new("chen".parse()?));
    let model: ModelName = "tumour-diagnosis".parse()?;
    let v1 = Version::new(1, 0, 0);
    let (trainers, auditors) =
        (SigningKey::generate(Algorithm::P256)?, SigningKey::generate(Algorithm::Ed25519)?);
    // What others get, by another way than models and records.
    let (trainers_public, auditors_public) = (trainers.verifying_key(), auditors.verifying_key());

    chapter("Whoever trained the model signs it");
    let trained = training::baseline()?;
    let weights = Bytes::from(trained.bytes.clone());
    let weights = registry.upload(&MODEL_FILE.parse()?, &weights, &|_| {}).await?;
    let signature = sign_files(&model, &Manifest::new(vec![weights.clone()])?, &trainers)?.to_bytes();
    let signature = registry.upload(&SIGNATURE_FILE.parse()?, &Bytes::from(signature), &|_| {}).await?;
    let content = describe::content(&trained)?;
    register(&registry, &dana, &model, content.clone(), vec![weights, signature.clone()]).await?;
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&dana, &model, &v1, stage, PromoteOptions::default()).await?;
    }
    tell_signature(&registry, &model, &trainers_public).await?;

    chapter("The auditors keep where the log ended");
    let heads = LogHeads::of(&registry, &Covers::All, "clinic".parse()?).await?;
    let file = SignedCheckpoint::sign(&heads, &auditors).to_bytes();
    for head in heads.logs() {
        answer(&format!("{} ended at revision {}", head.log, head.revision));
    }
    registry.deprecate(&chen, &model, &v1, None, None).await?;
    say("Since then the log grew, as it should:");
    tell_held(&registry, &file, &auditors_public).await?;

    chapter("A copy in which somebody else asked for it");
    let forged = rewritten(&registry, &model).await?;
    let alone = forged.verify(&model, VerifyOptions::default()).await?;
    say(&format!(
        "Its {} commits follow each other, digest by digest. By itself it is {}.",
        alone.commits,
        if alone.is_sound() { "sound" } else { "damaged" }
    ));
    tell_held(&forged, &file, &auditors_public).await?;

    chapter("A copy with other weights under the same signature");
    let other = registry_core::in_memory();
    let careless = Bytes::from(training::careless_retrain()?.bytes);
    let weights = other.upload(&MODEL_FILE.parse()?, &careless, &|_| {}).await?;
    let bytes = registry.read(&signature, signature.size).await?;
    other.upload(&signature.path, &bytes, &|_| {}).await?;
    register(&other, &dana, &model, content, vec![weights, signature]).await?;
    tell_signature(&other, &model, &trainers_public).await?;

    chapter("A checkpoint that brings its own key along");
    let stranger = SigningKey::generate(Algorithm::Ed25519)?;
    let heads = LogHeads::of(&forged, &Covers::All, "clinic".parse()?).await?;
    let file = SignedCheckpoint::sign(&heads, &stranger).to_bytes();
    match SignedCheckpoint::parse(&file)?.verify_signature(&[auditors_public]) {
        Ok(_) => return Err("a stranger was believed".into()),
        Err(_) => answer("was not signed by the auditors, whatever key it names"),
    }
    Ok(())
}

async fn register(
    registry: &impl Registry,
    by: &By,
    model: &ModelName,
    content: Content,
    files: Vec<Artifact>,
) -> Result<()> {
    let content = Content { artifacts: Manifest::new(files)?, ..content };
    registry.register(by, model, Registration::new(Version::new(1, 0, 0), content), &[]).await?;
    Ok(())
}

/// The log with another actor in its second commit, and every digest from there on made anew.
async fn rewritten(
    registry: &impl Registry,
    model: &ModelName,
) -> Result<Engine<MemoryLog, MemoryArtifacts>> {
    let forged = registry_core::in_memory();
    let mut previous = None;
    for recorded in registry.log(model, Revision::FIRST, PAGE).await? {
        let mut commit = (*recorded.commit).clone();
        if commit.revision == Revision::FIRST.next() {
            commit.actor = "mallory".parse()?;
        }
        commit.previous = previous;
        let encoded = encode(&commit);
        previous = Some(encoded.digest);
        let record = Record {
            stream: Stream::from(model),
            revision: commit.revision,
            request_id: commit.request_id.clone(),
            time: commit.time,
            terms: Default::default(),
            body: encoded.bytes.into(),
        };
        if forged.commits().append(&record).await? != Append::Written {
            return Err("the copy has such a commit already".into());
        }
    }
    Ok(forged)
}

async fn tell_held(registry: &impl Registry, file: &[u8], public: &VerifyingKey) -> Result<()> {
    let heads = SignedCheckpoint::parse(file)?.verify_signature(std::slice::from_ref(public))?;
    for log in verify_against(registry, &heads, false).await?.logs {
        let name = &log.noted.log;
        match log.verification.problems.first() {
            None => answer(&format!("{name} is what it was, and has {} more", log.grown_by())),
            Some(problem) => answer(&format!("{name}, {problem}")),
        }
    }
    Ok(())
}

async fn tell_signature(registry: &impl Registry, model: &ModelName, public: &VerifyingKey) -> Result<()> {
    let found = registry.get(model, &Selector::Newest).await?;
    let signature = signature_in(registry, found.state()).await?;
    let done = verify_version(registry, found.state(), &signature, std::slice::from_ref(public)).await?;
    match done.problems.first() {
        None => answer(&format!("{} is as it was signed, {} bytes", found.version, done.bytes)),
        Some(problem) => answer(&format!("{}: {problem}", found.version)),
    }
    Ok(())
}
