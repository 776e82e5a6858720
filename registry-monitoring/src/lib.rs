//! What monitoring exchanges with the outside.
//!
//! Why this exists: a rule that takes a model out of production at three in the morning must reach somebody, and the
//! numbers that it looks at are often counted elsewhere already. Both go over HTTP, which the core knows nothing of. So
//! this crate implements the two traits by which the core's [`Monitor`](registry_core::monitor::Monitor) reaches out:
//!
//! ```text
//! Prometheus ── PrometheusSource ──> Monitor ──> Webhook ──> whoever is on call
//!                     (Source)          │ (Notify)
//!                                       └──────> Lines  ──> the standard output
//! ```
//!
//! ```
//! use registry_monitoring::{Received, Secret, Webhook, verify};
//!
//! let secret: Secret = "whsec_bWFkZSB1cCBhbmQgbG9uZyBlbm91Z2ggZm9yIGFueWJvZHk=".parse()?;
//! let webhook = Webhook::new("https://on-call.example.com/models".parse()?, secret.clone())?;
//! assert_eq!(format!("{webhook:?}"), r#"Webhook("https://on-call.example.com/…")"#);
//!
//! // Whoever receives it checks who sent it, and when:
//! let received = Received { id: "finding-1", timestamp: "1705314600", signature: "v1,bm90IHRoaXMgb25l" };
//! let now = "2024-01-15T10:30:00Z".parse()?;
//! assert!(verify(&[secret], &received, b"{}", now, registry_monitoring::TOLERANCE).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Architecture Invariants:** a secret stands in no error, no log and no `Debug`; of an address only the server is
//! shown. No redirect is followed. Every answer is bounded in size and time, and so is every retry.

mod address;
mod http;
mod lines;
mod notification;
mod prometheus;
mod secret;
mod signature;
mod webhook;

pub use address::Address;
pub use lines::{Form, Lines};
pub use notification::{Done, Notification};
pub use prometheus::{
    Credentials, Mapping, Prometheus, PrometheusError, PrometheusSource, Sample, Series, summaries,
};
pub use secret::Secret;
pub use signature::{Received, TOLERANCE, Unverified, verify};
pub use webhook::{Delivered, Patience, Undelivered, Webhook};
