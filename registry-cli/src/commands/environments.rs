//! Why this exists: the command that takes a version from one registry to another. It is the only one that opens two.

use clap::Args;
use registry_core::event::Origin;
use registry_core::{
    Digest, EnvironmentName, Location, ModelName, Outcome, PromoteToOptions, RegistryExt as _, Revision,
    Stage, Text, Version,
};
use serde::Serialize;

use crate::cli::Writing;
use crate::commands::{Session, tell_people, tell_program, warn};
use crate::failure::{Failure, Kind};
use crate::place::{self, Purpose};
use crate::words;

/// `registry promote-to fraud-detection v3.1.0 --to s3://models/staging`
#[derive(Debug, Args)]
pub(crate) struct PromoteTo {
    /// The model
    model: ModelName,
    /// The version
    version: Version,
    /// Where the other registry is: a folder or a URL
    #[arg(long, value_name = "URL")]
    to: String,
    /// What the registry that the version comes from is called in the record. Default: the last part of
    /// where it is
    #[arg(long, value_name = "NAME")]
    name_here: Option<EnvironmentName>,
    /// What the other registry is called in the record. Default: the last part of where it is
    #[arg(long, value_name = "NAME")]
    name_there: Option<EnvironmentName>,
    /// The stage it starts in there
    #[arg(long, value_name = "STAGE", default_value = "development")]
    stage: Stage,
    /// Why a smaller number than the rules there demand is right all the same
    #[arg(long, value_name = "TEXT")]
    allow_smaller: Option<Text>,
    #[command(flatten)]
    writing: Writing,
}

/// What `promote-to` adds to its answer, which is about the other registry.
#[derive(Debug, Serialize)]
struct ArrivalMore<'a> {
    version: &'a Version,
    digest: Digest,
    /// Whether it was there before, with the same content.
    existed: bool,
    /// Parts in which the two registries differ, and which were not changed.
    not_applied: &'a [&'static str],
    /// The registries that it came through, the last one first.
    origins: &'a [Origin],
    bytes_sent: u64,
    /// The revision at which the registry that it comes from noted where it went; null if there was nothing
    /// to note.
    noted: Option<Revision>,
}

impl PromoteTo {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        if place::is_same(session.place(), &self.to) {
            let message = "--to is the registry that the version comes from; give another one";
            return Err(Failure::new(Kind::Invalid, message));
        }
        let here = named(self.name_here, session.place(), "--name-here")?;
        let there = named(self.name_there, Some(&self.to), "--name-there")?;
        if here == there {
            let message = format!(
                "both registries would be called `{here}` in the record; call one of them otherwise, with \
                 --name-here or --name-there"
            );
            return Err(Failure::new(Kind::Invalid, message));
        }
        let options = PromoteToOptions {
            stage: self.stage,
            allow_smaller: self.allow_smaller,
            ..PromoteToOptions::new(here.clone(), there.clone())
        };
        let (model, version) = (&self.model, &self.version);
        let source = session.open_to_change(by.dry_run).await?;
        // What would be refused makes no registry.
        let rehearsed = place::open_to_rehearse(Some(&self.to)).await?;
        let mut arrival =
            source.promote_to(&by.rehearsing(), model, version, rehearsed.as_ref(), &options).await?;
        let mut target = rehearsed;
        if !by.dry_run {
            target = place::open(Some(&self.to), Purpose::Begin).await?;
            arrival = source.promote_to(&by, model, version, target.as_ref(), &options).await?;
        }
        let done = &arrival.registered;
        let noted = arrival.noted.as_ref().and_then(|receipt| receipt.commit()).map(|commit| commit.revision);
        if session.out.json {
            let more = ArrivalMore {
                version: &done.version.version,
                digest: done.version.digest,
                existed: done.existed,
                not_applied: &done.not_applied,
                origins: &done.version.origins,
                bytes_sent: arrival.bytes_sent,
                noted,
            };
            return tell_program(session, model, &done.receipt, more);
        }
        let version = &done.version.version;
        if let Outcome::Unchanged = done.receipt.outcome {
            let name = session.out.paint().bold(model.as_str());
            session.out.line(format!("{name}: {version} is in {there} already, with the same content"))?;
        } else {
            tell_people(session, target.as_ref(), Some(model), &done.receipt).await?;
            let sent = match by.dry_run {
                true => String::new(),
                false => format!(", {} sent", words::bytes(arrival.bytes_sent)),
            };
            session.out.line(session.out.paint().dim(&format!("  {}{sent}", done.version.digest)))?;
        }
        match noted {
            Some(revision) => session.out.line(format!("  noted in {here}, revision {revision}"))?,
            None if done.existed && arrival.noted.is_none() => {
                warn(&format!("{version} in {there} does not come from {here}; nothing was copied"));
            }
            None => {}
        }
        if !done.not_applied.is_empty() {
            let parts = done.not_applied.join(", ");
            warn(&format!("{version} in {there} differs in {parts}, which was not changed"));
        }
        Ok(())
    }
}

/// The name given, else the last part of where a registry is.
fn named(
    given: Option<EnvironmentName>,
    place: Option<&str>,
    flag: &'static str,
) -> Result<EnvironmentName, Failure> {
    let last = || {
        let place = place?;
        let path = Location::parse(place).map_or_else(|| place.to_owned(), |location| location.rest);
        path.trim_end_matches('/').rsplit(['/', '\\']).next()?.parse().ok()
    };
    given.or_else(last).ok_or_else(|| {
        // Where a registry is may hold secrets, so it is not repeated.
        Failure::new(Kind::Invalid, format!("no name can be taken from where the registry is; give {flag}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_called_by_the_last_part_of_where_it_is() {
        let name = |place: &str| named(None, Some(place), "--name-there").ok().map(|name| name.to_string());
        assert_eq!(name("/srv/models/staging").as_deref(), Some("staging"));
        assert_eq!(name("s3://models/prod/?region=eu").as_deref(), Some("prod"));
        assert_eq!(name("sqlite:dev").as_deref(), Some("dev"));
        assert_eq!(name("mlflow+http://me:secret@host:5000"), None);
        assert_eq!(name(""), None);
        assert!(named(None, None, "--name-here").is_err());
        let given: EnvironmentName = "live".parse().unwrap();
        assert_eq!(named(Some(given.clone()), Some("/srv/x"), "--name-there").ok(), Some(given));
    }
}
