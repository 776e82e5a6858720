//! Why this exists: the commands that say something about a version or a model without moving it.

use std::path::PathBuf;

use clap::Args;
use registry_core::{
    AliasName, Amendment, Invalid, Key, ModelName, RegistryExt as _, Tags, Text, Timestamp, Version,
};

use crate::card::{self, Statements};
use crate::cli::Writing;
use crate::commands::{Session, tell};
use crate::failure::{Failure, Kind};
use crate::input::{TagArg, tags};
use crate::place::Purpose;
use crate::words;

/// A day as it is typed: a date, whose end is meant, or an instant.
pub(crate) fn end_of_day(text: &str) -> Result<Timestamp, Invalid> {
    Timestamp::parse_or_end_of_day(text)
}

/// `registry deprecate fraud-detection v2.5.0 --superseded-by v3.0.0 --end-of-life 2026-12-31`
#[derive(Debug, Args)]
pub(crate) struct Deprecate {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    /// What to use instead
    #[arg(long, value_name = "VERSION")]
    superseded_by: Option<Version>,
    /// The last day on which it may be promoted
    #[arg(long, value_name = "DATE", value_parser = end_of_day)]
    end_of_life: Option<Timestamp>,
    /// Say that it may be used again
    #[arg(long, conflicts_with_all = ["superseded_by", "end_of_life"])]
    lift: bool,
    #[command(flatten)]
    writing: Writing,
}

impl Deprecate {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let (model, version) = (&self.model, &self.version);
        let receipt = if self.lift {
            registry.lift_deprecation(&by, model, version).await?
        } else {
            registry.deprecate(&by, model, version, self.superseded_by.as_ref(), self.end_of_life).await?
        };
        tell(session, registry.as_ref(), Some(model), &receipt).await
    }
}

/// `registry delete fraud-detection v2.5.0`
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    #[command(flatten)]
    writing: Writing,
}

impl Delete {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.delete(&by, &self.model, &self.version).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}

/// `registry undelete fraud-detection v2.5.0`
#[derive(Debug, Args)]
pub(crate) struct Undelete {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    #[command(flatten)]
    writing: Writing,
}

impl Undelete {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.undelete(&by, &self.model, &self.version).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}

/// `registry tag fraud-detection --version v3.1.0 reviewed team=risk --remove draft`; without tags it
/// shows them
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The model
    model: ModelName,
    /// Tags to set: a label, or KEY=VALUE
    #[arg(value_name = "TAG")]
    set: Vec<TagArg>,
    /// A tag to remove
    #[arg(long, value_name = "KEY")]
    remove: Vec<Key>,
    /// The version that is meant. Default: the model as a whole
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    #[command(flatten)]
    writing: Writing,
}

impl Tag {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.set.is_empty() && self.remove.is_empty() {
            return self.show(session).await;
        }
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let (set, version) = (tags(&self.set), self.version.as_ref());
        let receipt = registry.change_tags(&by, &self.model, version, set, self.remove).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }

    async fn show(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let (of, found): (String, Tags) = match self.version {
            None => (self.model.to_string(), registry.model(&self.model).await?.tags.clone()),
            Some(version) => {
                let of = format!("{} {version}", self.model);
                (of, registry.get(&self.model, &version.into()).await?.content.tags.clone())
            }
        };
        if session.out.json {
            return session.out.document(&found);
        }
        if found.is_empty() {
            return session.out.line(format!("{of} has no tags"));
        }
        for (key, value) in found {
            session.out.line(words::tags(&Tags::from([(key, value)])))?;
        }
        Ok(())
    }
}

/// `registry alias fraud-detection champion v3.1.0`; without an alias it shows them
#[derive(Debug, Args)]
pub(crate) struct Alias {
    /// The model
    model: ModelName,
    /// The alias
    #[arg(requires = "target")]
    alias: Option<AliasName>,
    /// The version it shall point to
    #[arg(group = "target")]
    version: Option<Version>,
    /// Remove the alias
    #[arg(long, group = "target", requires = "alias")]
    remove: bool,
    #[command(flatten)]
    writing: Writing,
}

impl Alias {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Some(alias) = &self.alias else { return self.show(session).await };
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = match &self.version {
            Some(version) => registry.set_alias(&by, &self.model, alias, version).await?,
            None => registry.remove_alias(&by, &self.model, alias).await?,
        };
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }

    async fn show(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let state = registry.model(&self.model).await?;
        if session.out.json {
            return session.out.document(&state.aliases);
        }
        if state.aliases.is_empty() {
            return session.out.line(format!("{} has no aliases", self.model));
        }
        for (alias, version) in &state.aliases {
            session.out.line(format!("{alias} → {version}"))?;
        }
        Ok(())
    }
}

/// `registry describe fraud-detection "Finds fraudulent card payments"`
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The model
    model: ModelName,
    /// The new description
    #[arg(required_unless_present = "remove")]
    text: Option<Text>,
    /// Remove the description
    #[arg(long, conflicts_with = "text")]
    remove: bool,
    /// The version that is meant. Default: the model as a whole
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    #[command(flatten)]
    writing: Writing,
}

impl Describe {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.describe(&by, &self.model, self.version.as_ref(), self.text).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}

/// `registry amend fraud-detection v3.1.0 --metric accuracy=0.88`
#[derive(Debug, Args)]
pub(crate) struct Amend {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    /// A card whose metadata, metrics, deployment figures and links are taken
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    #[command(flatten)]
    statements: Statements,
    #[command(flatten)]
    writing: Writing,
}

impl Amend {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let mut card = match &self.card {
            Some(path) => card::read(path, &self.model)?,
            None => card::Card::default(),
        };
        let content = &card.content;
        for (key, is_there) in [
            ("signature", content.signature.is_some()),
            ("features", content.features.is_some()),
            ("requirements", !content.environment.is_empty()),
            ("tags", !content.tags.is_empty()),
            ("description", content.description.is_some()),
        ] {
            if is_there {
                let problem = "cannot be amended: signature, features and environment make the version, so \
                               register a new one; tags and descriptions have commands of their own";
                return Err(Invalid::new("card key", key, problem).into());
            }
        }
        self.statements.lay_over(&mut card.content, &self.model)?;
        let registry_core::Content { metadata, metrics, deployment, links, .. } = card.content;
        let amendment = Amendment { metadata, metrics, deployment, links };
        if amendment == Amendment::default() {
            let message = "nothing to add or correct is given; say it with --card, --metric or another option of \
                           `registry amend --help`";
            return Err(Failure::new(Kind::Invalid, message));
        }
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.amend(&by, &self.model, &self.version, amendment).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}
