//! Why this exists: a version number is a promise, and promises made by hand are forgotten. This
//! module compares two versions, finds what their users will notice, and says how far the number
//! must rise. It never guesses from metrics: a better model is still the same interface.
//!
//! "Compatible" means that callers of the old version keep working with the new one. A model reads
//! its inputs, so the new inputs may demand less and take more; it writes its outputs, so the new
//! outputs may promise more and vary less. The reference table:
//!
//! | Change | Inputs | Outputs |
//! |---|---|---|
//! | add a required field | major | minor ¹ |
//! | add an optional field, or one with a default | minor | minor ¹ |
//! | remove a field | minor ² | major |
//! | optional → required | major | minor |
//! | required → optional | minor | major |
//! | wider type (`integer` → `long`, `float` → `double`, `integer` → `double`) | minor | major |
//! | narrower type | major | minor |
//! | any other change of type; of a tensor's element type | major | major |
//! | fixed dimension → free | minor | major |
//! | free dimension → fixed | major | minor |
//! | fixed dimension → another; another rank | major | major |
//! | rename a required field | major ³ | major ³ |
//! | reorder named fields | patch | patch |
//! | reorder unnamed fields | major | major |
//! | more categories, wider range, may be null, takes extra fields | minor | major |
//! | fewer categories, narrower range, no longer null, refuses extra fields | major | minor |
//! | another unit | major | major |
//! | another description | patch | patch |
//! | columns ↔ tensors, named ↔ unnamed | major | major |
//!
//! ¹ major if the old outputs are found by position or closed. ² major if the new inputs are found
//! by position or closed. ³ it is found as a removal and an addition.
//!
//! Parameters follow the inputs; removing one is major, changing a default is minor. Arrays, maps
//! and objects are compared inside by the same rules. Features: removed, narrowed or in another
//! unit is major; added, widened or computed differently is minor. Another framework, algorithm,
//! feature set or other training data is minor. Nothing found means new weights: patch.
//!
//! Something that is recorded for one version only proves no change. The exception is the
//! signature: without it the most important question is open, and a person must answer it.
//!
//! **Rolling back** asks the same question the other way round: clients adapted to the new version
//! meet the old one. So it is the same comparison with its sides exchanged.

mod bump;
mod diff;
mod finding;
mod interface;
mod render;
#[cfg(test)]
mod tests;

pub use bump::{ExplicitCheck, check_explicit, next_version, slot};
pub use diff::diff;
pub use finding::{Finding, FindingId};
pub use interface::{Comparison, Interface, compare_interfaces, diff_features};

use crate::signature::Signature;
use crate::version::Bump;

/// The bump that does justice to all the findings. Without any it is a patch: new weights.
pub fn required_bump(findings: &[Finding]) -> Bump {
    findings.iter().map(|finding| finding.required).max().unwrap_or(Bump::Patch)
}

/// What clients that are adapted to `new` notice when `old` comes back.
pub fn rollback_findings(new: &Signature, old: &Signature) -> Vec<Finding> {
    diff(new, old)
}

/// Whether clients survive a rollback with these findings.
pub fn is_rollback_safe(findings: &[Finding]) -> bool {
    required_bump(findings) < Bump::Major
}
