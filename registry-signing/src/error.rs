//! Why this exists: whoever verifies must be able to tell three things apart: the signature is not right, the document
//! is not one that can be read at all, and it is a kind of signature that is good but not known here.

use registry_core::gate::SIGNATURE_FILE;
use registry_core::{Invalid, Problem, Stream, Version};

use crate::key::{Algorithm, KeyId};

/// What somebody else wrote, or what a parser says of it, for an error: cut, and on one line.
pub(crate) fn brief(text: impl std::fmt::Display) -> String {
    const CHARS_MAX: usize = 160;
    let text = text.to_string();
    let mut brief: String =
        text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        brief.push('…');
    }
    brief
}

/// Why something could not be signed or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry said so.
    #[error(transparent)]
    Registry(#[from] registry_core::Error),
    /// What was given cannot be read.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No signature lies among the files of the version.
    #[error("{version} has no signature among its files, which would be `{SIGNATURE_FILE}`")]
    NotSigned {
        /// The version.
        version: Version,
    },
    /// A good kind of signature or key, which is not known here.
    #[error("{0} cannot be used here; {how}", how = .0.remedy())]
    Unsupported(Unsupported),
    /// None of the keys that were given made the signature.
    #[error(
        "the signature was not made with {given}{made}; give the public key of whoever was to sign, as you got it \
         from them",
        given = listed(given),
        made = made_with(named.as_ref())
    )]
    OtherKey {
        /// The key that the signature says it was made with, if it says so. Whoever wrote it could write anything.
        named: Option<KeyId>,
        /// The keys that were given.
        given: Vec<KeyId>,
    },
    /// The signature names one of the keys that were given, but was not made with it, or not over these bytes.
    #[error(
        "the signature is not right: what it covers was altered after key {key} signed it, or it is made up"
    )]
    WrongSignature {
        /// The key.
        key: KeyId,
    },
    /// A log whose heads were to be signed is damaged.
    #[error("the log {stream} is damaged, so nothing is said of it: {}", first(problems))]
    Unsound {
        /// The log.
        stream: Stream,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers to make a key of: {0}")]
    NoRandomNumbers(String),
}

/// Kinds of keys and signatures that exist but are not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// An encrypted private key.
    #[error("an encrypted private key")]
    EncryptedKey,
    /// A certificate in place of a key.
    #[error("a certificate")]
    Certificate,
    /// A key that does not leave a device.
    #[error("a key in a PKCS#11 device")]
    Pkcs11,
    /// A signature of Sigstore without a key.
    #[error("a keyless Sigstore signature, which rests on an entry in a transparency log")]
    Keyless,
    /// A signature over a message, not over a statement.
    #[error("a Sigstore bundle with a message signature")]
    MessageSignature,
    /// Another version of the format.
    #[error("a signature bundle of the type `{0}`")]
    MediaType(String),
    /// A statement that says something else.
    #[error("a statement with the predicate type `{0}`")]
    PredicateType(String),
    /// A way of taking files apart.
    #[error("the serialization `{0}`")]
    Serialization(String),
    /// A digest.
    #[error("the digest algorithm `{0}`")]
    DigestAlgorithm(String),
    /// A kind of key that model signing does not know.
    #[error("a key of the kind {0} for a model")]
    KeyOfModels(Algorithm),
}

impl Unsupported {
    fn remedy(&self) -> &'static str {
        match self {
            Unsupported::EncryptedKey => {
                "decrypt it first, for example with `openssl pkey -in KEY -out PLAIN`"
            }
            Unsupported::Certificate | Unsupported::Pkcs11 | Unsupported::Keyless => {
                "sign and verify with a key in a PEM file, or use the Python package `model-signing`"
            }
            Unsupported::MessageSignature => "expected a DSSE envelope",
            Unsupported::MediaType(_) => "expected `application/vnd.dev.sigstore.bundle.v0.3+json`",
            Unsupported::PredicateType(_) => {
                "expected `https://model_signing/signature/v1.0`; sign again with release 1.0 or later"
            }
            Unsupported::Serialization(_) => "expected `files` or `shards`",
            Unsupported::DigestAlgorithm(_) => "expected `sha256`",
            Unsupported::KeyOfModels(_) => "expected P-256, P-384 or P-521",
        }
    }
}

impl From<Unsupported> for Error {
    fn from(unsupported: Unsupported) -> Self {
        Error::Unsupported(unsupported)
    }
}

fn listed(keys: &[KeyId]) -> String {
    match keys {
        [] => "a key that was given, for none was".to_owned(),
        [one] => format!("key {one}"),
        several => {
            let shown: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("any of the keys {}", shown.join(", "))
        }
    }
}

fn made_with(named: Option<&KeyId>) -> String {
    named.map(|key| format!(", but says it was made with {key}")).unwrap_or_default()
}

fn first(problems: &[Problem]) -> String {
    problems.first().map(ToString::to_string).unwrap_or_default()
}
