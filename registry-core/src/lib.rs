//! placeholder
mod invalid;
mod serde_text;
mod version;
pub use invalid::Invalid;
pub use version::{Bump, Version, VersionRange};
