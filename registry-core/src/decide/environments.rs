//! Why this exists: a version that comes from another registry brings evidence with it, and the one that it comes
//! from notes where it went. Both are facts of elsewhere, which no rule here can judge; what they may cost is bounded
//! here.

use crate::event::{Copied, Event, Origin};
use crate::invalid::Invalid;
use crate::rejection::Rejection;

use super::Rules;

/// How many registries a version may have come through.
const ORIGINS_MAX: usize = 16;
/// How many registries a version may be copied to.
const COPIES_MAX: usize = 256;

pub(super) fn check_origins(origins: &[Origin]) -> Result<(), Invalid> {
    match origins.first() {
        Some(first) if ORIGINS_MAX < origins.len() => {
            let problem =
                format!("came through {} registries; at most {ORIGINS_MAX} are kept", origins.len());
            Err(Invalid::new("origin", &first.environment, problem))
        }
        _ => Ok(()),
    }
}

impl Rules<'_> {
    /// The version is there, whatever became of it here meanwhile: deleted or not.
    pub(super) fn note_copy(&self, copied: &Copied) -> Result<Vec<Event>, Rejection> {
        let copies = &self.any_version(&copied.version)?.copies;
        match copies.get(&copied.to) {
            Some(noted) if noted == copied => return Ok(Vec::new()),
            None if COPIES_MAX <= copies.len() => {
                let problem = format!(
                    "{} was copied to {} registries, the most there may be",
                    copied.version,
                    copies.len()
                );
                return Err(Invalid::new("environment name", &copied.to, problem).into());
            }
            _ => {}
        }
        Ok(vec![Event::Copied(copied.clone())])
    }
}
