//! Why this exists: whoever receives "the model was taken out" must know that the registry said so, that nobody changed
//! it on the way, and that it is not an old one sent again. The way is that of the Standard Webhooks specification, for
//! which there are receivers in every language:
//!
//! ```text
//! webhook-id:         finding-5f0c…          the same each time that it is sent
//! webhook-timestamp:  1705314600             when it was sent, in seconds since 1970
//! webhook-signature:  v1,<Base64>            HMAC-SHA-256 over  id . timestamp . body
//! ```

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use registry_core::Timestamp;
use sha2::Sha256;

use crate::secret::Secret;

/// How far the clocks of sender and receiver may be apart, with the time on the way.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// How many signatures may stand in a header: one for each secret, while secrets are exchanged.
const SIGNATURES_MAX: usize = 16;
/// The longest id that is looked at.
const ID_CHARS_MAX: usize = 256;

/// What came in the headers of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`
    pub timestamp: &'a str,
    /// `webhook-signature`
    pub signature: &'a str,
}

/// Why a webhook is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// The id cannot be one.
    #[error("the header `webhook-id` must hold 1 to 256 characters and no full stop")]
    Id,
    /// The time cannot be read.
    #[error("the header `webhook-timestamp` must hold whole seconds since 1970")]
    Time,
    /// It was sent too long ago: an old one sent again, or a clock that goes wrong.
    #[error("it was sent {seconds} s ago; at most {tolerance_seconds} s are tolerated")]
    TooOld {
        /// How long ago.
        seconds: u64,
        /// How long is tolerated.
        tolerance_seconds: u64,
    },
    /// It will be sent in the future: a clock goes wrong.
    #[error(
        "it was sent {seconds} s from now; at most {tolerance_seconds} s are tolerated: compare the clocks"
    )]
    TooNew {
        /// How far from now.
        seconds: u64,
        /// How far is tolerated.
        tolerance_seconds: u64,
    },
    /// No signature was made with a known secret over what was received.
    #[error("no signature of version 1 in the header `webhook-signature` fits")]
    Signature,
}

fn mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    // Keys of any length are taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).ok()?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Some(mac)
}

/// The signature as it stands in the header; none for an id that would be refused.
pub(crate) fn sign(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    if !is_id(id) {
        return None;
    }
    let code = mac(secret, id, timestamp, body)?.finalize().into_bytes();
    Some(format!("v1,{}", STANDARD.encode(code)))
}

/// With a full stop in the id, one signature would fit two divisions of the same bytes.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_CHARS_MAX && !id.contains('.')
}

/// Whether a webhook was sent by somebody who knows one of the secrets, not long before `now`, and arrived as it was
/// sent. Codes are compared in a time that does not depend on where they differ.
///
/// An id that was seen before is the same notification again: it may be sent several times, so keep the ids of the
/// last hours and pass over what is known.
pub fn verify(
    secrets: &[Secret],
    received: &Received<'_>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), Unverified> {
    if !is_id(received.id) {
        return Err(Unverified::Id);
    }
    let is_whole = !received.timestamp.is_empty() && received.timestamp.bytes().all(|b| b.is_ascii_digit());
    let sent = received.timestamp.parse::<i64>().ok().filter(|_| is_whole).ok_or(Unverified::Time)?;
    let tolerance_seconds = tolerance.as_secs();
    let age = now.microseconds().div_euclid(1_000_000).saturating_sub(sent);
    match (age, age.unsigned_abs()) {
        (0.., seconds) if tolerance_seconds < seconds => {
            return Err(Unverified::TooOld { seconds, tolerance_seconds });
        }
        (_, seconds) if tolerance_seconds < seconds => {
            return Err(Unverified::TooNew { seconds, tolerance_seconds });
        }
        _ => {}
    }
    let given = received.signature.split(' ').take(SIGNATURES_MAX);
    let codes: Vec<Vec<u8>> =
        given.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok()).collect();
    for secret in secrets {
        let Some(mac) = mac(secret, received.id, received.timestamp, body) else { continue };
        if codes.iter().any(|code| mac.clone().verify_slice(code).is_ok()) {
            return Ok(());
        }
    }
    Err(Unverified::Signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Secret {
        SECRET.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_microseconds(seconds * 1_000_000).unwrap()
    }

    fn checked(received: &Received<'_>, body: &[u8], now: i64) -> Result<(), Unverified> {
        verify(&[secret()], received, body, at(now), TOLERANCE)
    }

    const RECEIVED: Received<'static> = Received { id: ID, timestamp: TIME, signature: SIGNATURE };
    const SENT: i64 = 1_614_265_330;

    /// HMAC written out by its definition in RFC 2104, which shares nothing with the crate but the hash.
    fn by_definition(key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(key);
        let inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).chain(message.iter().copied()).collect();
        let inner = Sha256::digest(&inner);
        let outer: Vec<u8> = block.iter().map(|byte| byte ^ 0x5c).chain(inner.iter().copied()).collect();
        Sha256::digest(&outer).to_vec()
    }

    #[test]
    fn the_example_of_the_specification() {
        assert_eq!(sign(&secret(), ID, TIME, BODY).unwrap(), SIGNATURE);
        assert_eq!(checked(&RECEIVED, BODY, SENT), Ok(()));
    }

    #[test]
    fn what_is_not_to_be_believed() {
        let other = "v1,bm90IHRoaXMgb25l";
        let of_version_2 = SIGNATURE.replace("v1,", "v2,");
        let both = format!("{other} {SIGNATURE}");
        let many = format!("{}{SIGNATURE}", format!("{other} ").repeat(SIGNATURES_MAX));
        let with = |signature| Received { signature, ..RECEIVED };
        for (received, body, now, expected) in [
            (with(&both), BODY, SENT, Ok(())),
            (RECEIVED, BODY, SENT + 300, Ok(())),
            (RECEIVED, BODY, SENT - 300, Ok(())),
            (RECEIVED, &b"{}"[..], SENT, Err(Unverified::Signature)),
            (with(other), BODY, SENT, Err(Unverified::Signature)),
            (with(""), BODY, SENT, Err(Unverified::Signature)),
            (with("v1,"), BODY, SENT, Err(Unverified::Signature)),
            (with(&of_version_2), BODY, SENT, Err(Unverified::Signature)),
            (with(&many), BODY, SENT, Err(Unverified::Signature)),
            (Received { id: "msg_other", ..RECEIVED }, BODY, SENT, Err(Unverified::Signature)),
            (Received { timestamp: "1614265331", ..RECEIVED }, BODY, SENT, Err(Unverified::Signature)),
            (Received { id: "a.1", ..RECEIVED }, BODY, SENT, Err(Unverified::Id)),
            (Received { id: "", ..RECEIVED }, BODY, SENT, Err(Unverified::Id)),
            (Received { timestamp: "+1614265330", ..RECEIVED }, BODY, SENT, Err(Unverified::Time)),
            (Received { timestamp: "9".repeat(30).leak(), ..RECEIVED }, BODY, SENT, Err(Unverified::Time)),
            (RECEIVED, BODY, SENT + 301, Err(Unverified::TooOld { seconds: 301, tolerance_seconds: 300 })),
            (RECEIVED, BODY, SENT - 301, Err(Unverified::TooNew { seconds: 301, tolerance_seconds: 300 })),
        ] {
            assert_eq!(checked(&received, body, now), expected, "{received:?} at {now}");
        }
        // While secrets are exchanged either is believed.
        let new: Secret = "whsec_bWFkZSB1cCBhbmQgbG9uZyBlbm91Z2ggZm9yIGFueWJvZHk=".parse().unwrap();
        assert_eq!(verify(&[new.clone(), secret()], &RECEIVED, BODY, at(SENT), TOLERANCE), Ok(()));
        assert_eq!(verify(&[new], &RECEIVED, BODY, at(SENT), TOLERANCE), Err(Unverified::Signature));
    }

    proptest! {
        #[test]
        fn a_signature_is_the_code_by_definition_and_of_nothing_else(
            key in proptest::collection::vec(any::<u8>(), 24..=64),
            id in "[a-z0-9_-]{1,40}",
            sent in 0..4_000_000_000_i64,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            spoilt in any::<proptest::sample::Index>(),
        ) {
            let secret: Secret = format!("whsec_{}", STANDARD.encode(&key)).parse().unwrap();
            let timestamp = sent.to_string();
            let signature = sign(&secret, &id, &timestamp, &body).unwrap();
            let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat();
            prop_assert_eq!(&signature, &format!("v1,{}", STANDARD.encode(by_definition(&key, &message))));
            let received = Received { id: &id, timestamp: &timestamp, signature: &signature };
            let secrets = [secret];
            prop_assert_eq!(verify(&secrets, &received, &body, at(sent), TOLERANCE), Ok(()));
            let mut other = body.clone();
            match other.is_empty() {
                true => other.push(0),
                false => other[spoilt.index(body.len())] ^= 1,
            }
            prop_assert_eq!(verify(&secrets, &received, &other, at(sent), TOLERANCE), Err(Unverified::Signature));
        }
    }
}
