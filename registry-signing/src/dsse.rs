//! Why this exists: what is signed must be exactly the bytes that are read afterwards, and must not be taken for a
//! document of another kind. [DSSE](https://github.com/secure-systems-lab/dsse) does both: the payload travels as it is,
//! in Base64, and the signature covers its type and its length too. Checkpoints and model signatures go through here, and
//! nothing else in this crate signs or verifies.
//!
//! ```text
//! signed:  DSSEv1 <length of type> <type> <length of payload> <payload>
//! written: {"payload":"<Base64>","payloadType":"<type>","signatures":[{"sig":"<Base64>","keyid":"<key>"}]}
//! ```

use base64ct::{Base64, Encoding as _};
use registry_core::Invalid;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::key::{KeyId, SigningKey, VerifyingKey};

/// The most signatures of an envelope.
const SIGNATURES_MAX: usize = 16;

/// A payload and the signatures over it, none of which was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    sig: String,
    /// Others leave it out, or empty.
    keyid: Option<String>,
}

impl Signature {
    fn named_key(&self) -> Option<KeyId> {
        self.keyid.as_ref().and_then(|id| id.parse().ok())
    }
}

impl Envelope {
    /// Signs a payload. Whether the envelope itself names the key is the matter of the format it is for.
    pub(crate) fn sign(payload_type: &str, payload: &[u8], key: &SigningKey, is_named: bool) -> Self {
        let sig = Base64::encode_string(&key.sign(&encoded(payload_type, payload)));
        let keyid = if is_named { key.verifying_key().id().to_string() } else { String::new() };
        Envelope {
            payload: Base64::encode_string(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![Signature { sig, keyid: Some(keyid) }],
        }
    }

    /// How many signatures there are.
    pub(crate) fn signatures(&self) -> usize {
        self.signatures.len()
    }

    /// The payload, **not verified**, if it is of that type.
    pub(crate) fn payload(&self, what: &'static str, payload_type: &str) -> Result<Vec<u8>, Invalid> {
        if self.payload_type != payload_type {
            let problem = format!("is a document of another kind; expected `{payload_type}`");
            return Err(Invalid::new(what, &self.payload_type, problem));
        }
        if self.signatures.is_empty() || SIGNATURES_MAX < self.signatures.len() {
            let problem = format!("expected 1 to {SIGNATURES_MAX} signatures");
            return Err(Invalid::new(what, format!("{} signatures", self.signatures.len()), problem));
        }
        bytes(what, &self.payload)
    }

    /// The key that the first signature says it was made with, if it says so.
    pub(crate) fn named_key(&self) -> Option<KeyId> {
        self.signatures.first().and_then(Signature::named_key)
    }

    /// The key among those given that made one of the signatures. `hint` names the key where the envelope does not.
    pub(crate) fn verify(
        &self,
        what: &'static str,
        keys: &[VerifyingKey],
        hint: Option<KeyId>,
    ) -> Result<KeyId, Error> {
        let signed = encoded(&self.payload_type, &bytes(what, &self.payload)?);
        let mut blamed = None;
        for signature in self.signatures.iter().take(SIGNATURES_MAX) {
            let sig = bytes(what, &signature.sig)?;
            let named = signature.named_key().or(hint);
            for key in keys.iter().filter(|key| named.is_none_or(|named| named == key.id())) {
                if key.verifies(&signed, &sig) {
                    return Ok(key.id());
                }
                blamed = named.or(blamed);
            }
        }
        Err(match blamed {
            Some(key) => Error::WrongSignature { key },
            None => Error::OtherKey {
                named: self.named_key().or(hint),
                given: keys.iter().map(VerifyingKey::id).collect(),
            },
        })
    }
}

fn bytes(what: &'static str, text: &str) -> Result<Vec<u8>, Invalid> {
    Base64::decode_vec(text).map_err(|_| Invalid::new(what, text, "is not Base64 with padding"))
}

/// What is signed: the type and the payload, each with its length, so that no two pairs are the same bytes.
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_the_protocol_says() {
        // The example of the protocol, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
        let signed = encoded("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
