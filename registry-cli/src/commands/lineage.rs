//! Why this exists: "what was this made of?" and "what depends on that?", asked of what is on record.

use clap::{Args, ValueEnum};
use registry_core::lineage::{Graph, Node, NodeKind, NodeName};
use registry_core::{Invalid, ModelName, ModelVersion, Registry, RegistryExt as _, Selector, Timestamp};
use serde::Serialize;

use crate::commands::Session;
use crate::commands::annotate::end_of_day;
use crate::failure::Failure;
use crate::output::harmless;
use crate::place::Purpose;

/// `registry lineage fraud-detection v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Lineage {
    /// The model
    #[arg(required_unless_present = "all")]
    model: Option<ModelName>,
    /// Which version: v3.1.0, ^3.1, a stage, an alias, latest, newest, previous or
    /// production@2024-01-15
    #[arg(default_value = "production")]
    selector: Selector,
    /// As it was at the end of this day, or at this instant
    #[arg(long, value_name = "DATE", value_parser = end_of_day)]
    as_of: Option<Timestamp>,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Only list what of this kind the version goes back to: data, experiment, feature-set, model, …
    #[arg(long, value_name = "KIND", conflicts_with_all = ["common", "path", "format"])]
    only: Option<NodeKind>,
    /// List what the version and this one both go back to, the nearest first
    #[arg(long, value_name = "MODEL@VERSION", conflicts_with_all = ["path", "format"])]
    common: Option<ModelVersion>,
    /// Show how the version came of this, or this of the version: data:v2024-01, model:base@v1.0.0, …
    #[arg(long, value_name = "THING", conflicts_with = "format")]
    path: Option<NodeName>,
    /// The lineage of everything in the registry, as a picture or as JSON
    #[arg(long, conflicts_with_all = ["model", "only", "common", "path"])]
    all: bool,
    /// The name of this registry among others, for OpenLineage
    #[arg(long, value_name = "NAME", default_value = "model-registry")]
    namespace: String,
}

/// How a lineage is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A tree, for a terminal
    Text,
    /// For Graphviz
    Dot,
    /// For wikis that draw Mermaid
    Mermaid,
    /// Run events for whoever collects OpenLineage, one a line
    Openlineage,
    /// For programs, as with --json
    Json,
}

impl Lineage {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let Some(model) = &self.model else { return self.everything(session, registry.as_ref()).await };
        let mut lineage = registry.lineage(model, &self.selector, self.as_of).await?;
        let of = NodeName::from(&lineage.of);
        if let Some(kind) = self.only {
            let sources: Vec<&Node> = lineage.sources(kind).collect();
            return things(session, &sources, || format!("{of} goes back to nothing of the kind `{kind}`"));
        }
        if let Some(other) = &self.common {
            let selector = Selector::Version(other.version.clone());
            lineage.join(&registry.lineage(&other.model, &selector, self.as_of).await?);
            let common = lineage.graph.common_ancestors(&of, &NodeName::from(other));
            return things(session, &common, || format!("{of} and {other} have nothing in common"));
        }
        if let Some(thing) = &self.path {
            let graph = &lineage.graph;
            let path = graph.path(thing, &of).or_else(|| graph.path(&of, thing)).unwrap_or_default();
            if session.out.json || path.is_empty() {
                return things(session, &path, || format!("no way leads from {thing} to {of}, or back"));
            }
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            return session.out.line(harmless(&path.join(" -> ")));
        }
        match self.format {
            Format::Text if !session.out.json => session.out.line(harmless(lineage.to_text().trim_end())),
            Format::Openlineage => {
                for event in lineage.to_openlineage(&self.namespace) {
                    session.out.json_line(&event)?;
                }
                Ok(())
            }
            Format::Text | Format::Json => session.out.document(&lineage),
            Format::Dot | Format::Mermaid => picture(session, self.format, &lineage.graph),
        }
    }

    async fn everything(&self, session: &mut Session, registry: &dyn Registry) -> Result<(), Failure> {
        let format = if session.out.json { Format::Json } else { self.format };
        if matches!(format, Format::Text | Format::Openlineage) {
            let problem = "everything is too much for it; choose `dot`, `mermaid` or `json`";
            let name = format.to_possible_value().map(|value| value.get_name().to_owned());
            return Err(Invalid::new("format", name.unwrap_or_default(), problem).into());
        }
        let graph = registry.lineage_of_all(self.as_of).await?;
        match format {
            Format::Json => session.out.document(&graph),
            format => picture(session, format, &graph),
        }
    }
}

fn picture(session: &mut Session, format: Format, graph: &Graph) -> Result<(), Failure> {
    let text = if format == Format::Dot { graph.to_dot() } else { graph.to_mermaid() };
    session.out.line(harmless(text.trim_end()))
}

/// Things one a line, or that there are none.
fn things(session: &mut Session, things: &[&Node], if_none: impl FnOnce() -> String) -> Result<(), Failure> {
    if session.out.json {
        #[derive(Serialize)]
        struct Things<'a> {
            things: &'a [&'a Node],
        }
        return session.out.document(&Things { things });
    }
    if things.is_empty() {
        return session.out.line(harmless(&if_none()));
    }
    for thing in things {
        session.out.line(harmless(&thing.to_string()))?;
    }
    Ok(())
}

/// `registry impact feature:merchant_risk_score`
#[derive(Debug, Args)]
pub(crate) struct Impact {
    /// What would change: feature:amount, feature-set:card, feature-set:card:7, data:v2024-01,
    /// feature-engineering:v1, code:train.py, experiment:exp-003 or model:base@v1.0.0
    thing: NodeName,
    /// As it was at the end of this day, or at this instant
    #[arg(long, value_name = "DATE", value_parser = end_of_day)]
    as_of: Option<Timestamp>,
}

impl Impact {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let impact = registry.impact(&self.thing, self.as_of).await?;
        if session.out.json {
            return session.out.document(&impact);
        }
        session.out.line(harmless(impact.to_text().trim_end()))
    }
}
