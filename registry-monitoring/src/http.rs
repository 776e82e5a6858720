//! Why this exists: whatever is on the other side, it may hang, send without end, or lead elsewhere. How a client is
//! made that bears this, what an error may say, and how much of an answer is read stands here once.

use std::time::Duration;

use registry_core::Invalid;

use crate::address::Address;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How many characters of what another program said are shown.
const SHOWN_MAX: usize = 300;

pub(crate) fn client(address: &Address) -> Result<reqwest::Client, Invalid> {
    reqwest::Client::builder()
        .user_agent(concat!("model-registry/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_MAX)
        // Where it leads to was chosen by the other side, and signatures and passwords would go with it.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .build()
        .map_err(|error| Invalid::new("address", address, format!("no client can be made for it: {error}")))
}

/// Why there was no whole answer, without the address.
pub(crate) fn problem(error: reqwest::Error) -> String {
    let what = match (error.is_connect(), error.is_timeout()) {
        (true, _) => "no connection",
        (false, true) => "no answer in time",
        (false, false) => "no whole answer",
    };
    let error = error.without_url();
    let mut text = what.to_owned();
    let mut cause = std::error::Error::source(&error);
    while let Some(found) = cause {
        text.push_str(&format!(": {found}"));
        cause = found.source();
    }
    said(&text)
}

/// What another program said, as a line that is not long.
pub(crate) fn said(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = plain.take(SHOWN_MAX).collect();
    if line.len() < text.len() && SHOWN_MAX <= line.chars().count() {
        line.push('…');
    }
    line
}
