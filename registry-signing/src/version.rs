//! Why this exists: a registry knows the digests of the files of a version, so signing one costs no reading. Verifying
//! does: the digests say what was registered, the bytes say what is there.
//!
//! A signature covers all files of a version but the one at `model.sig`, which is where it may lie itself.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::StreamExt as _;
use registry_core::gate::SIGNATURE_FILE;
use registry_core::{
    Artifact, ArtifactPath, Digest, Hasher, Manifest, ModelName, Registry, RegistryExt as _, VersionState,
};

use crate::error::Error;
use crate::key::{KeyId, SigningKey, VerifyingKey};
use crate::model::{MODEL_SIGNATURE_BYTES_MAX, ModelSignature, SignedFiles, SignedParts};

/// Signs the files of a version, registered or about to be.
///
/// The same files and the same key give the same signature, so registering them again, with it, changes nothing.
pub fn sign_files(name: &ModelName, files: &Manifest, key: &SigningKey) -> Result<ModelSignature, Error> {
    let covered = files.iter().filter(|file| file.path.as_str() != SIGNATURE_FILE);
    let files = covered.map(|file| (file.path.clone(), file.digest)).collect();
    ModelSignature::sign(&SignedFiles::new(name.as_str(), files)?, key)
}

/// The signature that lies among the files of a version, at `model.sig`.
pub async fn signature_in<R: Registry + ?Sized>(
    registry: &R,
    version: &VersionState,
) -> Result<ModelSignature, Error> {
    let path: ArtifactPath = SIGNATURE_FILE.parse()?;
    let Some(file) = version.content.artifacts.get(&path) else {
        return Err(Error::NotSigned { version: version.version.clone() });
    };
    ModelSignature::parse(&registry.read(file, MODEL_SIGNATURE_BYTES_MAX).await?)
}

/// What came of verifying the signature of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSignature {
    /// The key that made the signature.
    pub key: KeyId,
    /// How many files it covers.
    pub files: u64,
    /// How many bytes of them were read.
    pub bytes: u64,
    /// Files of the version that the signature says nothing of.
    pub uncovered: Vec<ArtifactPath>,
    /// In what the version is another than the one that was signed; empty if it is that one.
    pub problems: Vec<SignatureProblem>,
}

impl VersionSignature {
    /// Whether the version is the one that was signed.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A difference between a version and what was signed. A file with another name is one too many and one too few.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureProblem {
    /// A file is there that was not signed.
    Added {
        /// The file.
        path: ArtifactPath,
    },
    /// A file was signed that is not there.
    Missing {
        /// The file.
        path: ArtifactPath,
    },
    /// A file is another than the one that was signed.
    Altered {
        /// The file.
        path: ArtifactPath,
    },
    /// A file was registered as it was signed, but its bytes are damaged or missing.
    Bytes {
        /// The file.
        path: ArtifactPath,
        /// What is wrong with them.
        problem: String,
    },
}

impl fmt::Display for SignatureProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureProblem::Added { path } => write!(f, "{path}: was not signed"),
            SignatureProblem::Missing { path } => write!(f, "{path}: was signed, but is not there"),
            SignatureProblem::Altered { path } => {
                write!(f, "{path}: is another than the one that was signed")
            }
            SignatureProblem::Bytes { path, problem } => write!(f, "{path}: {problem}"),
        }
    }
}

/// Verifies a signature with the public keys of those who were to sign, compares what was signed with a version, and
/// reads all bytes that it covers.
pub async fn verify_version<R: Registry + ?Sized>(
    registry: &R,
    version: &VersionState,
    signature: &ModelSignature,
    keys: &[VerifyingKey],
) -> Result<VersionSignature, Error> {
    let (signed, key) = signature.verify_signature(keys)?;
    let mut found = VersionSignature { key, files: 0, bytes: 0, uncovered: Vec::new(), problems: Vec::new() };
    let mut there = BTreeSet::new();
    for file in &version.content.artifacts {
        let path = || file.path.clone();
        let is_signature = file.path.as_str() == SIGNATURE_FILE && !signed.names(&file.path);
        if is_signature || signed.ignores(&file.path) {
            found.uncovered.push(path());
            continue;
        }
        there.insert(&file.path);
        let expected = match signed.parts() {
            SignedParts::Files(files) => match files.get(&file.path) {
                None => {
                    found.problems.push(SignatureProblem::Added { path: path() });
                    continue;
                }
                Some(digest) if *digest != file.digest => {
                    found.problems.push(SignatureProblem::Altered { path: path() });
                    continue;
                }
                Some(_) => None,
            },
            SignedParts::Shards { size, files } => match files.get(&file.path) {
                // A file without bytes has no shards.
                None if file.size == 0 => {
                    found.uncovered.push(path());
                    continue;
                }
                None => {
                    found.problems.push(SignatureProblem::Added { path: path() });
                    continue;
                }
                Some(sharded) if sharded.length != file.size => {
                    found.problems.push(SignatureProblem::Altered { path: path() });
                    continue;
                }
                Some(sharded) => Some((size.get(), sharded.shards.as_slice())),
            },
        };
        found.files = found.files.saturating_add(1);
        match read(registry, file, expected.map(|(size, _)| size), &mut found.bytes).await {
            Ok(shards) if expected.is_some_and(|(_, signed)| signed != shards) => {
                found.problems.push(SignatureProblem::Altered { path: path() });
            }
            Ok(_) => {}
            Err(registry_core::Error::CorruptBytes(error)) => {
                found.problems.push(SignatureProblem::Bytes { path: path(), problem: error.to_string() });
            }
            Err(other) => return Err(other.into()),
        }
    }
    let paths: Vec<&ArtifactPath> = match signed.parts() {
        SignedParts::Files(files) => files.keys().collect(),
        SignedParts::Shards { files, .. } => files.keys().collect(),
    };
    for path in paths.into_iter().filter(|path| !there.contains(path)) {
        found.problems.push(SignatureProblem::Missing { path: path.clone() });
    }
    Ok(found)
}

/// Reads a file, which is verified on the way, and gives the digests of its shards, if they are asked for.
async fn read<R: Registry + ?Sized>(
    registry: &R,
    file: &Artifact,
    shard_size: Option<u64>,
    bytes_read: &mut u64,
) -> Result<Vec<Digest>, registry_core::Error> {
    let mut shards = Vec::new();
    let (mut hasher, mut left) = (Hasher::new(), shard_size.unwrap_or(u64::MAX));
    let mut bytes = registry.open(file).await?;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        *bytes_read = bytes_read.saturating_add(piece.len() as u64);
        let Some(size) = shard_size else { continue };
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()));
            hasher.update(part);
            left = left.saturating_sub(part.len() as u64);
            rest = behind;
            if left == 0 {
                shards.push(std::mem::take(&mut hasher).finish());
                left = size;
            }
        }
    }
    if shard_size.is_some_and(|size| left < size) {
        shards.push(hasher.finish());
    }
    Ok(shards)
}
