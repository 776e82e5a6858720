//! Why this exists: "is the new version better?" is asked before every promotion, and answered by looking at numbers
//! side by side. This does it with all that is on record: metrics with the direction that is better and how sure the
//! difference is, performance, what changed for callers, features, parameters, environment, where it came from. Its
//! recommendation is data with reasons, so that a person can disagree with one of them.
//!
//! It never looks anything up: two versions go in, of one model or of two, of one registry or of two.
//!
//! | the recommendation | says |
//! |---|---|
//! | [`Better`](Verdict::Better) | something is better, and nothing is worse |
//! | [`Worse`](Verdict::Worse) | something is worse, and nothing is better |
//! | [`Mixed`](Verdict::Mixed) | some is better and some is worse |
//! | [`Inconclusive`](Verdict::Inconclusive) | nothing that can be judged has changed for sure |
//!
//! A metric is better or worse if its direction is known, and if the difference is significant where a test could be
//! made. Where none could, the number alone counts, and the reasons say so.

mod direction;
mod render;
pub mod significance;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

pub use direction::{direction_of, direction_of_name, is_share};
pub use significance::{Method, Significance, Test};

use crate::compat::{Comparison as Compatibility, FindingId, compare_interfaces};
use crate::content::{Content, Direction, Metric};
use crate::name::{Key, ModelName};
use crate::state::VersionState;
use crate::version::{Bump, Version};
use significance::{Measured, by_standard_errors, holm, mcnemar, paired_bootstrap, two_proportions};

/// What each of the same examples got, under both versions, in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// With the old version.
    pub old: Vec<f64>,
    /// With the new one.
    pub new: Vec<f64>,
}

/// How to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareOptions {
    /// How likely a difference may be by chance for it to be believed all the same. 0.05 if nothing is said.
    pub significance: f64,
    /// Which way is better, where neither the metric nor its name tells, or where they are wrong.
    pub directions: BTreeMap<Key, Direction>,
    /// How much a metric may change, as a share of what it was, without being called better or worse.
    pub tolerance: f64,
    /// What each example got, for metrics where that is known.
    pub scores: BTreeMap<Key, Scores>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions {
            significance: 0.05,
            directions: BTreeMap::new(),
            tolerance: 0.0,
            scores: BTreeMap::new(),
        }
    }
}

/// A version to be compared: which, and of which model.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its model.
    pub model: ModelName,
    /// The version.
    pub version: Arc<VersionState>,
}

/// How a number changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// For the better.
    Better,
    /// For the worse.
    Worse,
    /// Not at all, or by no more than is tolerated.
    Same,
    /// It did, and may have by chance.
    NotSignificant,
    /// It did, and nobody knows which way is better.
    Unjudged,
    /// Only one of the versions has it.
    OneSided,
}

/// One number of both versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumberChange {
    /// What was measured.
    pub name: String,
    /// Its unit, if it is known and the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Which way is better, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<f64>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<f64>,
    /// By how much it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute: Option<f64>,
    /// The same as a share of what it was; none where that was 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
    /// How sure that is, where it could be tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// The p-value, corrected for all tests of the comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_corrected: Option<f64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// Names that one version has and the other has not, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NameChanges {
    /// Only the new one has them.
    pub added: Vec<String>,
    /// Only the old one had them.
    pub removed: Vec<String>,
    /// Both have them, and not alike.
    pub modified: Vec<String>,
}

impl NameChanges {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }
}

/// A value that is not a number of merit: a parameter, a framework, where the data came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueChange {
    /// What it is.
    pub name: String,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Something is better, and nothing is worse.
    Better,
    /// Something is worse, and nothing is better.
    Worse,
    /// Some of it is better and some is worse.
    Mixed,
    /// Nothing that can be judged has changed for sure.
    Inconclusive,
}

/// What is recommended, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// In a word.
    pub verdict: Verdict,
    /// What speaks for it, and what one should know besides.
    pub reasons: Vec<String>,
}

/// What a comparison of two versions found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VersionComparison {
    /// The model of the old version.
    pub old_model: ModelName,
    /// The old version.
    pub old: Version,
    /// The model of the new version.
    pub new_model: ModelName,
    /// The new version.
    pub new: Version,
    /// Metrics, by name.
    pub metrics: Vec<NumberChange>,
    /// What was measured where the model is served, and its size.
    pub performance: Vec<NumberChange>,
    /// What callers notice.
    pub compatibility: Compatibility,
    /// Features, by name.
    pub features: NameChanges,
    /// Hyperparameters that changed.
    pub hyperparameters: Vec<ValueChange>,
    /// Framework, runtime and environment files that changed.
    pub environment: Vec<ValueChange>,
    /// What the version came from, as far as that changed.
    pub lineage: Vec<ValueChange>,
    /// How likely a difference may be by chance for it to be believed.
    pub significance: f64,
    /// What is recommended.
    pub recommendation: Recommendation,
}

/// Compares an old version with a new one.
pub fn compare(old: &Subject, new: &Subject, options: &CompareOptions) -> VersionComparison {
    let (before, after) = (&*old.version.content, &*new.version.content);
    let metrics = metric_changes(&before.metrics, &after.metrics, options);
    let performance = performance(before, after);
    let compatibility = compare_interfaces(&before.interface(), &after.interface());
    let recommendation = recommend(&metrics, &performance, &compatibility);
    VersionComparison {
        old_model: old.model.clone(),
        old: old.version.version.clone(),
        new_model: new.model.clone(),
        new: new.version.version.clone(),
        metrics,
        performance,
        features: features(&compatibility),
        compatibility,
        hyperparameters: hyperparameters(before, after),
        environment: environment(before, after),
        lineage: lineage(before, after),
        significance: options.significance,
        recommendation,
    }
}

/// How metrics changed, in the order of their names, with the p-values of all tests corrected together.
pub(crate) fn metric_changes(
    before: &BTreeMap<Key, Metric>,
    after: &BTreeMap<Key, Metric>,
    options: &CompareOptions,
) -> Vec<NumberChange> {
    let names: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let change = |name: &Key| {
        let (old, new) = (before.get(name), after.get(name));
        let said = new.or(old).and_then(|metric| direction_of(name, metric));
        let direction = options.directions.get(name).copied().or(said);
        let unit = |metric: Option<&Metric>| metric.and_then(|metric| metric.unit.clone());
        let same_unit = unit(old) == unit(new) || old.is_none() || new.is_none();
        // Numbers in different units are different numbers.
        let (old, new) = if same_unit { (old, new) } else { (None, new) };
        let test = match (old, new) {
            (Some(old), Some(new)) => test_of(name, old, new, options.scores.get(name)),
            _ => None,
        };
        let value = |metric: Option<&Metric>| metric.map(|metric| metric.value.get());
        let mut change = number(name.as_str(), value(old), value(new), direction, options.tolerance);
        change.unit = unit(new.or(old)).map(|unit| unit.to_string());
        change.test = test;
        change
    };
    let mut changes: Vec<NumberChange> = names.into_iter().map(change).collect();
    correct(&mut changes, options);
    changes
}

/// The test that fits what is known of both.
fn test_of(name: &Key, old: &Metric, new: &Metric, scores: Option<&Scores>) -> Option<Test> {
    if let Some(Scores { old, new }) = scores
        && old.len() == new.len()
    {
        let is_right_or_wrong = |scores: &[f64]| scores.iter().all(|score| *score == 0.0 || *score == 1.0);
        let pairs = || old.iter().zip(new);
        return if is_right_or_wrong(old) && is_right_or_wrong(new) {
            let count =
                |better: bool| pairs().filter(|(old, new)| old != new && (old < new) == better).count();
            mcnemar(count(false) as u64, count(true) as u64)
        } else {
            let differences: Vec<f64> = pairs().map(|(old, new)| new - old).collect();
            paired_bootstrap(&differences)
        };
    }
    let measured = |metric: &Metric| Measured {
        value: metric.value.get(),
        samples: metric.samples,
        standard_error: metric.standard_error.map(|error| error.get()),
    };
    by_standard_errors(&measured(old), &measured(new)).or_else(|| {
        let is_bare = |metric: &Metric| metric.standard_error.is_none() && metric.unit.is_none();
        match (old.samples, new.samples) {
            (Some(old_n), Some(new_n)) if is_share(name.as_str()) && is_bare(old) && is_bare(new) => {
                two_proportions(old.value.get(), old_n, new.value.get(), new_n)
            }
            _ => None,
        }
    })
}

/// A change of a number, without a test yet.
fn number(
    name: &str,
    old: Option<f64>,
    new: Option<f64>,
    direction: Option<Direction>,
    tolerance: f64,
) -> NumberChange {
    let absolute = old.zip(new).map(|(old, new)| new - old);
    let relative =
        old.zip(absolute).filter(|(old, _)| *old != 0.0).map(|(old, absolute)| absolute / old.abs());
    let is_tolerated = |change: f64| match relative {
        Some(relative) => relative.abs() <= tolerance,
        None => change == 0.0,
    };
    let outcome = match (absolute, direction) {
        (None, _) => Outcome::OneSided,
        (Some(change), _) if is_tolerated(change) => Outcome::Same,
        (Some(_), None) => Outcome::Unjudged,
        (Some(change), Some(Direction::Higher)) if 0.0 < change => Outcome::Better,
        (Some(change), Some(Direction::Lower)) if change < 0.0 => Outcome::Better,
        _ => Outcome::Worse,
    };
    NumberChange {
        name: name.to_owned(),
        unit: None,
        direction,
        old,
        new,
        absolute,
        relative,
        test: None,
        p_corrected: None,
        outcome,
    }
}

fn performance(before: &Content, after: &Content) -> Vec<NumberChange> {
    #[expect(clippy::cast_precision_loss, reason = "a size in bytes is far below 2^53")]
    let bytes = |size: Option<u64>| size.map(|size| size as f64);
    let size = |content: &Content| {
        let files = Some(content.artifacts.size()).filter(|size| 0 < *size);
        bytes(content.deployment.size_bytes.or(files))
    };
    let (old, new) = (&before.deployment, &after.deployment);
    let finite = |value: Option<crate::content::Finite>| value.map(crate::content::Finite::get);
    let has_tail = old.latency_p95_ms.is_some() || new.latency_p95_ms.is_some();
    let median = if has_tail { "latency p50" } else { "latency" };
    [
        (median, "ms", finite(old.latency_p50_ms), finite(new.latency_p50_ms)),
        ("latency p95", "ms", finite(old.latency_p95_ms), finite(new.latency_p95_ms)),
        ("size", "bytes", size(before), size(after)),
        ("cpu", "cores", finite(old.cpu_cores), finite(new.cpu_cores)),
        ("memory", "bytes", bytes(old.memory_bytes), bytes(new.memory_bytes)),
    ]
    .into_iter()
    .filter(|(_, _, old, new)| old.is_some() || new.is_some())
    .map(|(name, unit, old, new)| {
        let mut change = number(name, old, new, Some(Direction::Lower), 0.0);
        change.unit = Some(unit.to_owned());
        change
    })
    .collect()
}

/// Corrects the p-values of all tests together, and takes back what is not significant.
fn correct(changes: &mut [NumberChange], options: &CompareOptions) {
    let mut tested: Vec<&mut NumberChange> =
        changes.iter_mut().filter(|change| change.test.is_some()).collect();
    let p: Vec<f64> = tested.iter().filter_map(|change| change.test.map(|test| test.p)).collect();
    for (change, corrected) in tested.iter_mut().zip(holm(&p)) {
        change.p_corrected = Some(corrected);
        let is_change = matches!(change.outcome, Outcome::Better | Outcome::Worse | Outcome::Unjudged);
        if is_change && options.significance <= corrected {
            change.outcome = Outcome::NotSignificant;
        }
    }
}

/// The feature that a path such as `features.amount` or `features["a.b"].items` leads to.
fn feature_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("features")?;
    if let Some(plain) = rest.strip_prefix('.') {
        return plain.split(['.', '[']).next().map(str::to_owned);
    }
    let quoted = rest.strip_prefix('[')?;
    serde_json::Deserializer::from_str(quoted).into_iter::<String>().next()?.ok()
}

/// What the findings say of features by name.
fn features(compatibility: &Compatibility) -> NameChanges {
    let mut changes = NameChanges::default();
    for finding in &compatibility.findings {
        let Some(name) = feature_of(&finding.path) else { continue };
        let names = match finding.id {
            FindingId::FeatureAdded => &mut changes.added,
            FindingId::FeatureRemoved => &mut changes.removed,
            _ => &mut changes.modified,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for names in [&mut changes.added, &mut changes.removed, &mut changes.modified] {
        names.sort();
    }
    changes
}

fn value_changes<'a>(
    pairs: impl IntoIterator<Item = (&'a str, Option<Value>, Option<Value>)>,
) -> Vec<ValueChange> {
    let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(name, old, new)| ValueChange { name: name.to_owned(), old, new }).collect()
}

fn hyperparameters(before: &Content, after: &Content) -> Vec<ValueChange> {
    let (old, new) = (&before.metadata.hyperparameters, &after.metadata.hyperparameters);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    value_changes(
        names.into_iter().map(|name| (name.as_str(), old.get(name).cloned(), new.get(name).cloned())),
    )
}

fn text<T: ToString>(value: Option<&T>) -> Option<Value> {
    value.map(|value| Value::from(value.to_string()))
}

fn environment(before: &Content, after: &Content) -> Vec<ValueChange> {
    let (old, new) = (&before.metadata, &after.metadata);
    let mut changes = value_changes([
        ("algorithm", text(old.algorithm.as_ref()), text(new.algorithm.as_ref())),
        ("framework", text(old.framework.as_ref()), text(new.framework.as_ref())),
        ("runtime", text(old.runtime.as_ref()), text(new.runtime.as_ref())),
    ]);
    let files = |content: &Content| -> BTreeMap<String, String> {
        let files = content.environment.iter();
        files.map(|file| (file.name().to_string(), file.text().to_owned())).collect()
    };
    let (old, new) = (files(before), files(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let lines = |files: &BTreeMap<String, String>| -> Option<BTreeSet<String>> {
            Some(files.get(name)?.lines().map(|line| line.trim().to_owned()).collect())
        };
        let (old, new) = (lines(&old), lines(&new));
        if old == new {
            continue;
        }
        // Of a long file the lines that changed.
        let only = |some: &Option<BTreeSet<String>>, others: &Option<BTreeSet<String>>| {
            let some = some.as_ref()?;
            let lines =
                some.iter().filter(|line| others.as_ref().is_none_or(|others| !others.contains(*line)));
            Some(Value::from(lines.cloned().collect::<Vec<_>>()))
        };
        changes.push(ValueChange { name: name.clone(), old: only(&old, &new), new: only(&new, &old) });
    }
    changes
}

fn lineage(before: &Content, after: &Content) -> Vec<ValueChange> {
    let (old, new) = (&before.metadata, &after.metadata);
    let set = |content: &Content| content.features.as_ref()?.versioned_set().map(Value::from);
    value_changes([
        ("training data", text(old.training_data_version.as_ref()), text(new.training_data_version.as_ref())),
        ("training data size", text(old.training_data_size.as_ref()), text(new.training_data_size.as_ref())),
        ("feature set", set(before), set(after)),
        (
            "feature engineering",
            text(old.feature_engineering_version.as_ref()),
            text(new.feature_engineering_version.as_ref()),
        ),
        ("experiment", text(old.experiment.as_ref()), text(new.experiment.as_ref())),
        ("run", text(old.run.as_ref()), text(new.run.as_ref())),
        ("parent model", text(old.parent_model.as_ref()), text(new.parent_model.as_ref())),
    ])
}

/// The names of the numbers with an outcome, as words in a sentence.
fn named(numbers: &[&NumberChange], outcome: Outcome) -> Option<String> {
    let names: Vec<&str> = numbers
        .iter()
        .filter(|change| change.outcome == outcome)
        .map(|change| change.name.as_str())
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn recommend(
    metrics: &[NumberChange],
    performance: &[NumberChange],
    compatibility: &Compatibility,
) -> Recommendation {
    let all: Vec<&NumberChange> = metrics.iter().chain(performance).collect();
    let has = |outcome| all.iter().any(|change| change.outcome == outcome);
    let verdict = match (has(Outcome::Better), has(Outcome::Worse)) {
        (true, false) => Verdict::Better,
        (false, true) => Verdict::Worse,
        (true, true) => Verdict::Mixed,
        (false, false) => Verdict::Inconclusive,
    };
    let judged = |change: &&NumberChange| !matches!(change.outcome, Outcome::OneSided | Outcome::Unjudged);
    let mut reasons = Vec::new();
    if metrics.is_empty() && performance.is_empty() {
        reasons.push("nothing was measured".to_owned());
    }
    let all_better = !metrics.is_empty() && metrics.iter().all(|change| change.outcome == Outcome::Better);
    if all_better {
        reasons.push("improvement in all metrics".to_owned());
    }
    let better = if all_better { performance.iter().collect::<Vec<_>>() } else { all.clone() };
    reasons.extend(named(&better, Outcome::Better).map(|names| format!("better: {names}")));
    reasons.extend(named(&all, Outcome::Worse).map(|names| format!("worse: {names}")));
    reasons.extend(named(&all, Outcome::NotSignificant).map(|names| format!("may be chance: {names}")));
    reasons.extend(
        named(&all, Outcome::Unjudged).map(|names| format!("which way is better is not known: {names}")),
    );
    reasons.extend(
        named(&all, Outcome::OneSided).map(|names| format!("measured for one of them only: {names}")),
    );
    let untested = metrics
        .iter()
        .filter(|change| matches!(change.outcome, Outcome::Better | Outcome::Worse) && change.test.is_none());
    let untested: Vec<&str> = untested.map(|change| change.name.as_str()).collect();
    if !untested.is_empty() && metrics.iter().filter(judged).count() != 0 {
        reasons
            .push(format!("not tested, for nothing is known of how they scatter: {}", untested.join(", ")));
    }
    match compatibility.required_bump() {
        Some(Bump::Major) => reasons.push("callers must change".to_owned()),
        None => reasons.push("whether callers must change is not known".to_owned()),
        Some(_) => {}
    }
    Recommendation { verdict, reasons }
}
