//! Why this exists: keys come from files that people made with other tools, in three or four forms. They are parsed here
//! once, into a type that can sign or verify and nothing else, and whatever is a key but not one of ours is named as what
//! it is. Secrets are drawn here, and nowhere else.
//!
//! A key is known by the SHA-256 of its public PEM file, as `sha256sum KEY.pub.pem` prints it: what model signing calls
//! the hint of a key.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use pkcs8::der::pem::{self, LineEnding};
use pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use registry_core::{Digest, Invalid};

use crate::error::{Error, Unsupported};

/// The largest PEM file that is read, in bytes.
const PEM_BYTES_MAX: usize = 64 * 1024;

/// How often bytes are drawn that are no secret of the curve, each of which is less likely than one in 2^31.
const DRAWS_MAX: u32 = 16;

/// A kind of key, which also says how it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519 (RFC 8032): what checkpoints are signed with.
    Ed25519,
    /// ECDSA on NIST P-256 with SHA-256.
    P256,
    /// ECDSA on NIST P-384 with SHA-384.
    P384,
    /// ECDSA on NIST P-521 with SHA-512.
    P521,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::P256 => "P-256",
            Algorithm::P384 => "P-384",
            Algorithm::P521 => "P-521",
        })
    }
}

/// What a public key is known by: the SHA-256 of its PEM file, 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.hex())
    }
}

impl FromStr for KeyId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match format!("sha256:{text}").parse() {
            Ok(digest) => Ok(KeyId(digest)),
            Err(_) => Err(Invalid::new("key id", text, "expected 64 lower-case hexadecimal digits")),
        }
    }
}

/// A private key.
pub struct SigningKey(Secret);

enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(Public);

#[derive(Clone, PartialEq, Eq)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::PublicKey),
    P384(p384::PublicKey),
    P521(p521::PublicKey),
}

impl SigningKey {
    /// A new key.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        for _ in 0..DRAWS_MAX {
            let mut drawn = [0_u8; 66];
            draw(&mut drawn)?;
            // P-521 has 521 bits: of the first of its 66 bytes, one.
            let [first, rest @ ..] = drawn;
            let made = match algorithm {
                Algorithm::Ed25519 => rest
                    .first_chunk()
                    .map(|bytes| Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(bytes))),
                Algorithm::P256 => rest
                    .first_chunk::<32>()
                    .and_then(|bytes| p256::SecretKey::from_slice(bytes).ok().map(Secret::P256)),
                Algorithm::P384 => rest
                    .first_chunk::<48>()
                    .and_then(|bytes| p384::SecretKey::from_slice(bytes).ok().map(Secret::P384)),
                Algorithm::P521 => {
                    let mut bytes = drawn;
                    if let Some(start) = bytes.first_mut() {
                        *start = first & 1;
                    }
                    p521::SecretKey::from_slice(&bytes).ok().map(Secret::P521)
                }
            };
            if let Some(secret) = made {
                return Ok(SigningKey(secret));
            }
        }
        Err(Error::NoRandomNumbers("what it gives is not random".to_owned()))
    }

    /// Reads a PEM file: PKCS#8 (`PRIVATE KEY`), or for elliptic curves also SEC 1 (`EC PRIVATE KEY`).
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "private key";
        let blocks = Blocks::of(WHAT, text)?;
        // OpenSSL writes the name of the curve before the key.
        match blocks.only_beside("EC PARAMETERS")? {
            Block { label: "PRIVATE KEY", der } => any_secret(der).ok_or_else(|| not_ours(WHAT)),
            Block { label: "EC PRIVATE KEY", der } => any_sec1(der).ok_or_else(|| not_ours(WHAT)),
            other => Err(other.refused(WHAT, "`PRIVATE KEY` or `EC PRIVATE KEY`")),
        }
    }

    /// The key as a PEM file, PKCS#8. Whoever reads it can sign.
    pub fn to_pem(&self) -> Result<String, Error> {
        let written = match &self.0 {
            // Without the public key beside it, which OpenSSL cannot read before 3.5.
            Secret::Ed25519(key) => {
                let alone =
                    ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None };
                alone.to_pkcs8_pem(LineEnding::LF)
            }
            Secret::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Secret::P384(key) => key.to_pkcs8_pem(LineEnding::LF),
            Secret::P521(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        written
            .map(|text| text.to_string())
            .map_err(|error| Invalid::new("private key", self.algorithm(), error.to_string()).into())
    }

    /// What kind of key it is.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying_key().algorithm()
    }

    /// The public key that belongs to it.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(match &self.0 {
            Secret::Ed25519(key) => Public::Ed25519(key.verifying_key()),
            Secret::P256(key) => Public::P256(key.public_key()),
            Secret::P384(key) => Public::P384(key.public_key()),
            Secret::P521(key) => Public::P521(key.public_key()),
        })
    }

    /// The signature over some bytes; the same each time. Ed25519 as it is, ECDSA in ASN.1.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.0 {
            Secret::Ed25519(key) => key.sign(bytes).to_bytes().to_vec(),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key).sign(bytes);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::P384(key) => {
                let signature: p384::ecdsa::Signature = p384::ecdsa::SigningKey::from(key).sign(bytes);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::P521(key) => {
                let signature: p521::ecdsa::Signature = p521::ecdsa::SigningKey::from(key).sign(bytes);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}

/// Never the secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.verifying_key())
    }
}

impl VerifyingKey {
    /// Reads a PEM file (`PUBLIC KEY`).
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "public key";
        match Blocks::of(WHAT, text)?.only_beside("EC PARAMETERS")? {
            Block { label: "PUBLIC KEY", der } => any_public(der).ok_or_else(|| not_ours(WHAT)),
            other => Err(other.refused(WHAT, "`PUBLIC KEY`")),
        }
    }

    /// The key as a PEM file.
    pub fn to_pem(&self) -> String {
        let written = match &self.0 {
            Public::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
            Public::P256(key) => key.to_public_key_pem(LineEnding::LF),
            Public::P384(key) => key.to_public_key_pem(LineEnding::LF),
            Public::P521(key) => key.to_public_key_pem(LineEnding::LF),
        };
        // A key of a length that its type knows can always be written.
        written.unwrap_or_default()
    }

    /// What the key is known by.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.to_pem().as_bytes()))
    }

    /// What kind of key it is.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Public::Ed25519(_) => Algorithm::Ed25519,
            Public::P256(_) => Algorithm::P256,
            Public::P384(_) => Algorithm::P384,
            Public::P521(_) => Algorithm::P521,
        }
    }

    /// Whether the key made this signature over these bytes.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        use p256::ecdsa::signature::Verifier as _;
        match &self.0 {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(bytes, &signature).is_ok()),
            Public::P256(key) => p256::ecdsa::Signature::from_der(signature).is_ok_and(|signature| {
                p256::ecdsa::VerifyingKey::from(key).verify(bytes, &signature).is_ok()
            }),
            Public::P384(key) => p384::ecdsa::Signature::from_der(signature).is_ok_and(|signature| {
                p384::ecdsa::VerifyingKey::from(key).verify(bytes, &signature).is_ok()
            }),
            Public::P521(key) => p521::ecdsa::Signature::from_der(signature).is_ok_and(|signature| {
                p521::ecdsa::VerifyingKey::from(key).verify(bytes, &signature).is_ok()
            }),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.id())
    }
}

fn draw(bytes: &mut [u8]) -> Result<(), Error> {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws secrets")]
    getrandom::fill(bytes).map_err(|error| Error::NoRandomNumbers(error.to_string()))
}

fn any_secret(der: &[u8]) -> Option<SigningKey> {
    let ed25519 = ed25519_dalek::SigningKey::from_pkcs8_der(der).map(Secret::Ed25519);
    let secret = ed25519
        .or_else(|_| p256::SecretKey::from_pkcs8_der(der).map(Secret::P256))
        .or_else(|_| p384::SecretKey::from_pkcs8_der(der).map(Secret::P384))
        .or_else(|_| p521::SecretKey::from_pkcs8_der(der).map(Secret::P521));
    secret.ok().map(SigningKey)
}

fn any_sec1(der: &[u8]) -> Option<SigningKey> {
    let secret = p256::SecretKey::from_sec1_der(der)
        .map(Secret::P256)
        .or_else(|_| p384::SecretKey::from_sec1_der(der).map(Secret::P384))
        .or_else(|_| p521::SecretKey::from_sec1_der(der).map(Secret::P521));
    secret.ok().map(SigningKey)
}

fn any_public(der: &[u8]) -> Option<VerifyingKey> {
    let public = ed25519_dalek::VerifyingKey::from_public_key_der(der)
        .map(Public::Ed25519)
        .or_else(|_| p256::PublicKey::from_public_key_der(der).map(Public::P256))
        .or_else(|_| p384::PublicKey::from_public_key_der(der).map(Public::P384))
        .or_else(|_| p521::PublicKey::from_public_key_der(der).map(Public::P521));
    public.ok().map(VerifyingKey)
}

fn not_ours(what: &'static str) -> Error {
    let problem =
        "it is damaged, or of a kind that is not known here: known are Ed25519, P-256, P-384 and P-521";
    Invalid::new(what, "PEM", problem).into()
}

/// A part of a PEM file between its lines of dashes.
struct Block<'a> {
    label: &'a str,
    der: &'a [u8],
}

impl Block<'_> {
    /// Why it is none of those that were expected.
    fn refused(&self, what: &'static str, expected: &str) -> Error {
        match self.label {
            "ENCRYPTED PRIVATE KEY" => Unsupported::EncryptedKey.into(),
            "CERTIFICATE" => Unsupported::Certificate.into(),
            other => Invalid::new(what, other, format!("the PEM file must hold a {expected}")).into(),
        }
    }
}

/// A PEM file taken apart.
struct Blocks {
    what: &'static str,
    /// Labels and bytes.
    blocks: Vec<(String, Vec<u8>)>,
}

impl Blocks {
    fn of(what: &'static str, text: &str) -> Result<Self, Error> {
        if text.starts_with("pkcs11:") {
            return Err(Unsupported::Pkcs11.into());
        }
        // The text of a key is never shown.
        let refused = |problem: &str| Error::from(Invalid::new(what, "PEM", problem));
        if PEM_BYTES_MAX < text.len() {
            return Err(refused("is larger than 64 KiB"));
        }
        let mut blocks = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("-----BEGIN ") {
            let from = rest.get(start..).unwrap_or_default();
            let label = from.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----"));
            let Some((label, _)) = label else {
                return Err(refused("the first line of the PEM file is damaged"));
            };
            let end_line = format!("-----END {label}-----");
            let Some(end) = from.find(&end_line).map(|end| end.saturating_add(end_line.len())) else {
                return Err(refused("the PEM file was cut short"));
            };
            let block = from.get(..end).unwrap_or_default();
            rest = from.get(end..).unwrap_or_default();
            // How OpenSSL marked encrypted keys before PKCS#8.
            if block.contains("Proc-Type: 4,ENCRYPTED") {
                return Err(Unsupported::EncryptedKey.into());
            }
            match pem::decode_vec(block.as_bytes()) {
                Ok((_, der)) => blocks.push((label.to_owned(), der)),
                Err(error) => return Err(refused(&format!("the PEM file is damaged: {error}"))),
            }
        }
        Ok(Blocks { what, blocks })
    }

    /// The one block there is, but for those of another label.
    fn only_beside(&self, ignored: &str) -> Result<Block<'_>, Error> {
        let mut found = self.blocks.iter().filter(|(label, ..)| label != ignored);
        let problem = match (found.next(), found.next()) {
            (Some((label, der)), None) => return Ok(Block { label, der }),
            (None, _) => "there is no key in the file; expected a PEM file",
            (Some(_), Some(_)) => "there is more than one key in the file",
        };
        Err(Invalid::new(self.what, "PEM", problem).into())
    }
}
