//! Signatures for a model registry.
//!
//! A log whose commits are chained by their digests shows by itself that a record was edited, taken out or moved. It
//! cannot show that its end was cut off, or that somebody who may write to the storage made all of it anew. A
//! [`SignedCheckpoint`], kept where that somebody cannot write, can: [`verify_against`] holds a registry against it.
//! It has nothing to do with the checkpoints that a storage keeps to read a state faster, which are caches.
//!
//! A [`ModelSignature`] says of the files of a version that the holder of a key vouches for them, in the format of
//! [OpenSSF model signing](https://github.com/sigstore/model-transparency), so that people who have none of our
//! software can verify it, and so that what they signed can be verified here.
//!
//! ```
//! use registry_core::{By, Content, ModelName, Registration, RegistryExt, Version};
//! use registry_signing::{Algorithm, Covers, LogHeads, SignedCheckpoint, SigningKey, verify_against};
//!
//! # async fn sign() -> Result<(), registry_signing::Error> {
//! let registry = registry_core::in_memory();
//! let fraud: ModelName = "fraud-detection".parse()?;
//! let alice = By::new("alice@example.com".parse()?);
//! registry.register(&alice, &fraud, Registration::new(Version::new(1, 0, 0), Content::default()), &[]).await?;
//!
//! let key = SigningKey::generate(Algorithm::Ed25519)?;
//! let heads = LogHeads::of(&registry, &Covers::All, "fraud-prod".parse()?).await?;
//! let signed = SignedCheckpoint::sign(&heads, &key);
//!
//! // Later, elsewhere, with the public key that was handed over beforehand:
//! let signed = SignedCheckpoint::parse(&signed.to_bytes())?;
//! let heads = signed.verify_signature(&[key.verifying_key()])?;
//! assert!(verify_against(&registry, &heads, false).await?.is_sound());
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(sign()).unwrap();
//! ```
//!
//! **Architecture Invariants:** only this crate knows cryptography beyond SHA-256, and draws secret random numbers, in
//! one place ([`SigningKey::generate`]). It knows no files and no storage. No type of a library of cryptography appears
//! in a public signature.

mod checkpoint;
mod dsse;
mod error;
mod key;
mod model;
mod version;

/// Compiles and runs what the documents show.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../docs/checkpoints.md")]
    mod checkpoints {}
    #[doc = include_str!("../../docs/signing.md")]
    mod signing {}
}

pub use checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_TYPE, Covers, HeldAgainst, HeldLog, LogHead, LogHeads, OtherLog,
    SignedCheckpoint, verify_against,
};
pub use error::{Error, Unsupported};
pub use key::{Algorithm, KeyId, SigningKey, VerifyingKey};
pub use model::{
    MODEL_SIGNATURE_BYTES_MAX, ModelSignature, PREDICATE_TYPE, ShardedFile, SignedFiles, SignedParts,
};
pub use version::{SignatureProblem, VersionSignature, sign_files, signature_in, verify_version};
