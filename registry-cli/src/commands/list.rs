//! Why this exists: the commands that look: all models, or one model or version.

use clap::Args;
use registry_core::{
    Bump, Error, Found, ModelName, ModelState, Need, Registry as _, RegistryExt as _, Selector, Stage,
    Timestamp,
};

use crate::commands::stage::{request_lines, safety_line};
use crate::commands::trial::trial_lines;
use crate::commands::{Session, warn};
use crate::failure::Failure;
use crate::output::{Paint, one_line, quoted};
use crate::place::Purpose;
use crate::table::Table;
use crate::view::{ModelRow, ModelRows, ModelView, RequestView, StageCounts, VersionRow, VersionView};
use crate::words;

/// `registry list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The most models to show
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Begin after this model
    #[arg(long, value_name = "NAME")]
    after: Option<ModelName>,
}

impl List {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut names = registry.models(self.after.as_ref(), limit.saturating_add(1)).await?;
        let is_cut = limit < names.len();
        names.truncate(limit);
        let mut rows = ModelRows { models: Vec::new(), next: names.last().filter(|_| is_cut).cloned() };
        let mut damaged: Option<Error> = None;
        for name in &names {
            let state = match registry.state(&name.into(), &Need::Whole).await {
                Ok(state) => state,
                // One that cannot be read does not hide the others.
                Err(error @ (Error::CorruptLog(_) | Error::NewerFormat(_))) => {
                    if let Some(earlier) = damaged.replace(error) {
                        warn(&earlier.to_string());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // A name without a commit is a registration that broke off, or that is under way.
            if state.exists() {
                rows.models.push(ModelRow::new(name, &state));
            }
        }
        if session.out.json {
            session.out.document(&rows)?;
        } else if !rows.models.is_empty() {
            show_models(session, &rows)?;
        } else if damaged.is_none() {
            session.out.line("there are no models yet; `registry register` makes the first")?;
        }
        damaged.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn show_models(session: &mut Session, rows: &ModelRows) -> Result<(), Failure> {
    let mut table =
        Table::new(["MODEL", "PRODUCTION", "LATEST", "VERSIONS", "#AWAITING APPROVAL", "UPDATED"]);
    for row in &rows.models {
        let waiting = row.awaiting_approval;
        table.row([
            row.model.to_string(),
            row.production.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string),
            row.latest.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string),
            counts(&row.versions),
            if waiting == 0 { String::new() } else { waiting.to_string() },
            row.updated.map(words::time).unwrap_or_default(),
        ]);
    }
    session.out.line(table.render(session.out.paint(), ""))?;
    match &rows.next {
        Some(next) => session.out.line(format!("more with: registry list --after {}", quoted(next.as_str()))),
        None => Ok(()),
    }
}

/// `1 development, 2 archived`
fn counts(counts: &StageCounts) -> String {
    let parts = [
        (counts.development, "development"),
        (counts.staging, "staging"),
        (counts.production, "production"),
        (counts.archived, "archived"),
        (counts.deleted, "deleted"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count != 0);
    parts.map(|(count, stage)| format!("{count} {stage}")).collect::<Vec<_>>().join(", ")
}

/// `registry info fraud-detection`, `registry info fraud-detection v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// The model
    model: ModelName,
    /// A version of it: v3.1.0, ^3.1, a stage, an alias, latest, newest, previous or
    /// production@2024-01-15. Default: the model as a whole
    selector: Option<Selector>,
    /// List all versions, not only the highest ones
    #[arg(long, conflicts_with = "selector")]
    all: bool,
}

/// How many versions a model is shown with.
const VERSIONS_SHOWN: usize = 20;

impl Info {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let now = registry.clock().now();
        let state = registry.model(&self.model).await?;
        let Some(selector) = &self.selector else {
            let view = ModelView::new(&self.model, &state, now);
            return if session.out.json {
                session.out.document(&view)
            } else {
                show_model(session, &view, self.all)
            };
        };
        let found = registry.get(&self.model, selector).await?;
        if session.out.json {
            let requests = RequestView::all(&self.model, &state, now);
            let view = VersionView {
                aliases: aliases(&state, &found),
                requests: requests.into_iter().filter(|request| request.version == found.version).collect(),
                ..VersionView::found(&found)
            };
            return session.out.document(&view);
        }
        show_version(session, &found, &state, now)
    }
}

fn aliases(state: &ModelState, found: &Found) -> Vec<registry_core::AliasName> {
    let pointing = state.aliases.iter().filter(|(_, version)| **version == found.version);
    pointing.map(|(alias, _)| alias.clone()).collect()
}

/// Lines of a name and a text, the texts under each other.
struct Card {
    paint: Paint,
    lines: Vec<String>,
}

impl Card {
    fn new(paint: Paint) -> Self {
        Card { paint, lines: Vec::new() }
    }

    fn field(&mut self, name: &str, text: impl AsRef<str>) {
        if !text.as_ref().is_empty() {
            let name = self.paint.dim(&format!("{name:<13}"));
            self.lines.push(format!("  {name} {}", text.as_ref()));
        }
    }

    fn heading(&mut self, text: &str) {
        self.lines.push(String::new());
        self.lines.push(self.paint.bold(text));
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("  {}", text.as_ref()));
    }

    fn show(&self, session: &mut Session) -> Result<(), Failure> {
        session.out.line(self.lines.join("\n"))
    }
}

fn show_model(session: &mut Session, view: &ModelView, all: bool) -> Result<(), Failure> {
    let paint = session.out.paint();
    let row = &view.row;
    let mut card = Card::new(paint);
    card.lines.push(paint.bold(row.model.as_str()));
    card.field("about", view.description.as_ref().map(|text| one_line(text.as_str())).unwrap_or_default());
    match (&row.production, &view.production_since) {
        (Some(version), Some(since)) => {
            card.field(
                "production",
                format!("{}, since {}", paint.good(&version.to_string()), words::stamp(since)),
            );
        }
        _ => card.field("production", "nothing"),
    }
    card.field("staging", words::listed(&view.staging));
    card.field("latest", row.latest.as_ref().map(ToString::to_string).unwrap_or_default());
    let is_other = view.newest != row.latest;
    card.field(
        "newest",
        view.newest.as_ref().filter(|_| is_other).map(ToString::to_string).unwrap_or_default(),
    );
    let aliases = view.aliases.iter().map(|(alias, version)| format!("{alias} → {version}"));
    card.field("aliases", aliases.collect::<Vec<_>>().join(", "));
    card.field("tags", words::tags(&view.tags));
    card.field("created", view.created.as_ref().map(words::stamp).unwrap_or_default());
    card.field("updated", row.updated.map(words::time).unwrap_or_default());
    card.field("revision", row.revision.map(|revision| revision.to_string()).unwrap_or_default());
    for (stage, rule) in &view.policy.stages {
        card.field("rule", format!("{stage}: {}", words::stage_rule(rule)));
    }
    if let Some(table) = &view.policy.transitions {
        for moves in table.to_string().split("; ") {
            card.field("moves", moves);
        }
    }
    show_requests(&mut card, &view.requests, paint);
    if !view.trials.is_empty() {
        card.heading("Trials");
    }
    for line in view.trials.iter().flat_map(|trial| trial_lines(trial, paint)) {
        card.line(line);
    }
    card.heading(&format!("Versions: {}", counts(&row.versions)));
    let mut table = Table::new(["VERSION", "STAGE", "REGISTERED", "BY", "NOTE"]);
    let shown = if all { usize::MAX } else { VERSIONS_SHOWN };
    for version in view.all_versions.iter().take(shown) {
        table.row([
            version.version.to_string(),
            version.stage.to_string(),
            words::time(version.registered.at),
            version.registered.actor.to_string(),
            note(version),
        ]);
    }
    card.lines.push(table.render(paint, "  "));
    if let Some(rest @ 1..) = view.all_versions.len().checked_sub(shown) {
        card.line(paint.dim(&format!("and {rest} more; --all lists them")));
    }
    card.show(session)
}

pub(super) fn note(version: &VersionRow) -> String {
    let notes = [
        (version.is_deleted, "deleted"),
        (version.is_quarantined, "quarantined"),
        (version.is_deprecated, "deprecated"),
    ];
    notes.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect::<Vec<_>>().join(", ")
}

fn show_requests(card: &mut Card, requests: &[RequestView], paint: Paint) {
    if requests.is_empty() {
        return;
    }
    card.heading("Waiting for approval");
    for request in requests {
        card.line(format!("request {}, made {}", request.request, words::stamp(&request.requested)));
        for line in request_lines(request, paint) {
            card.line(format!("  {line}"));
        }
    }
}

fn show_version(
    session: &mut Session,
    found: &Found,
    state: &ModelState,
    now: Timestamp,
) -> Result<(), Failure> {
    let paint = session.out.paint();
    let content = &found.content;
    let metadata = &content.metadata;
    let text = |text: &Option<registry_core::Text>| {
        text.as_ref().map(|text| one_line(text.as_str())).unwrap_or_default()
    };
    for warning in found.warnings() {
        warn(&warning);
    }
    let mut card = Card::new(paint);
    card.lines.push(paint.bold(&format!("{} {}", found.model, found.version)));
    card.field("about", text(&content.description));
    card.field("stage", format!("{}, since {}", stage(found.stage, paint), words::stamp(&found.staged)));
    card.field("registered", words::stamp(&found.registered));
    if found.updated.revision != found.registered.revision {
        card.field("updated", words::stamp(&found.updated));
    }
    let aliases: Vec<String> = aliases(state, found).iter().map(ToString::to_string).collect();
    card.field("aliases", aliases.join(", "));
    card.field("tags", words::tags(&content.tags));
    card.field("digest", found.digest.to_string());
    let numbering = &found.numbering;
    if let Some(baseline) = &numbering.baseline {
        let required =
            numbering.required.map_or_else(|| "not known".to_owned(), |bump: Bump| bump.to_string());
        card.field("changes", format!("{required}, against {baseline}"));
    }
    if let Some(safety) = &found.rollback_safety {
        card.field("going back", safety_line(safety, paint));
    }
    for origin in found.origins.iter() {
        card.field("came from", words::origin(origin));
    }
    for copied in found.copies.values() {
        card.field("copied to", format!("{}, revision {} there", copied.to, copied.revision));
    }
    card.field("owner", metadata.owner.as_ref().map(ToString::to_string).unwrap_or_default());
    card.field("algorithm", text(&metadata.algorithm));
    card.field("framework", text(&metadata.framework));
    card.field("runtime", text(&metadata.runtime));
    card.field("trained", metadata.training_date.map(|date| date.to_string()).unwrap_or_default());
    card.field(
        "took",
        metadata.training_seconds.map(|seconds| format!("{} s", words::number(seconds))).unwrap_or_default(),
    );
    let data = [text(&metadata.training_data_version), text(&metadata.training_data_size)];
    card.field("data", data.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", "));
    card.field("features by", text(&metadata.feature_engineering_version));
    card.field("experiment", text(&metadata.experiment));
    card.field("increment", text(&metadata.increment));
    card.field("parent", metadata.parent_model.as_ref().map(ToString::to_string).unwrap_or_default());
    card.field("links", content.links.iter().map(words::link).collect::<Vec<_>>().join("; "));
    show_numbers(&mut card, content, paint);
    show_interface(&mut card, content);
    if !content.artifacts.is_empty() {
        card.heading(&format!("Files: {}", words::bytes(content.artifacts.size())));
        let mut table = Table::new(["PATH", "#SIZE", "DIGEST"]);
        for artifact in &content.artifacts {
            table.row([artifact.path.to_string(), words::bytes(artifact.size), artifact.digest.to_string()]);
        }
        card.lines.push(table.render(paint, "  "));
    }
    let requests = RequestView::all(&found.model, state, now);
    let requests: Vec<_> = requests.into_iter().filter(|request| request.version == found.version).collect();
    show_requests(&mut card, &requests, paint);
    card.show(session)
}

fn stage(stage: Stage, paint: Paint) -> String {
    match stage {
        Stage::Production => paint.good(stage.as_str()),
        other => other.to_string(),
    }
}

fn show_numbers(card: &mut Card, content: &registry_core::Content, paint: Paint) {
    let deployment = &content.deployment;
    let milliseconds =
        |value: Option<registry_core::Finite>| value.map(|value| format!("{} ms", words::number(value)));
    let figures = [
        ("latency p50", milliseconds(deployment.latency_p50_ms)),
        ("latency p95", milliseconds(deployment.latency_p95_ms)),
        ("size", deployment.size_bytes.map(words::bytes)),
        ("cpu", deployment.cpu_cores.map(|cores| format!("{} cores", words::number(cores)))),
        ("memory", deployment.memory_bytes.map(words::bytes)),
    ];
    if !content.metrics.is_empty() {
        card.heading("Metrics");
        let mut table = Table::new(["METRIC", "#VALUE", "UNIT", "#SAMPLES", "#STANDARD ERROR", "BETTER"]);
        for (name, metric) in &content.metrics {
            let better = metric.direction.map(|direction| match direction {
                registry_core::Direction::Higher => "higher",
                registry_core::Direction::Lower => "lower",
            });
            table.row([
                name.to_string(),
                words::number(metric.value),
                metric.unit.as_ref().map(ToString::to_string).unwrap_or_default(),
                metric.samples.map(|samples| samples.to_string()).unwrap_or_default(),
                metric.standard_error.map(words::number).unwrap_or_default(),
                better.unwrap_or_default().to_owned(),
            ]);
        }
        card.lines.push(table.render(paint, "  "));
    }
    if figures.iter().any(|(_, figure)| figure.is_some()) {
        card.heading("Deployment");
        for (name, figure) in figures {
            card.field(name, figure.unwrap_or_default());
        }
    }
    let metadata = &content.metadata;
    for (title, values) in [("Hyperparameters", &metadata.hyperparameters), ("Extra", &metadata.extra)] {
        if !values.is_empty() {
            card.heading(title);
            for (name, value) in values {
                card.field(&one_line(name), one_line(&value.to_string()));
            }
        }
    }
}

fn show_interface(card: &mut Card, content: &registry_core::Content) {
    if let Some(signature) = &content.signature {
        card.heading("Signature");
        for (side, schema) in [("inputs", signature.inputs()), ("outputs", signature.outputs())] {
            if let Some(schema) = schema {
                let fields = schema.fields().iter().map(field).collect::<Vec<_>>().join(", ");
                card.field(side, format!("{fields}{}", if schema.is_closed() { " (closed)" } else { "" }));
            }
        }
        card.field("parameters", signature.params().iter().map(field).collect::<Vec<_>>().join(", "));
    }
    if let Some(features) = &content.features {
        card.heading("Features");
        let set = [features.set(), features.version()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        card.field("set", one_line(&set));
        let names: Vec<String> = features.features().iter().map(|feature| one_line(&feature.name)).collect();
        card.field(&format!("{} in all", names.len()), shortened(&names));
    }
    let files: Vec<&str> = content.environment.iter().map(|file| file.name().as_str()).collect();
    if !files.is_empty() {
        card.heading("Environment");
        card.field("files", files.join(", "));
    }
}

fn field(field: &registry_core::signature::Field) -> String {
    let name = field.name.as_ref().map(|name| format!("{}: ", one_line(name)));
    let optional = if field.required { "" } else { "?" };
    format!("{}{}{optional}", name.unwrap_or_default(), one_line(&field.data_type.to_string()))
}

/// The first names; a model may have thousands.
fn shortened(names: &[String]) -> String {
    const SHOWN_MAX: usize = 12;
    let shown = names.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN_MAX) {
        Some(rest) if rest != 0 => format!("{shown}, and {rest} more"),
        _ => shown,
    }
}
