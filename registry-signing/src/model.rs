//! Why this exists: a signature over a model is worth most where it can be verified without us. The format of OpenSSF
//! model signing, as its Python package `model-signing` 1.x writes and reads it, is that:
//!
//! ```text
//! model.sig   a Sigstore bundle 0.3 (JSON): the hint of a public key, and
//!   └ a DSSE envelope, signed with ECDSA over P-256, P-384 or P-521, and in it
//!       └ an in-toto statement 1 (JSON) whose predicate names each file with its digest, and
//!           └ whose subject is the SHA-256 over all those digests, in their order
//! ```
//!
//! Files may be cut into shards of equal size, each with a digest of its own (`name:start:end`); files without bytes have
//! no shards, so a signature over shards says nothing of them.
//!
//! What is strict there is strict here: a bundle with a field that nobody knows is refused. What is lenient there is
//! lenient here: a statement may say more than is looked at. And what is careless there is refused here: names that lead
//! out of the folder, files named twice, shards that leave gaps, a folder that is ignored as a whole.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use registry_core::gate::SIGNATURE_FILE;
use registry_core::{ArtifactPath, Digest, Hasher, Invalid};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::dsse::Envelope;
use crate::error::{Error, Unsupported, brief};
use crate::key::{Algorithm, KeyId, SigningKey, VerifyingKey};

/// The largest signature that is read, in bytes.
pub const MODEL_SIGNATURE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What the statement is about.
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// How errors name a signature.
const WHAT: &str = "model signature";

/// Which files a signature vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFiles {
    name: String,
    parts: SignedParts,
    /// Files and folders that it says nothing of.
    ignored: Vec<ArtifactPath>,
}

/// The digests that are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedParts {
    /// One for each file.
    Files(BTreeMap<ArtifactPath, Digest>),
    /// One for each shard of each file that has bytes.
    Shards {
        /// The length of a shard, in bytes; only the last one of a file may be shorter.
        size: NonZeroU64,
        /// The files.
        files: BTreeMap<ArtifactPath, ShardedFile>,
    },
}

/// A file that was cut into shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardedFile {
    /// Its length, in bytes.
    pub length: u64,
    /// The digests of its shards, from the first byte to the last.
    pub shards: Vec<Digest>,
}

impl SignedFiles {
    /// Each file as a whole. `name` is what the model is called; it is told to readers and takes no part in verifying.
    pub fn new(name: impl Into<String>, files: BTreeMap<ArtifactPath, Digest>) -> Result<Self, Error> {
        let name = name.into();
        if files.is_empty() {
            return Err(Invalid::new(WHAT, name, "there are no files to sign").into());
        }
        Ok(SignedFiles { name, parts: SignedParts::Files(files), ignored: vec![SIGNATURE_FILE.parse()?] })
    }

    /// What the model is called, as its signer says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digests.
    pub fn parts(&self) -> &SignedParts {
        &self.parts
    }

    /// Files and folders that the signature says nothing of.
    pub fn ignored(&self) -> &[ArtifactPath] {
        &self.ignored
    }

    /// Whether the signature says nothing of a file of that name: it is ignored, or lies below a folder that is.
    pub fn ignores(&self, path: &ArtifactPath) -> bool {
        self.ignored.iter().any(|ignored| match path.as_str().strip_prefix(ignored.as_str()) {
            // The signature itself is a file. What lies below a folder of that name could be anything.
            Some(rest) if ignored.as_str() == SIGNATURE_FILE => rest.is_empty(),
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        })
    }

    /// Whether it vouches for a file of that name.
    pub fn names(&self, path: &ArtifactPath) -> bool {
        match &self.parts {
            SignedParts::Files(files) => files.contains_key(path),
            SignedParts::Shards { files, .. } => files.contains_key(path),
        }
    }

    /// The digest over all digests, which stands for the model in other documents.
    pub fn subject(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (_, digest) in self.resources() {
            hasher.update(digest.as_bytes());
        }
        hasher.finish()
    }

    /// The names and digests as they are written: folder by folder, as the reference does.
    fn resources(&self) -> Vec<(String, Digest)> {
        fn in_order<T>(files: &BTreeMap<ArtifactPath, T>) -> Vec<(&ArtifactPath, &T)> {
            let mut sorted: Vec<_> = files.iter().collect();
            sorted.sort_by(|(one, _), (other, _)| one.as_str().split('/').cmp(other.as_str().split('/')));
            sorted
        }
        match &self.parts {
            SignedParts::Files(files) => {
                in_order(files).into_iter().map(|(path, digest)| (path.to_string(), *digest)).collect()
            }
            SignedParts::Shards { size, files } => {
                let mut resources = Vec::new();
                for (path, file) in in_order(files) {
                    let mut start = 0_u64;
                    for digest in &file.shards {
                        let end = start.saturating_add(size.get()).min(file.length);
                        resources.push((format!("{path}:{start}:{end}"), *digest));
                        start = end;
                    }
                }
                resources
            }
        }
    }

    fn algorithm(&self) -> String {
        match &self.parts {
            SignedParts::Files(_) => "sha256".to_owned(),
            SignedParts::Shards { size, .. } => format!("sha256-sharded-{size}"),
        }
    }

    fn to_payload(&self) -> Vec<u8> {
        let (method, shard_size) = match &self.parts {
            SignedParts::Files(_) => ("files", None),
            SignedParts::Shards { size, .. } => ("shards", Some(*size)),
        };
        let resources = self.resources();
        let statement = WrittenStatement {
            statement_type: STATEMENT_TYPE,
            subject: [WrittenSubject { name: &self.name, digest: Sha256 { sha256: self.subject().hex() } }],
            predicate_type: PREDICATE_TYPE,
            predicate: WrittenPredicate {
                serialization: WrittenSerialization {
                    method,
                    hash_type: "sha256",
                    shard_size,
                    allow_symlinks: false,
                    ignore_paths: &self.ignored,
                },
                resources: resources
                    .into_iter()
                    .map(|(name, digest)| Resource {
                        name,
                        algorithm: self.algorithm(),
                        digest: digest.hex(),
                    })
                    .collect(),
            },
        };
        // Text keys and whole numbers only, which JSON can always write.
        serde_json::to_vec(&statement).unwrap_or_default()
    }

    fn parse_payload(bytes: &[u8]) -> Result<Self, Error> {
        let unreadable =
            |error: serde_json::Error| refused("statement", format!("cannot be read: {}", brief(error)));
        let kind: StatementKind = serde_json::from_slice(bytes).map_err(unreadable)?;
        if kind.statement_type != STATEMENT_TYPE {
            return Err(refused(
                kind.statement_type,
                format!("expected the statement type `{STATEMENT_TYPE}`"),
            )
            .into());
        }
        if kind.predicate_type != PREDICATE_TYPE {
            return Err(Unsupported::PredicateType(brief(kind.predicate_type)).into());
        }
        let Statement { subject, predicate } = serde_json::from_slice(bytes).map_err(unreadable)?;
        let [subject] = <[Subject; 1]>::try_from(subject).map_err(|subjects| {
            refused(format!("{} subjects", subjects.len()), "expected exactly one".to_owned())
        })?;
        let Serialization { method, hash_type, shard_size, ignore_paths } = predicate.serialization;
        if hash_type != "sha256" {
            return Err(Unsupported::DigestAlgorithm(brief(hash_type)).into());
        }
        let size = match (method.as_str(), shard_size) {
            ("files", _) => None,
            ("shards", Some(size)) => Some(whole(size)?),
            ("shards", None) => return Err(refused("shards", "their size is not given".to_owned()).into()),
            _ => return Err(Unsupported::Serialization(brief(method)).into()),
        };
        let mut parts = match size {
            None => SignedParts::Files(BTreeMap::new()),
            Some(size) => SignedParts::Shards { size, files: BTreeMap::new() },
        };
        let expected = match size {
            None => "sha256".to_owned(),
            Some(size) => format!("sha256-sharded-{size}"),
        };
        let mut hasher = Hasher::new();
        for Resource { name, algorithm, digest } in predicate.resources {
            if algorithm != expected {
                return Err(Unsupported::DigestAlgorithm(brief(algorithm)).into());
            }
            let digest: Digest = format!("sha256:{}", digest.to_ascii_lowercase()).parse()?;
            hasher.update(digest.as_bytes());
            parts.add(&name, digest)?;
        }
        let root = hasher.finish();
        if subject.digest.get("sha256").map(String::as_str) != Some(root.hex().as_str()) {
            let problem = format!("its files have the digest {root} together, but its subject says another");
            return Err(refused(subject.name, problem).into());
        }
        let ignored: Result<Vec<ArtifactPath>, Invalid> =
            ignore_paths.iter().map(|path| path.trim_end_matches('/').parse()).collect();
        Ok(SignedFiles { name: subject.name, parts, ignored: ignored? })
    }
}

impl SignedParts {
    /// Adds what a statement says of a file or of a shard. Shards come from the first byte of a file on.
    fn add(&mut self, name: &str, digest: Digest) -> Result<(), Invalid> {
        match self {
            SignedParts::Files(files) => match files.insert(name.parse()?, digest) {
                None => Ok(()),
                Some(_) => Err(refused(name, "is named twice".to_owned())),
            },
            SignedParts::Shards { size, files } => {
                let wrong = || refused(name, "expected a shard, `name:start:end`".to_owned());
                let mut fields = name.split(':');
                let (Some(path), Some(start), Some(end), None) =
                    (fields.next(), fields.next(), fields.next(), fields.next())
                else {
                    return Err(wrong());
                };
                let start: u64 = start.parse().map_err(|_| wrong())?;
                let end: u64 = end.parse().map_err(|_| wrong())?;
                let empty = ShardedFile { length: 0, shards: Vec::new() };
                let file = files.entry(path.parse()?).or_insert(empty);
                let is_next = start == file.length && start < end && end - start <= size.get();
                // Only the last one may be shorter, so none follows a shorter one.
                if !is_next || !start.is_multiple_of(size.get()) {
                    let problem = "the shards of a file must follow each other, all of the size that is given but \
                                   the last";
                    return Err(refused(name, problem.to_owned()));
                }
                file.length = end;
                file.shards.push(digest);
                Ok(())
            }
        }
    }
}

/// A number that JSON wrote as one with a fraction, as Python does.
fn whole(number: f64) -> Result<NonZeroU64, Invalid> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && (1.0..=LARGEST).contains(&number) {
        // Exact: it is whole, and no larger than what a float can count to.
        if let Some(size) = NonZeroU64::new(number as u64) {
            return Ok(size);
        }
    }
    Err(refused(number, "expected a whole number of bytes for the size of shards".to_owned()))
}

fn refused(value: impl std::fmt::Display, problem: String) -> Invalid {
    Invalid::new(WHAT, value, problem)
}

#[derive(Serialize)]
struct WrittenStatement<'a> {
    #[serde(rename = "_type")]
    statement_type: &'static str,
    subject: [WrittenSubject<'a>; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: WrittenPredicate<'a>,
}

#[derive(Serialize)]
struct WrittenSubject<'a> {
    name: &'a str,
    digest: Sha256,
}

#[derive(Serialize)]
struct Sha256 {
    sha256: String,
}

#[derive(Serialize)]
struct WrittenPredicate<'a> {
    serialization: WrittenSerialization<'a>,
    resources: Vec<Resource>,
}

#[derive(Serialize)]
struct WrittenSerialization<'a> {
    method: &'static str,
    hash_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_size: Option<NonZeroU64>,
    allow_symlinks: bool,
    ignore_paths: &'a [ArtifactPath],
}

#[derive(Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
struct StatementKind {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    shard_size: Option<f64>,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

/// A signature over the files of a model, of which nothing was verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSignature {
    envelope: Envelope,
    hint: Option<KeyId>,
}

impl ModelSignature {
    /// Signs.
    pub fn sign(files: &SignedFiles, key: &SigningKey) -> Result<Self, Error> {
        check_kind(key.algorithm())?;
        let envelope = Envelope::sign(PAYLOAD_TYPE, &files.to_payload(), key, false);
        Ok(ModelSignature { envelope, hint: Some(key.verifying_key().id()) })
    }

    /// Reads a `model.sig`. Nothing is verified by that.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if MODEL_SIGNATURE_BYTES_MAX < length {
            let problem = format!("is larger than {MODEL_SIGNATURE_BYTES_MAX} bytes");
            return Err(refused(format!("{length} bytes"), problem).into());
        }
        let unreadable =
            |error: serde_json::Error| refused("file", format!("is no signature bundle: {}", brief(error)));
        let MediaType { media_type } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if media_type != MEDIA_TYPE {
            return Err(Unsupported::MediaType(brief(media_type)).into());
        }
        let bundle: Bundle = serde_json::from_slice(bytes).map_err(unreadable)?;
        let material = bundle.verification_material;
        let has_certificate = material.certificate.is_some() || material.x509_certificate_chain.is_some();
        let hint = match material.public_key {
            _ if has_certificate && !material.tlog_entries.is_empty() => {
                return Err(Unsupported::Keyless.into());
            }
            _ if has_certificate => return Err(Unsupported::Certificate.into()),
            None => return Err(refused("bundle", "names no key".to_owned()).into()),
            // Releases before 1.0 gave no hint.
            Some(PublicKey { hint, .. }) => hint.filter(|hint| !hint.is_empty()),
        };
        let hint = hint.map(|hint| hint.parse()).transpose()?;
        let envelope = match (bundle.dsse_envelope, bundle.message_signature) {
            (Some(envelope), None) => envelope,
            (None, Some(_)) => return Err(Unsupported::MessageSignature.into()),
            _ => return Err(refused("bundle", "expected one DSSE envelope".to_owned()).into()),
        };
        if envelope.signatures() != 1 {
            let found = format!("{} signatures", envelope.signatures());
            return Err(refused(found, "expected exactly one".to_owned()).into());
        }
        Ok(ModelSignature { envelope, hint })
    }

    /// The signature as a `model.sig`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bundle = WrittenBundle {
            media_type: MEDIA_TYPE,
            verification_material: WrittenMaterial {
                public_key: self.hint.map(|hint| WrittenKey { hint: hint.to_string() }),
                tlog_entries: [],
            },
            dsse_envelope: &self.envelope,
        };
        // Text only, which JSON can always write.
        serde_json::to_vec(&bundle).unwrap_or_default()
    }

    /// What it vouches for, and the key that does, if it is one of those given. The keys must have come from those who
    /// were to sign, by another way than the model.
    pub fn verify_signature(&self, keys: &[VerifyingKey]) -> Result<(SignedFiles, KeyId), Error> {
        keys.iter().try_for_each(|key| check_kind(key.algorithm()))?;
        let key = self.envelope.verify(WHAT, keys, self.hint)?;
        let files = SignedFiles::parse_payload(&self.envelope.payload(WHAT, PAYLOAD_TYPE)?)?;
        Ok((files, key))
    }

    /// The key that it says it was made with, **not verified**.
    pub fn claimed_key(&self) -> Option<KeyId> {
        self.hint
    }
}

fn check_kind(algorithm: Algorithm) -> Result<(), Error> {
    match algorithm {
        Algorithm::P256 | Algorithm::P384 | Algorithm::P521 => Ok(()),
        Algorithm::Ed25519 => Err(Unsupported::KeyOfModels(algorithm).into()),
    }
}

#[derive(Deserialize)]
struct MediaType {
    #[serde(rename = "mediaType")]
    media_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Bundle {
    #[serde(rename = "mediaType")]
    _media_type: IgnoredAny,
    verification_material: Material,
    message_signature: Option<IgnoredAny>,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    public_key: Option<PublicKey>,
    x509_certificate_chain: Option<IgnoredAny>,
    certificate: Option<IgnoredAny>,
    #[serde(default)]
    tlog_entries: Vec<IgnoredAny>,
    #[serde(rename = "timestampVerificationData")]
    _timestamp_verification_data: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PublicKey {
    hint: Option<String>,
    #[serde(rename = "rawBytes")]
    _raw_bytes: Option<IgnoredAny>,
    #[serde(rename = "keyDetails")]
    _key_details: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBundle<'a> {
    media_type: &'static str,
    verification_material: WrittenMaterial,
    dsse_envelope: &'a Envelope,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMaterial {
    public_key: Option<WrittenKey>,
    tlog_entries: [(); 0],
}

#[derive(Serialize)]
struct WrittenKey {
    hint: String,
}
