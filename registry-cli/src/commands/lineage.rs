//! Why this exists: "what was this made of?", asked of what is on record.

use clap::Args;
use registry_core::{ModelName, RegistryExt as _, Selector};

use crate::commands::Session;
use crate::failure::Failure;
use crate::place::Purpose;

/// `registry lineage fraud-detection v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Lineage {
    /// The model
    model: ModelName,
    /// Which version: v3.1.0, ^3.1, a stage, an alias, latest, newest, previous or
    /// production@2024-01-15
    #[arg(default_value = "production")]
    selector: Selector,
}

impl Lineage {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let lineage = registry.lineage(&self.model, &self.selector).await?;
        if session.out.json {
            return session.out.document(&lineage);
        }
        session.out.line(lineage.to_text().trim_end())
    }
}
