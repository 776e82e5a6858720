//! Why this exists: "is the new one better?", asked of what is on record.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use registry_core::compare::{CompareOptions, Scores, VersionComparison};
use registry_core::{Direction, Invalid, Key, ModelName, Registry, RegistryExt as _, Selector};

use crate::commands::Session;
use crate::failure::{Failure, Kind};
use crate::input::percent;
use crate::place::Purpose;

/// `registry compare fraud-detection v3.0.0 v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The model
    model: ModelName,
    /// The version to compare with, and those that are compared with it. One alone is compared with that in
    /// production; if it is that one, latest is compared with it. Default: production and latest
    #[arg(value_name = "SELECTOR")]
    versions: Vec<Selector>,
    /// The model of the versions that are compared, if it is another one
    #[arg(long, value_name = "MODEL")]
    with: Option<ModelName>,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Which way is better for a metric whose name does not tell, for example temperature=lower
    #[arg(long, value_name = "METRIC=higher|lower", value_parser = direction)]
    direction: Vec<(Key, Direction)>,
    /// How likely a difference may be by chance for it to be believed
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = share)]
    significance: f64,
    /// How much a number may change without being called better or worse, for example 1%
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent)]
    tolerance: f64,
    /// What each example got, one number a line and the same examples in the same order, with the old and the new
    /// version. For two versions only
    #[arg(long, value_name = "METRIC=OLD,NEW", value_parser = scores)]
    scores: Vec<(Key, PathBuf, PathBuf)>,
}

/// How a comparison is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For a pull request
    Markdown,
    /// A page that needs nothing but itself
    Html,
    /// For programs, as with --json
    Json,
}

fn direction(text: &str) -> Result<(Key, Direction), Invalid> {
    let wrong = || Invalid::new("direction", text, "expected `METRIC=higher` or `METRIC=lower`");
    let (name, way) = text.rsplit_once('=').ok_or_else(wrong)?;
    Ok((name.parse()?, crate::input::direction(way).map_err(|_| wrong())?))
}

fn share(text: &str) -> Result<f64, Invalid> {
    let is_share = |share: &f64| 0.0 < *share && *share < 1.0;
    let wrong = || Invalid::new("significance", text, "expected a number between 0 and 1, such as 0.05");
    text.parse().ok().filter(is_share).ok_or_else(wrong)
}

fn scores(text: &str) -> Result<(Key, PathBuf, PathBuf), Invalid> {
    let wrong = || Invalid::new("scores", text, "expected `METRIC=OLD,NEW`, with the paths of two files");
    let (name, files) = text.split_once('=').ok_or_else(wrong)?;
    let (old, new) = files.split_once(',').ok_or_else(wrong)?;
    if old.is_empty() || new.is_empty() {
        return Err(wrong());
    }
    Ok((name.parse()?, old.into(), new.into()))
}

/// One number a line; empty lines are passed over.
fn numbers(path: &PathBuf) -> Result<Vec<f64>, Failure> {
    let shown = path.display();
    let invalid = |problem: String| Invalid::new("scores", &shown, problem);
    let text = std::fs::read_to_string(path).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let number = |(index, line): (usize, &str)| {
        let number = line.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| invalid(format!("line {} is not a number", index + 1)).into())
    };
    lines.map(number).collect()
}

impl Compare {
    fn options(&self) -> Result<CompareOptions, Failure> {
        let mut options = CompareOptions {
            significance: self.significance,
            tolerance: self.tolerance,
            directions: self.direction.iter().cloned().collect(),
            ..CompareOptions::default()
        };
        for (name, old, new) in &self.scores {
            let scores = Scores { old: numbers(old)?, new: numbers(new)? };
            if scores.old.len() != scores.new.len() {
                let problem = format!(
                    "one file has {} examples and the other {}; they must be the same examples",
                    scores.old.len(),
                    scores.new.len()
                );
                return Err(Invalid::new("scores", name, problem).into());
            }
            options.scores.insert(name.clone(), scores);
        }
        Ok(options)
    }

    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if !self.scores.is_empty() && 2 < self.versions.len() {
            let problem = "are of two versions; compare two";
            return Err(Invalid::new("scores", self.versions.len(), problem).into());
        }
        let options = self.options()?;
        let registry = session.open(Purpose::Read).await?;
        let comparisons = self.compare(registry.as_ref(), &options).await?;
        if session.out.json || self.format == Format::Json {
            return match &comparisons[..] {
                [one] => session.out.document(one),
                several => session.out.document(&several),
            };
        }
        for (number, comparison) in comparisons.iter().enumerate() {
            if 0 < number {
                session.out.line("")?;
            }
            let text = match self.format {
                Format::Markdown => comparison.to_markdown(),
                Format::Html => comparison.to_html(),
                _ => comparison.to_text(),
            };
            session.out.line(text.trim_end())?;
        }
        Ok(())
    }

    /// What is compared with production: this, or latest if this is what is in production.
    async fn another_than_production(
        &self,
        registry: &dyn Registry,
        new: &Selector,
    ) -> Result<Selector, Failure> {
        let production = registry.get(&self.model, &Selector::PRODUCTION).await?.version.clone();
        for selector in [new, &Selector::LATEST] {
            if registry.get(&self.model, selector).await?.version != production {
                return Ok(selector.clone());
            }
        }
        let message = format!(
            "{production} is in production and the latest version, so there is nothing to compare it with; \
             name two versions"
        );
        Err(Failure::new(Kind::Invalid, message))
    }

    async fn compare(
        &self,
        registry: &dyn Registry,
        options: &CompareOptions,
    ) -> Result<Vec<VersionComparison>, Failure> {
        let (old, news) = match &self.versions[..] {
            [] => (Selector::PRODUCTION, vec![Selector::LATEST]),
            [new] => (Selector::PRODUCTION, vec![new.clone()]),
            [old, news @ ..] => (old.clone(), news.to_vec()),
        };
        let model = self.with.as_ref().unwrap_or(&self.model);
        let news = match &news[..] {
            [new] if self.versions.len() < 2 && *model == self.model => {
                vec![self.another_than_production(registry, new).await?]
            }
            _ => news,
        };
        let mut comparisons = Vec::new();
        for new in &news {
            comparisons.push(registry.compare((&self.model, &old), (model, new), options).await?);
        }
        Ok(comparisons)
    }
}
