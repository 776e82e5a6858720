//! Why this exists: whoever may write to the storage can make a log anew from any commit on, with all digests, and the
//! chain is sound by itself. Only somebody who remembers how it was can tell. So the heads of the logs are written down,
//! signed, and kept elsewhere: a digest of the last commit stands for all before it.
//!
//! This has nothing to do with the checkpoints of [`storage`](registry_core::storage), which are caches that spare a
//! reader the way from the first commit. Those are never the truth; these are witnesses of it.
//!
//! What is signed is one line of JSON, the same for the same heads and instant, to the byte:
//!
//! ```text
//! {"format":1,"registry":"fraud-prod","made":"2026-03-01T09:00:00.000000Z","covers":"all","commits":7,
//!  "logs":[{"log":"model/fraud","revision":5,"digest":"sha256:…"},{"log":"registry","revision":2,"digest":"sha256:…"}]}
//! ```
//!
//! Nothing is said of a log that was not gone through: a head that is signed is one whose chain was sound.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use registry_core::{
    Digest, EnvironmentName, Invalid, Registry, RegistryExt as _, Rejection, Revision, Stream, Timestamp,
    Verification, VerifyOptions,
};
use serde::{Deserialize, Serialize};

use crate::dsse::Envelope;
use crate::error::{Error, brief};
use crate::key::{KeyId, SigningKey, VerifyingKey};

/// The type of what is signed, as DSSE calls it.
pub const CHECKPOINT_TYPE: &str = "application/vnd.model-registry.checkpoint+json";

/// The largest checkpoint that is read, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The newest format that this library writes and reads.
const FORMAT: u32 = 1;

/// How errors name a checkpoint.
const WHAT: &str = "checkpoint";

/// Of which logs a checkpoint speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Covers {
    /// All logs there were. One that is not in it did not exist, or had no commit.
    All,
    /// This one.
    Log(Stream),
}

impl fmt::Display for Covers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Covers::All => f.write_str("all"),
            Covers::Log(stream) => stream.fmt(f),
        }
    }
}

impl FromStr for Covers {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "all" => Ok(Covers::All),
            other => Ok(Covers::Log(other.parse()?)),
        }
    }
}

/// Where one log ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// The log.
    pub log: Stream,
    /// Its last commit, which is also how many there were.
    pub revision: Revision,
    /// The digest of that commit, which stands for all before it.
    pub digest: Digest,
}

/// Where the logs of a registry ended at an instant: what a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHeads {
    registry: EnvironmentName,
    made: Timestamp,
    covers: Covers,
    /// In the order of their names, each once.
    logs: Vec<LogHead>,
}

/// The form in which it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    registry: EnvironmentName,
    made: Timestamp,
    covers: String,
    commits: u64,
    logs: Vec<LogHead>,
}

impl LogHeads {
    /// Goes through every log from its first commit on, and notes where it ends. A log that is damaged is an error.
    pub async fn of<R: Registry + ?Sized>(
        registry: &R,
        covers: &Covers,
        name: EnvironmentName,
    ) -> Result<Self, Error> {
        heads(registry, covers, name, &BTreeMap::new()).await
    }

    /// The same, but of logs that are in an earlier checkpoint only what came since is read. It must have been verified
    /// with a key: see [`SignedCheckpoint::verify_signature`].
    pub async fn since<R: Registry + ?Sized>(registry: &R, earlier: &LogHeads) -> Result<Self, Error> {
        let known = earlier.logs.iter().map(|head| (&head.log, (head.revision, head.digest))).collect();
        heads(registry, &earlier.covers, earlier.registry.clone(), &known).await
    }

    /// What the registry is called.
    pub fn registry(&self) -> &EnvironmentName {
        &self.registry
    }

    /// When it was made, by the clock of the registry.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// Of which logs it speaks.
    pub fn covers(&self) -> &Covers {
        &self.covers
    }

    /// The logs, in the order of their names.
    pub fn logs(&self) -> &[LogHead] {
        &self.logs
    }

    /// How many commits all logs had together.
    pub fn commits(&self) -> u64 {
        self.logs.iter().fold(0, |sum, head| sum.saturating_add(head.revision.get()))
    }

    /// What is signed.
    fn to_payload(&self) -> Vec<u8> {
        let written = Written {
            format: FORMAT,
            registry: self.registry.clone(),
            made: self.made,
            covers: self.covers.to_string(),
            commits: self.commits(),
            logs: self.logs.clone(),
        };
        // Text keys and whole numbers only, which JSON can always write.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Reads what is signed. What is not written as this library writes it is refused.
    fn parse_payload(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let refused = |problem: String| Invalid::new(WHAT, "payload", problem);
        let unreadable = |error: serde_json::Error| refused(format!("cannot be read: {}", brief(error)));
        let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT {
            let problem = format!("is in format {format}, this library knows {FORMAT}; upgrade to read it");
            return Err(registry_core::Error::NewerFormat(format!("the checkpoint {problem}")).into());
        }
        let written: Written = serde_json::from_slice(bytes).map_err(unreadable)?;
        let covers: Covers = written.covers.parse()?;
        let heads = LogHeads { registry: written.registry, made: written.made, covers, logs: written.logs };
        let names: Vec<String> = heads.logs.iter().map(|head| head.log.to_string()).collect();
        if !names.is_sorted_by(|one, next| one < next) {
            return Err(refused("its logs are not in the order of their names, each once".to_owned()).into());
        }
        if let Covers::Log(one) = &heads.covers
            && heads.logs.iter().map(|head| &head.log).ne([one])
        {
            return Err(refused(format!("speaks of other logs than {one}, which it is said to cover")).into());
        }
        if heads.to_payload() != bytes {
            return Err(refused("is not written as a checkpoint is".to_owned()).into());
        }
        Ok(heads)
    }
}

async fn heads<R: Registry + ?Sized>(
    registry: &R,
    covers: &Covers,
    name: EnvironmentName,
    known: &BTreeMap<&Stream, (Revision, Digest)>,
) -> Result<LogHeads, Error> {
    let mut streams = match covers {
        Covers::All => registry.all_streams().await?,
        Covers::Log(stream) => vec![stream.clone()],
    };
    // A log that was there is looked for, even if it is not listed any more.
    streams.extend(known.keys().map(|stream| (*stream).clone()));
    streams.sort_by_cached_key(Stream::to_string);
    streams.dedup();
    let mut logs = Vec::new();
    for stream in streams {
        let found = match known.get(&stream) {
            Some(noted) => registry.verify_since(&stream, *noted).await?,
            None => registry.verify(&stream, VerifyOptions::default()).await?,
        };
        if !found.is_sound() {
            return Err(Error::Unsound { stream, problems: found.problems });
        }
        // A first registration that broke off leaves a name without commits.
        if let Some(head) = found.head {
            logs.push(LogHead { log: stream, revision: head.revision, digest: head.digest });
        }
    }
    if let (Covers::Log(Stream::Model(model)), true) = (covers, logs.is_empty()) {
        return Err(registry_core::Error::from(Rejection::ModelNotFound { model: model.clone() }).into());
    }
    if logs.is_empty() {
        let problem = "there is no commit yet, so there is nothing to sign";
        return Err(Invalid::new(WHAT, covers, problem).into());
    }
    Ok(LogHeads { registry: name, made: registry.clock().now(), covers: covers.clone(), logs })
}

/// The heads of logs, signed: what is kept elsewhere.
///
/// Not one of the checkpoints of a [storage](registry_core::storage), which are caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    envelope: Envelope,
    heads: LogHeads,
}

impl SignedCheckpoint {
    /// Signs heads.
    pub fn sign(heads: &LogHeads, key: &SigningKey) -> Self {
        let envelope = Envelope::sign(CHECKPOINT_TYPE, &heads.to_payload(), key, true);
        SignedCheckpoint { envelope, heads: heads.clone() }
    }

    /// Reads one from a file. Nothing is verified by that.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if CHECKPOINT_BYTES_MAX < bytes.len() {
            let problem = format!("is larger than {CHECKPOINT_BYTES_MAX} bytes");
            return Err(Invalid::new(WHAT, format!("{} bytes", bytes.len()), problem).into());
        }
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| {
            Invalid::new(WHAT, "file", format!("is no signed checkpoint: {}", brief(error)))
        })?;
        let heads = LogHeads::parse_payload(&envelope.payload(WHAT, CHECKPOINT_TYPE)?)?;
        Ok(SignedCheckpoint { envelope, heads })
    }

    /// The checkpoint as a file, with a line feed at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Text only, which JSON can always write.
        let mut bytes = serde_json::to_vec(&self.envelope).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The heads, if one of the keys signed them. The keys must have come from those who were to sign, by another way
    /// than the checkpoint: a checkpoint that is believed because of a key inside it proves nothing.
    pub fn verify_signature(&self, keys: &[VerifyingKey]) -> Result<LogHeads, Error> {
        self.envelope.verify(WHAT, keys, None)?;
        Ok(self.heads.clone())
    }

    /// What it says, **not verified**.
    pub fn claimed(&self) -> &LogHeads {
        &self.heads
    }

    /// The key that it says it was signed with, **not verified**.
    pub fn claimed_key(&self) -> Option<KeyId> {
        self.envelope.named_key()
    }
}

/// A log that was held against a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLog {
    /// What the checkpoint says of it.
    pub noted: LogHead,
    /// What was found. A log that has grown is sound.
    pub verification: Verification,
}

impl HeldLog {
    /// How many commits came since.
    pub fn grown_by(&self) -> u64 {
        let last = self.verification.head.as_ref().map_or(0, |head| head.revision.get());
        last.saturating_sub(self.noted.revision.get())
    }
}

/// A log that a checkpoint does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherLog {
    /// The log.
    pub log: Stream,
    /// What was found in it by itself.
    pub verification: Verification,
}

/// What came of holding a registry against a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAgainst {
    /// Each log of the checkpoint, in the order of their names.
    pub logs: Vec<HeldLog>,
    /// If the checkpoint covers all logs: those that began since, checked by themselves.
    pub others: Vec<OtherLog>,
}

impl HeldAgainst {
    /// Whether all of them are what they were, what came since follows from it, and nothing is wrong with those that
    /// began since.
    pub fn is_sound(&self) -> bool {
        self.logs.iter().all(|log| log.verification.is_sound())
            && self.others.iter().all(|other| other.verification.is_sound())
    }
}

/// Goes through every log of a checkpoint, from its first commit to its last: the commit that was noted must be there
/// with that very digest. Asked to, it reads the bytes of all versions too. If the checkpoint covers all logs, those that
/// began since are checked as well, by themselves.
pub async fn verify_against<R: Registry + ?Sized>(
    registry: &R,
    heads: &LogHeads,
    bytes: bool,
) -> Result<HeldAgainst, Error> {
    let mut logs = Vec::new();
    for noted in &heads.logs {
        let options = VerifyOptions {
            bytes,
            against: Some((noted.revision, noted.digest)),
            ..VerifyOptions::default()
        };
        let verification = registry.verify(&noted.log, options).await?;
        logs.push(HeldLog { noted: noted.clone(), verification });
    }
    let mut others = Vec::new();
    if heads.covers == Covers::All {
        let noted: BTreeSet<&Stream> = heads.logs.iter().map(|noted| &noted.log).collect();
        for log in registry.all_streams().await? {
            if noted.contains(&log) {
                continue;
            }
            let verification =
                registry.verify(&log, VerifyOptions { bytes, ..VerifyOptions::default() }).await?;
            // A first commit that broke off, or that is under way.
            if verification.commits != 0 || !verification.is_sound() {
                others.push(OtherLog { log, verification });
            }
        }
    }
    Ok(HeldAgainst { logs, others })
}
