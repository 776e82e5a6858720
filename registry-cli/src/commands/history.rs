//! Why this exists: what happened to a model, and what happens to it now: the log as people and programs
//! read it, one line an event or one line a commit.

use std::time::Duration;

use clap::Args;
use registry_core::{ModelName, Recorded, Registry, RegistryExt as _, Revision};

use crate::card::units;
use crate::commands::{Session, drift, requests_of};
use crate::failure::Failure;
use crate::output::one_line;
use crate::place::Purpose;
use crate::view::CommitView;
use crate::words;

/// How many commits are read at once.
const PAGE: usize = 256;

/// `registry history fraud-detection --from 10 --limit 20`
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The model
    model: ModelName,
    /// The first revision to show
    #[arg(long, value_name = "REVISION", default_value = "1")]
    from: Revision,
    /// The most commits to show. Default: all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl History {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let mut next = self.from;
        let mut left = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        while left != 0 {
            let wanted = left.min(PAGE);
            let page = registry.log(&self.model, next, wanted).await?;
            if page.is_empty()
                && next == self.from
                && registry.log(&self.model, Revision::FIRST, 1).await?.is_empty()
            {
                // There may be others who know it.
                registry.model(&self.model).await?;
            }
            for recorded in &page {
                show(session, registry.as_ref(), &self.model, recorded).await?;
                next = recorded.commit.revision.next();
            }
            left = left.saturating_sub(page.len());
            if page.len() < wanted {
                break;
            }
        }
        match registry.drift(&self.model).await? {
            Some(drift) if !session.out.json && left != 0 && !drift.changes().is_empty() => {
                drift::show(session, &self.model, Some(&drift))
            }
            _ => Ok(()),
        }
    }
}

async fn show(
    session: &mut Session,
    registry: &dyn Registry,
    model: &ModelName,
    recorded: &Recorded,
) -> Result<(), Failure> {
    if session.out.json {
        return session.out.json_line(&CommitView::new(model, recorded));
    }
    let commit = &recorded.commit;
    let paint = session.out.paint();
    let requests = requests_of(registry, model, &commit.events).await?;
    let mut reason = commit.reason.as_ref().map(|reason| one_line(reason.as_str()));
    for event in &commit.events {
        let revision = format!("{:>4}", commit.revision.get());
        let time = paint.dim(&words::time(commit.time));
        let mut line = format!("{revision}  {time}  {}  {}", commit.actor, words::sentence(event, &requests));
        if let Some(reason) = reason.take() {
            line.push_str(&paint.dim(&format!(" — {reason}")));
        }
        session.out.line(line)?;
    }
    Ok(())
}

/// `registry watch fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The model
    model: ModelName,
    /// The first revision to show. Default: what comes from now on
    #[arg(long, value_name = "REVISION")]
    from: Option<Revision>,
    /// How often to look, for example 200ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    every: Duration,
    /// End after so many commits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub(super) fn interval(text: &str) -> Result<Duration, registry_core::Invalid> {
    let milliseconds = units::milliseconds(text)?;
    let interval = Duration::try_from_secs_f64(milliseconds / 1_000.0).unwrap_or(Duration::MAX);
    if !(Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(&interval) {
        return Err(registry_core::Invalid::new("interval", text, "must be from 10ms to 1h"));
    }
    Ok(interval)
}

impl Watch {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let state = registry.model(&self.model).await?;
        let from = self.from.unwrap_or_else(|| Revision::after(state.revision()));
        let mut watch = registry.watch(&self.model, from).every(self.every);
        let mut left = self.limit.unwrap_or(u64::MAX);
        while left != 0 {
            let recorded = watch.next().await?;
            show(session, registry.as_ref(), &self.model, &recorded).await?;
            session.out.flush()?;
            left = left.saturating_sub(1);
        }
        Ok(())
    }
}
