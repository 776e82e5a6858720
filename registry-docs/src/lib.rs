//! Living documents of a model registry.
//!
//! Why this exists: people ask which model is in production, since when, on what evidence, and how to go back, and they
//! look for it in a wiki or beside the code. A page that is written by hand is right on the day it is written. The pages
//! here are a function of the record: the same record gives the same bytes, no clock is read, and whoever generates them
//! again after a change gets what is true now. What people write around the generated parts is theirs, and is kept byte
//! for byte: see [`Document`].
//!
//! It is a crate of its own, and not a part of the core, since a service that serves models needs no Markdown, YAML or
//! files. It asks the registry only what anybody may ask.
//!
//! ```text
//! index.md                        all models
//! pages/<name>.md                 a page a model
//! cards/<name>-v3.1.0.md          a model card a version, if asked for
//! models/<name>-v3.1.0/…          what was registered, as files, if asked for
//! registry/model_catalog.yaml     … and what is there, where it comes from, and what was deployed when
//! registry/lineage_graph.json
//! registry/deployment_history.md
//! ```
//!
//! [`read`] asks a registry for what it knows, [`outputs`] makes the documents of it and does no I/O, and [`write()`] brings
//! a folder up to date, or only says what is not.
//!
//! ```
//! use registry_core::{By, Content, Registration, RegistryExt as _, Version};
//! use registry_docs::{Mode, Options, outputs, read, write};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = registry_core::in_memory();
//! let ana = By::new("ana".parse()?);
//! let registration = Registration::new(Version::new(1, 0, 0), Content::default());
//! registry.register(&ana, &"fraud-detection".parse()?, registration, &[]).await?;
//!
//! let records = read(&registry, None).await?;
//! let outputs = outputs(&records, &Options::default())?;
//! let folder = tempfile::tempdir()?;
//! let report = write(&registry, &outputs, folder.path(), Mode::Write).await?;
//! assert_eq!(report.changed().count(), 2);
//! let again = write(&registry, &outputs, folder.path(), Mode::Write).await?;
//! assert_eq!(again.changed().count(), 0);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(run())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Architecture Invariants:** nothing from outside stands in a document unescaped. Nothing is written outside of the
//! folder, whatever the names. No document depends on the time at which it is made.

mod card;
mod document;
mod error;
mod index;
mod output;
mod page;
mod place;
mod record;
mod tree;
mod words;
mod write;

pub use document::{BrokenFence, Document, FenceProblem, Mark, Merged};
pub use error::Error;
pub use output::{Choice, Options, Output, OutputContent, outputs};
pub use record::{ModelRecord, Move, read};
pub use write::{Change, FileReport, Mode, Report, write};
