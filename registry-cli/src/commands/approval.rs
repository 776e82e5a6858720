//! Why this exists: the commands of those who decide on promotions.

use clap::Args;
use registry_core::{ModelName, RegistryExt as _, Stage, Text, Version};

use crate::cli::Writing;
use crate::commands::stage::tell_promotion;
use crate::commands::{Session, tell};
use crate::failure::Failure;

/// Which promotion is meant.
#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    /// The stage it would enter, if more than one promotion of the version waits
    #[arg(long, value_name = "STAGE")]
    to: Option<Stage>,
}

/// `registry approve fraud-detection v3.1.0 --comment "tested in staging"`
#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    waiting: Waiting,
    /// A remark, kept with the approval
    #[arg(long, value_name = "TEXT")]
    comment: Option<Text>,
    /// What the approval means, for example `validation`
    #[arg(long, value_name = "TEXT")]
    meaning: Option<Text>,
    #[command(flatten)]
    writing: Writing,
}

impl Approve {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let Waiting { model, version, to } = self.waiting;
        let promotion = registry.approve(&by, &model, &version, to, self.meaning, self.comment).await?;
        tell_promotion(session, registry.as_ref(), &model, &version, &promotion).await
    }
}

/// `registry reject fraud-detection v3.1.0 --comment "recall is too low"`
#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    waiting: Waiting,
    /// A remark, kept with the objection
    #[arg(long, value_name = "TEXT")]
    comment: Option<Text>,
    #[command(flatten)]
    writing: Writing,
}

impl Reject {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let Waiting { model, version, to } = self.waiting;
        let receipt = registry.reject(&by, &model, &version, to, self.comment).await?;
        tell(session, registry.as_ref(), Some(&model), &receipt).await
    }
}

/// `registry withdraw fraud-detection v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    writing: Writing,
}

impl Withdraw {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let Waiting { model, version, to } = self.waiting;
        let receipt = registry.withdraw(&by, &model, &version, to).await?;
        tell(session, registry.as_ref(), Some(&model), &receipt).await
    }
}
