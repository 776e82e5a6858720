//! Why this exists: a model is handed on with a card that says what it is for and how it was judged. The shape is that of
//! Hugging Face, front matter in YAML and Markdown below, with the sections of [Mitchell et al., *Model Cards for Model
//! Reporting*](https://arxiv.org/abs/1810.03993). What is on record is generated. What only people know, such as the
//! intended use, is left to them, with a remark in the new file that says what belongs there.

use std::collections::BTreeSet;

use registry_core::lineage::{InputKind, Link, parents};
use registry_core::markdown::{code, one_line, text};
use registry_core::signature::Schema;
use registry_core::{Content, Direction, Invalid, Tags, VersionState};
use serde::Serialize;
use serde_json::Value;

use crate::document::{Document, Mark};
use crate::page::notes;
use crate::record::ModelRecord;
use crate::words::{listed, number, quotation, short, short_or_nothing, stage, table, title};

/// The most values of a kind that a card lists.
const VALUES_MAX: usize = 200;
/// What the front matter says where the record says nothing.
const NOT_RECORDED: &str = "not recorded";

/// The sections that people write, by their headings.
const INTENDED_USE: &str = "\n## Intended use\n\n\
    <!-- Who should use the model for what, and what is out of its scope. -->\n";
const FACTORS: &str = "\n## Factors\n\n\
    <!-- Groups, instruments and environments for which the model may do better or worse. -->\n\n";
const ETHICS: &str = "\n## Ethical considerations\n\n\
    <!-- Sensitive data, risks and harms, and what is done about them. -->\n";
const CAVEATS: &str = "\n## Caveats and recommendations\n\n\
    <!-- What else whoever uses the model should know. -->\n\n";

/// The card of a version.
pub(crate) fn card(record: &ModelRecord, version: &VersionState) -> Result<Document, Invalid> {
    let heading = format!("---\n\n# {} {}\n\n", title(&record.model), version.version);
    Ok(Document::new()
        .text("---\n")
        .part(Mark::Yaml, "front-matter", front_matter(record, version)?)
        .text(heading)
        .part(Mark::Html, "details", details(record, version))
        .text(INTENDED_USE)
        .text(FACTORS)
        .part(Mark::Html, "metrics", metrics(&version.content))
        .text("\n")
        .part(Mark::Html, "evaluation-data", evaluation_data(&version.content))
        .text("\n")
        .part(Mark::Html, "training-data", training_data(&version.content))
        .text("\n")
        .part(Mark::Html, "quantitative-analyses", analyses(record, version))
        .text(ETHICS)
        .text(CAVEATS)
        .part(Mark::Html, "warnings", warnings(version)))
}

#[derive(Serialize)]
struct FrontMatter {
    #[serde(skip_serializing_if = "Option::is_none")]
    library_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    datasets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    base_model: Vec<String>,
    #[serde(rename = "model-index")]
    model_index: Vec<IndexedModel>,
}

#[derive(Serialize)]
struct IndexedModel {
    name: String,
    results: Vec<ResultsOfTask>,
}

#[derive(Serialize)]
struct ResultsOfTask {
    task: Task,
    dataset: Dataset,
    metrics: Vec<MetricResult>,
}

#[derive(Serialize)]
struct Task {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Dataset {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct MetricResult {
    #[serde(rename = "type")]
    kind: String,
    value: f64,
}

fn front_matter(record: &ModelRecord, version: &VersionState) -> Result<String, Invalid> {
    let content = &version.content;
    let library = content.metadata.framework.as_ref().map(|framework| {
        let name = framework.as_str().split(['=', '<', '>', '~', '!', ' ', '[']).next().unwrap_or_default();
        one_line(if name.is_empty() { framework.as_str() } else { name })
    });
    let metrics: Vec<String> = content.metrics.keys().map(ToString::to_string).collect();
    // The record says what was found, and in which evaluation, if one was linked; never on which data by guess.
    let evaluations: Vec<String> = evaluations(content).map(|(id, _)| one_line(id)).collect();
    let dataset = if evaluations.is_empty() { NOT_RECORDED.to_owned() } else { evaluations.join(", ") };
    let task = content.tags.iter().find(|(key, value)| key.as_str() == "task" && !value.is_empty());
    let results = ResultsOfTask {
        task: Task { kind: task.map_or_else(|| "other".to_owned(), |(_, value)| one_line(value)) },
        dataset: Dataset { kind: dataset.clone(), name: dataset },
        metrics: content
            .metrics
            .iter()
            .map(|(name, metric)| MetricResult { kind: name.to_string(), value: metric.value.get() })
            .collect(),
    };
    let matter = FrontMatter {
        library_name: library,
        tags: tags(&record.state.tags, &content.tags),
        datasets: datasets(content),
        metrics,
        base_model: parents(content).keys().map(ToString::to_string).collect(),
        model_index: vec![IndexedModel {
            name: format!("{} {}", record.model, version.version),
            results: if results.metrics.is_empty() { Vec::new() } else { vec![results] },
        }],
    };
    yaml(&matter)
}

/// A value as YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Invalid> {
    serde_saphyr::to_string(value).map_err(|error| Invalid::new("document", "YAML", error.to_string()))
}

fn tags(of_model: &Tags, of_version: &Tags) -> Vec<String> {
    let mut all = of_model.clone();
    all.extend(of_version.iter().map(|(key, value)| (key.clone(), value.clone())));
    let tag = |(key, value): (&registry_core::Key, &String)| match value.is_empty() {
        true => key.to_string(),
        false => format!("{key}={}", one_line(value)),
    };
    all.iter().map(tag).collect()
}

fn datasets(content: &Content) -> Vec<String> {
    let trained = content.metadata.training_data_version.as_ref().map(|data| one_line(data.as_str()));
    let linked = inputs(content, InputKind::Data);
    let all: BTreeSet<String> = trained.into_iter().chain(linked).collect();
    all.into_iter().collect()
}

/// Linked inputs of a kind, with their versions.
fn inputs(content: &Content, of: InputKind) -> impl Iterator<Item = String> {
    content.links.iter().filter_map(move |link| match link {
        Link::Input { kind, id, version, .. } if *kind == of => {
            let version = version.as_ref().map(|version| format!(":{}", one_line(version.as_str())));
            Some(format!("{}{}", one_line(id.as_str()), version.unwrap_or_default()))
        }
        _ => None,
    })
}

fn evaluations(
    content: &Content,
) -> impl Iterator<Item = (&str, &std::collections::BTreeMap<String, Value>)> {
    content.links.iter().filter_map(|link| match link {
        Link::Evaluation { id, attributes } => Some((id.as_str(), attributes)),
        _ => None,
    })
}

/// A list of names and texts, those that there are.
fn list(items: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let items =
        items.into_iter().filter_map(|(name, item)| Some((name, item.filter(|item| !item.is_empty())?)));
    items.map(|(name, item)| format!("- {name}: {item}\n")).collect()
}

/// A value of JSON in a code span.
fn plain(value: &Value) -> String {
    const CHARS_MAX: usize = 200;
    let full = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown: String = full.chars().take(CHARS_MAX).collect();
    let rest = if shown.len() < full.len() { "…" } else { "" };
    if shown.trim().is_empty() { "–".to_owned() } else { format!("{}{rest}", code(&shown)) }
}

fn details<'a>(record: &ModelRecord, version: &'a VersionState) -> String {
    let content = &version.content;
    let metadata = &content.metadata;
    let mut body = String::from("## Model details\n");
    for description in [&record.state.description, &content.description].into_iter().flatten() {
        body.push_str(&format!("\n{}", quotation(description.as_str())));
    }
    let some = |words: &Option<registry_core::Text>| words.as_ref().map(|words| short(words.as_str()));
    let stands = match notes(record, version) {
        notes if notes.is_empty() => stage(version.stage).to_owned(),
        notes => format!("{} ({notes})", stage(version.stage)),
    };
    let registered = &version.registered;
    let inputs = [("Code", InputKind::Code), ("Experiments", InputKind::Experiment)];
    let linked = inputs
        .map(|(name, kind)| (name, Some(listed(self::inputs(content, kind).map(|input| text(&input))))));
    let made_of = parents(content)
        .into_iter()
        .map(|(parent, how)| format!("{} ({})", code(&parent.to_string()), how.as_str()));
    body.push('\n');
    body.push_str(&list([
        ("Model", Some(code(record.model.as_str()))),
        ("Version", Some(version.version.to_string())),
        ("Stage", Some(stands)),
        ("Registered", Some(format!("{}, by {}", registered.at.date(), text(registered.actor.as_str())))),
        ("Digest", Some(code(&version.digest.to_string()))),
        ("Owner", metadata.owner.as_ref().map(|owner| text(owner.as_str()))),
        ("Algorithm", some(&metadata.algorithm)),
        ("Framework", some(&metadata.framework)),
        ("Runtime", some(&metadata.runtime)),
        ("Trained", metadata.training_date.map(|date| date.to_string())),
        ("Training took", metadata.training_seconds.map(|seconds| format!("{} s", number(seconds)))),
        ("Experiment", some(&metadata.experiment)),
        ("Run", metadata.run.as_ref().map(|run| code(&run.to_string()))),
        ("Increment", some(&metadata.increment)),
        ("Made out of", Some(listed(made_of))),
    ]));
    body.push_str(&list(linked));
    if !metadata.hyperparameters.is_empty() {
        let values = metadata.hyperparameters.iter().take(VALUES_MAX);
        let rows = values.map(|(name, value)| [code(name), plain(value)]);
        body.push_str(&format!("\n{}", table(["Hyperparameter", "Value"], rows)));
    }
    if let Some(signature) = &content.signature {
        let fields = |schema: Option<&'a Schema>| schema.map(Schema::fields).unwrap_or_default();
        let sides = [
            ("Input", fields(signature.inputs())),
            ("Output", fields(signature.outputs())),
            ("Parameter", signature.params()),
        ];
        let rows = sides.into_iter().flat_map(|(side, fields)| {
            fields.iter().map(move |field| {
                let name = field.name.as_ref().map_or_else(|| "–".to_owned(), |name| code(name));
                let optional = if field.required { "" } else { ", optional" };
                [side.to_owned(), name, format!("{}{optional}", code(&field.data_type.to_string()))]
            })
        });
        body.push_str(&format!("\n{}", table(["Signature", "Name", "Type"], rows.take(VALUES_MAX))));
    }
    body
}

fn metrics(content: &Content) -> String {
    let mut body = String::from("## Metrics\n\n");
    if content.metrics.is_empty() {
        body.push_str("No metric is on record.\n");
        return body;
    }
    let rows = content.metrics.iter().take(VALUES_MAX).map(|(name, metric)| {
        let better = metric.direction.map_or("", |direction| match direction {
            Direction::Higher => "higher",
            Direction::Lower => "lower",
        });
        let unit = metric.unit.as_ref().map(|unit| text(unit.as_str())).unwrap_or_default();
        [code(name.as_str()), better.to_owned(), unit]
    });
    body.push_str(&table(["Metric", "Better", "Unit"], rows));
    body
}

fn evaluation_data(content: &Content) -> String {
    let mut body = String::from("## Evaluation data\n\n");
    let lines = evaluations(content).take(VALUES_MAX).map(|(id, attributes)| {
        let attributes = attributes.iter().map(|(name, value)| format!("{} {}", code(name), plain(value)));
        let attributes: Vec<String> = attributes.collect();
        let colon = if attributes.is_empty() { "" } else { ": " };
        format!("- {}{colon}{}\n", plain(&Value::from(id)), attributes.join(", "))
    });
    let lines: String = lines.collect();
    body.push_str(if lines.is_empty() { "No evaluation is on record.\n" } else { &lines });
    body
}

fn training_data(content: &Content) -> String {
    let metadata = &content.metadata;
    let mut lines = list([
        ("Version", metadata.training_data_version.as_ref().map(|data| short(data.as_str()))),
        ("Size", metadata.training_data_size.as_ref().map(|size| short(size.as_str()))),
        (
            "Feature engineering",
            metadata.feature_engineering_version.as_ref().map(|code| short(code.as_str())),
        ),
        (
            "Feature set",
            content.features.as_ref().and_then(|features| features.versioned_set()).map(|set| text(&set)),
        ),
        (
            "Further data",
            Some(listed(inputs(content, InputKind::Data).take(VALUES_MAX).map(|data| text(&data)))),
        ),
    ]);
    if let Some(features) = content.features.as_ref().filter(|features| !features.features().is_empty()) {
        let names = features.features().iter().take(VALUES_MAX).map(|feature| code(&feature.name));
        let names: Vec<String> = names.collect();
        let count = features.features().len();
        let rest = if VALUES_MAX < count { ", …" } else { "" };
        lines.push_str(&format!("- Features ({count}): {}{rest}\n", names.join(", ")));
    }
    let lines = if lines.is_empty() { "No training data are on record.\n".to_owned() } else { lines };
    format!("## Training data\n\n{lines}")
}

fn analyses(record: &ModelRecord, version: &VersionState) -> String {
    let content = &version.content;
    let mut body = String::from("## Quantitative analyses\n");
    if !content.metrics.is_empty() {
        let rows = content.metrics.iter().take(VALUES_MAX).map(|(name, metric)| {
            [
                code(name.as_str()),
                number(metric.value),
                metric.samples.map(|samples| samples.to_string()).unwrap_or_default(),
                metric.standard_error.map(number).unwrap_or_default(),
            ]
        });
        body.push_str(&format!("\n{}", table(["Metric", "Value", "Samples", "Standard error"], rows)));
    }
    let deployment = &content.deployment;
    let figures = list([
        ("Latency, median", deployment.latency_p50_ms.map(|value| format!("{} ms", number(value)))),
        ("Latency, 95th percentile", deployment.latency_p95_ms.map(|value| format!("{} ms", number(value)))),
        ("Size", deployment.size_bytes.map(|bytes| format!("{bytes} bytes"))),
        ("CPU", deployment.cpu_cores.map(|cores| format!("{} cores", number(cores)))),
        ("Memory", deployment.memory_bytes.map(|bytes| format!("{bytes} bytes"))),
    ]);
    if !figures.is_empty() {
        body.push_str(&format!("\n{figures}"));
    }
    if let Some(trial) = record.state.concluded_trial(&version.version) {
        body.push_str(&format!(
            "\nTried against {} in {}, by {}: {} (concluded on {}).\n",
            trial.trial.control.version,
            trial.trial.plan.stage,
            code(trial.trial.plan.measure.name.as_str()),
            trial.judgement.verdict.as_str(),
            trial.concluded.at.date()
        ));
    }
    if let (Some(baseline), Some(comparison)) = (&version.numbering.baseline, version.numbering.comparison())
    {
        body.push_str(&format!(
            "\n### What callers notice against {baseline}\n\n{}",
            comparison.to_markdown()
        ));
    }
    body
}

fn warnings(version: &VersionState) -> String {
    let mut lines = String::new();
    if let Some(deprecation) = &version.deprecated {
        let mut line = format!("- Deprecated since {}", deprecation.since.at.date());
        if let Some(successor) = &deprecation.superseded_by {
            line.push_str(&format!(", use {successor} instead"));
        }
        if let Some(end) = deprecation.end_of_life {
            line.push_str(&format!(", end of life {}", end.date()));
        }
        lines.push_str(&with_reason(line, deprecation.since.reason.as_ref()));
    }
    if let Some(since) = &version.quarantined {
        lines.push_str(&with_reason(
            format!("- Quarantined since {}", since.at.date()),
            since.reason.as_ref(),
        ));
    }
    lines
}

fn with_reason(line: String, reason: Option<&registry_core::Text>) -> String {
    match short_or_nothing(reason) {
        reason if reason.is_empty() => format!("{line}\n"),
        reason => format!("{line}: {reason}\n"),
    }
}
