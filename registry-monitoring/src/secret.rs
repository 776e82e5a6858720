//! Why this exists: what a webhook is signed with must be long enough to be worth something, and must not be seen. The
//! text form is that of the Standard Webhooks specification, so that one secret can be given to any receiver.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry_core::Invalid;

/// What a webhook is signed with, and known to sender and receiver alone: `whsec_` and 24 to 64 bytes in Base64.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    const PREFIX: &str = "whsec_";
    const BYTES_MIN: usize = 24;
    const BYTES_MAX: usize = 64;
    /// Of the text; more is not even looked at.
    const CHARS_MAX: usize = 128;

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refused = |problem: &str| Err(Invalid::new("webhook secret", "…", problem));
        let Some(encoded) = text.strip_prefix(Secret::PREFIX) else {
            return refused("expected one that begins with `whsec_`");
        };
        let decoded = if encoded.len() <= Secret::CHARS_MAX { STANDARD.decode(encoded).ok() } else { None };
        match decoded {
            None => refused("expected Base64 after `whsec_`"),
            Some(bytes) if bytes.len() < Secret::BYTES_MIN => refused("is shorter than 24 bytes"),
            Some(bytes) if Secret::BYTES_MAX < bytes.len() => refused("is longer than 64 bytes"),
            Some(bytes) => Ok(Secret(bytes)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_long_and_misspelt_ones_are_refused_and_none_is_shown() {
        let of = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        let long = format!("whsec_{}", "A".repeat(4_000));
        for (text, says) in [
            ("", "`whsec_`"),
            ("SECRETSECRETSECRET", "`whsec_`"),
            ("whsec_SECRET!", "Base64"),
            (&of(23), "shorter than 24"),
            (&of(65), "longer than 64"),
            (&long, "Base64"),
        ] {
            let error = text.parse::<Secret>().unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("SECRET"), "{error}");
        }
        for length in [24, 64] {
            assert_eq!(of(length).parse::<Secret>().unwrap().bytes().len(), length);
        }
        assert_eq!(format!("{:?}", of(24).parse::<Secret>().unwrap()), "Secret(…)");
    }
}
