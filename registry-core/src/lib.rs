//! placeholder
pub mod compat;
pub mod features;
mod invalid;
mod serde_text;
pub mod signature;
mod version;
pub use invalid::Invalid;
pub use version::{Bump, Version, VersionRange};
