//! Why this exists: the address of a webhook is often a secret itself, in its path or in its query, and addresses end up
//! in errors and logs. So an address is a type of its own that shows the server and nothing else.

use std::fmt;
use std::str::FromStr;

use registry_core::Invalid;
use reqwest::Url;

/// The longest address that is taken.
const CHARS_MAX: usize = 2_048;

/// An address over HTTP. What is shown of it is the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // Nothing of what cannot be read is shown: a secret may stand anywhere in it.
        let unread = |problem: &str| Err(Invalid::new("address", "…", problem));
        if CHARS_MAX < text.len() {
            return unread("is longer than 2,048 characters");
        }
        let Ok(url) = text.parse::<Url>() else {
            return unread("expected a URL such as `https://on-call.example.com/models`");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return unread("expected one that begins with `https://` or `http://`");
        }
        let address = Address(url);
        if !address.0.username().is_empty() || address.0.password().is_some() {
            let problem = "must not hold a user or a password; give what proves who you are apart from it";
            return Err(Invalid::new("address", address, problem));
        }
        if address.0.fragment().is_some() {
            return Err(Invalid::new("address", address, "must not have a part after `#`"));
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.0.path() == "/" && self.0.query().is_none() { "" } else { "/…" };
        f.pad(&format!("{}{more}", self.0.origin().ascii_serialization()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_is_shown() {
        for (text, shown) in [
            ("https://example.com", "https://example.com"),
            ("https://example.com:8443/", "https://example.com:8443"),
            ("https://example.com/services/SECRET", "https://example.com/…"),
            ("http://127.0.0.1:9/?token=SECRET", "http://127.0.0.1:9/…"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.into(), format!("{shown:?}")));
        }
    }

    #[test]
    fn what_is_refused_is_not_shown_either() {
        let long = format!("https://example.com/SECRET{}", "x".repeat(CHARS_MAX));
        for (text, says) in [
            ("SECRET", "expected a URL"),
            ("https://SECRET:x@", "expected a URL"),
            ("ftp://example.com/SECRET", "`https://`"),
            ("https://user:SECRET@example.com/", "a user or a password"),
            ("https://SECRET@example.com/", "a user or a password"),
            ("https://example.com/#SECRET", "`#`"),
            (&long, "2,048"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("SECRET"), "{error}");
        }
    }
}
