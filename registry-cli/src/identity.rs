//! Why this exists: every change is on record with its author. Where nobody says who they are, the
//! best guess is the user of the operating system on this machine, and a guess that cannot be made is
//! an error, not a blank.

use registry_core::Actor;

use crate::failure::{Failure, Kind};

/// The actor given, else `user@host`.
pub(crate) fn actor(given: Option<&Actor>) -> Result<Actor, Failure> {
    if let Some(actor) = given {
        return Ok(actor.clone());
    }
    let user = ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|user| !user.trim().is_empty());
    let Some(user) = user else {
        return Err(Failure::new(
            Kind::Invalid,
            "who are you? Give --actor or set REGISTRY_ACTOR, for example to your e-mail address",
        ));
    };
    let host = gethostname::gethostname();
    Ok(format!("{}@{}", user.trim(), host.to_string_lossy()).parse()?)
}
