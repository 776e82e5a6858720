//! Why this exists: "which versions are in staging, tagged `fraud`, with an accuracy of at least 0.9, the best
//! first?" A [`Query`] is plain data: a [`Filter`], an [`Order`] and a page. The filter is a tree that is built
//! in code or read from text; `docs/search.md` in the repository shows all that can be said.
//!
//! ```text
//! text ── parse ──> Filter ── leads ──> names and terms ──> candidates ── fold ──> evaluate ──> rows ──> page
//! ```
//!
//! Only the last steps decide, on the states of models, so every backend gives the same answer; what comes
//! before them saves looks at models that cannot match. Why no query language of some database? It would
//! belong to one backend, and the others would have to imitate it.

mod evaluate;
mod filter;
mod narrow;
mod order;
mod parse;
mod run;
#[cfg(test)]
mod tests;
mod value;

use std::str::FromStr;

use crate::invalid::Invalid;

pub use filter::{Condition, Filter, FlagField, ParamTest, Test, TextField, TextTest, TimeField};
pub use order::{Cursor, Order, Sort, SortField};
pub(crate) use run::search;
pub use run::{Match, Page, Query};
pub use value::{DigestPrefix, Like, Moment, OneOf, ParamValue, Pattern, Relation, VersionMatch};

impl FromStr for Filter {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse::filter(text)
    }
}
