//! Why this exists: versions of all models, found by what they are. The filter is one text, read by the core,
//! so that it says here what it says in a program.

use clap::Args;
use registry_core::{Cursor, Invalid, Order, Query, RegistryExt as _};
use serde::Serialize;

use crate::commands::Session;
use crate::commands::list::note;
use crate::failure::Failure;
use crate::place::Purpose;
use crate::table::Table;
use crate::view::{VersionRow, VersionView};
use crate::words;

/// `registry search "stage = staging and metric.accuracy >= 0.9 order by created desc"`
#[derive(Debug, Args)]
#[command(after_help = FIELDS)]
pub(crate) struct Search {
    /// Which versions, in quotes for the shell; `order by …` may follow. Default: all
    filter: Option<Query>,
    /// In which order, such as "metric.accuracy desc, created". Default: by model and version
    #[arg(long, value_name = "FIELDS")]
    order_by: Option<Order>,
    /// Deleted versions too. They are looked at as well if the filter says `deleted`
    #[arg(long)]
    deleted: bool,
    /// The most versions to show
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Begin after a page: what it said at its end
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

const FIELDS: &str = "\
Fields: name, version, stage, owner, created, promoted, deprecated, quarantined, deleted, tag.KEY,
metric.KEY, param.KEY, feature, feature_set, data, experiment, digest, parent, algorithm,
framework, alias, text
Comparisons: = != < <= > >=, [not] in (…), [not] like 'part%'; a field alone: it is there, or so
Joints: and, or, not, parentheses

For example: tag.fraud and metric.auc >= 0.9 and not deprecated order by metric.auc desc";

/// The answer to `search`.
#[derive(Debug, Serialize)]
struct Matches<'a> {
    matches: Vec<VersionView<'a>>,
    /// Give it as `--after` to go on; null if this was all.
    next: Option<String>,
}

impl Search {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut query = self.filter.unwrap_or_default();
        if let Some(order) = self.order_by {
            if query.order != Order::default() {
                let problem = "the filter ends in an order of its own; give one of the two";
                return Err(Invalid::new("order", order, problem).into());
            }
            query.order = order;
        }
        query.after = self.after;
        query.limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        query.with_deleted = self.deleted;
        let registry = session.open(Purpose::Read).await?;
        let page = registry.search(&query).await?;
        let next = page.next.as_ref().map(ToString::to_string);
        if session.out.json {
            let matches =
                page.matches.iter().map(|found| VersionView::new(&found.model, &found.version)).collect();
            return session.out.document(&Matches { matches, next });
        }
        if page.matches.is_empty() {
            return session.out.line("nothing matches");
        }
        let mut table =
            Table::new(["MODEL", "VERSION", "STAGE", "REGISTERED", "OWNER", "METRICS", "TAGS", "NOTE"]);
        for found in &page.matches {
            let content = &found.version.content;
            let metrics = content.metrics.iter().take(4);
            let metrics = metrics.map(|(name, metric)| format!("{name} {}", words::number(metric.value)));
            let row = VersionRow::new(&found.version);
            table.row([
                found.model.to_string(),
                found.version.version.to_string(),
                found.version.stage.to_string(),
                words::time(found.version.registered.at),
                content.metadata.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
                metrics.collect::<Vec<_>>().join(", "),
                words::tags(&content.tags),
                note(&row),
            ]);
        }
        session.out.line(table.render(session.out.paint(), ""))?;
        match next {
            Some(next) => session.out.line(format!("more with: --after {next}")),
            None => Ok(()),
        }
    }
}
