//! Why this exists: here gates are evaluated, on what is on record of the version that wants to enter a stage and of
//! the one that is in production. Whatever is missing keeps a gate closed, for nobody can be held to a number that
//! they need not give. Only where nothing is in production yet do comparisons with it pass, and say so: a first
//! version must get there somehow.
//!
//! Gates are looked at when a promotion is asked for, before anybody is bothered with approving it, and once more when
//! the last approval completes it, for meanwhile another version may be in production, or another rule may hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::compare::{CompareOptions, NumberChange, Outcome, Significance, direction_of, metric_changes};
use crate::content::{Content, Direction, Finite, Metric};
use crate::digest::Digest;
use crate::gate::{Check, Gate, GateResult, Improvement, NotNegative};
use crate::name::{ArtifactPath, Key};
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::VersionState;
use crate::trial::{TrialStage, Verdict};
use crate::version::Version;

use super::Rules;
use super::registration::going_back;

/// Numbers nearer to each other than this are taken as equal, since 0.9 − 0.8 is not 0.1 to the last bit.
const EQUAL_WITHIN: f64 = 1e-10;

/// How much of what a gate looked at is kept. What failed comes first.
const CHECKS_MAX: usize = 200;

/// A version that wants to enter a stage. It may be so new that the state does not know it.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) version: &'a Version,
    pub(super) digest: Digest,
    pub(super) content: &'a Content,
}

impl<'a> From<&'a VersionState> for Candidate<'a> {
    fn from(state: &'a VersionState) -> Self {
        Candidate { version: &state.version, digest: state.digest, content: &state.content }
    }
}

/// Something that was looked at, without numbers.
fn seen(subject: impl ToString, passed: bool, detail: impl Into<String>) -> Check {
    let (subject, detail) = (subject.to_string(), detail.into());
    Check { subject, passed, found: None, baseline: None, p: None, detail }
}

fn finite(value: f64) -> Option<Finite> {
    Finite::new(value).ok()
}

fn shown_p(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

impl<'a> Rules<'a> {
    /// What each gate of a stage finds.
    pub(super) fn look_at_gates(&self, candidate: Candidate<'_>, to: Stage) -> Vec<GateResult> {
        let gates = self.policy.stage(to).gates;
        gates.into_iter().map(|gate| self.look_at(gate, candidate)).collect()
    }

    /// The same, and a refusal with all that failed if one did.
    pub(super) fn pass_gates(
        &self,
        candidate: Candidate<'_>,
        to: Stage,
    ) -> Result<Vec<GateResult>, Rejection> {
        let results = self.look_at_gates(candidate, to);
        let failed: Vec<GateResult> = results.iter().filter(|result| !result.passed).cloned().collect();
        if failed.is_empty() {
            Ok(results)
        } else {
            Err(Rejection::GatesClosed { version: candidate.version.clone(), to, failed })
        }
    }

    /// The version in production, if it is another one.
    fn production_beside(&self, candidate: Candidate<'_>) -> Option<&'a VersionState> {
        let present = self.state.production.as_ref().filter(|present| *present != candidate.version)?;
        self.state.version(present).map(AsRef::as_ref)
    }

    fn look_at(&self, gate: Gate, candidate: Candidate<'_>) -> GateResult {
        let content = candidate.content;
        let mut against = None;
        // Looks at something beside the version in production.
        let mut beside = |look: &dyn Fn(&VersionState) -> Vec<Check>| {
            let Some(present) = self.production_beside(candidate) else {
                return vec![seen("production", true, "is empty, so there is nothing to compare with")];
            };
            against = Some(present.version.clone());
            look(present)
        };
        let mut checks = match &gate {
            Gate::Metric { name, at_least, at_most } => vec![within(content, name, *at_least, *at_most)],
            Gate::NoRegression { metrics, significance, tolerance } => beside(&|present| {
                no_regression(&present.content, content, metrics, *significance, *tolerance)
            }),
            Gate::Improvement { metric, by } => {
                beside(&|present| vec![improvement(&present.content, content, metric, *by)])
            }
            Gate::Compatible {} => beside(&|present| compatible(&present.content, content)),
            Gate::Latency { p50_ms_at_most, p95_ms_at_most } => {
                let figures = &content.deployment;
                [
                    ("latency p50", figures.latency_p50_ms, p50_ms_at_most),
                    ("latency p95", figures.latency_p95_ms, p95_ms_at_most),
                ]
                .into_iter()
                .filter_map(|(name, found, bound)| Some(fast_enough(name, found, (*bound)?)))
                .collect()
            }
            Gate::Size { bytes_at_most } => vec![small_enough(content, *bytes_at_most)],
            Gate::Metadata { required } => required
                .iter()
                .map(|field| match field.is_in(content) {
                    true => seen(field, true, "is on record"),
                    false => seen(field, false, "is not on record"),
                })
                .collect(),
            Gate::Files { required } => {
                required.iter().map(|path| among_the_files(content, path.as_str())).collect()
            }
            Gate::Signed { file } => vec![among_the_files(content, Gate::signature_file(file))],
            Gate::Trial { stage, max_age_seconds } => {
                beside(&|present| vec![self.favourable_trial(candidate, present, *stage, *max_age_seconds)])
            }
        };
        let passed = checks.iter().all(|check| check.passed);
        checks.sort_by_key(|check| check.passed);
        if let Some(more @ 1..) = checks.len().checked_sub(CHECKS_MAX) {
            checks.truncate(CHECKS_MAX);
            checks.push(seen("others", true, format!("were looked at as well, {more} of them")));
        }
        GateResult { gate, passed, against, checks }
    }

    fn favourable_trial(
        &self,
        candidate: Candidate<'_>,
        present: &VersionState,
        stage: Option<TrialStage>,
        max_age_seconds: Option<u64>,
    ) -> Check {
        let fails = |problem: String| seen("trial", false, problem);
        let Some(found) = self.state.concluded_trial(candidate.version) else {
            return fails(match self.state.running_trial(candidate.version) {
                Some((revision, _)) => {
                    format!("of {} runs since revision {revision}; conclude it", candidate.version)
                }
                None => format!("of {} is not on record; start one", candidate.version),
            });
        };
        let (trial, judgement) = (&found.trial, &found.judgement);
        let name = format!("begun at revision {}", trial.started.revision);
        let age = self.context.now.since(found.concluded.at).as_secs();
        let problem = if trial.treatment.digest != candidate.digest {
            Some(format!("{name} was of other content"))
        } else if trial.control.version != present.version || trial.control.digest != present.digest {
            Some(format!("{name} was against {}, which is not in production now", trial.control.version))
        } else if let Some(stage) = stage.filter(|stage| *stage != trial.plan.stage) {
            Some(format!("{name} ran in {}, not in {stage}", trial.plan.stage))
        } else if let Some(most) = max_age_seconds.filter(|most| *most < age) {
            Some(format!("{name} was concluded {age} s ago, more than {most} s"))
        } else if judgement.verdict != Verdict::Favourable {
            let why = judgement.undecided.map(|why| format!(": {}", why.as_str())).unwrap_or_default();
            Some(format!("{name} was {}{why}", judgement.verdict.as_str()))
        } else {
            None
        };
        let p = judgement.p.map(|p| format!(" ({})", shown_p(p.get()))).unwrap_or_default();
        Check {
            found: judgement.estimates.treatment,
            baseline: judgement.estimates.control,
            p: judgement.p,
            ..match problem {
                Some(problem) => fails(format!("{problem}; start another")),
                None => seen("trial", true, format!("{name} was favourable{p}")),
            }
        }
    }
}

fn within(content: &Content, name: &Key, at_least: Option<Finite>, at_most: Option<Finite>) -> Check {
    let Some(metric) = content.metrics.get(name) else {
        return seen(name, false, "is not on record");
    };
    let value = metric.value;
    let too_little = at_least.filter(|least| value < *least);
    let too_much = at_most.filter(|most| *most < value);
    let detail = match (too_little, too_much) {
        (Some(least), _) => format!("is {value}, less than {least}"),
        (None, Some(most)) => format!("is {value}, more than {most}"),
        (None, None) => format!("is {value}"),
    };
    Check { found: Some(value), ..seen(name, too_little.is_none() && too_much.is_none(), detail) }
}

type Metrics = BTreeMap<Key, Metric>;

/// How these metrics changed, in the order of their names. Which way is better is said by the version in production
/// if it says so: the one that wants to take its place does not turn it round.
fn changes(old: &Metrics, new: &Metrics, significance: Significance) -> Vec<NumberChange> {
    let directions =
        old.iter().filter_map(|(name, metric)| Some((name.clone(), direction_of(name, metric)?)));
    let options = CompareOptions {
        significance: significance.get(),
        directions: directions.collect(),
        ..CompareOptions::default()
    };
    metric_changes(old, new, &options)
}

/// A check of a number that both versions have.
fn compared(change: &NumberChange, passed: bool, detail: String) -> Check {
    Check {
        found: change.new.and_then(finite),
        baseline: change.old.and_then(finite),
        p: change.p_corrected.and_then(finite),
        ..seen(&change.name, passed, detail)
    }
}

/// `went from 0.62 to 0.55 (p = 0.0012)`
fn went(change: &NumberChange) -> String {
    let (old, new) = (change.old.unwrap_or_default(), change.new.unwrap_or_default());
    let p = change.p_corrected.map(|p| format!(" ({})", shown_p(p))).unwrap_or_default();
    if old == new { format!("is {new} as before{p}") } else { format!("went from {old} to {new}{p}") }
}

fn no_regression(
    before: &Content,
    after: &Content,
    names: &BTreeSet<Key>,
    significance: Significance,
    tolerance: NotNegative,
) -> Vec<Check> {
    let is_asked_for = |name: &Key| names.is_empty() || names.contains(name);
    let of = |content: &Content| -> Metrics {
        let metrics = content.metrics.iter().filter(|(name, _)| is_asked_for(name));
        metrics.map(|(name, metric)| (name.clone(), metric.clone())).collect()
    };
    let (old, new) = (of(before), of(after));
    let mut checks = Vec::new();
    let all: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    for (name, change) in all.into_iter().zip(changes(&old, &new, significance)) {
        let check = match (old.contains_key(name), new.contains_key(name)) {
            (false, _) => seen(
                &change.name,
                true,
                "is not on record of production, so there is nothing to compare with",
            ),
            // Nobody asked for it, and nobody knows which way is better.
            (true, _) if names.is_empty() && change.direction.is_none() => continue,
            (true, false) => seen(&change.name, false, "is not on record, and is of production"),
            (true, true) if change.outcome == Outcome::OneSided => {
                seen(&change.name, false, "is in another unit than in production")
            }
            (true, true) if change.direction.is_none() => {
                seen(&change.name, false, "may be better if higher or if lower; amend it with its direction")
            }
            (true, true) => judged(&change, tolerance),
        };
        checks.push(check);
    }
    let missing = names.iter().filter(|name| !old.contains_key(*name) && !new.contains_key(*name));
    checks.extend(missing.map(|name| seen(name, false, "is on record of neither version")));
    if checks.is_empty() {
        checks.push(seen("production", true, "has no metric on record whose better direction is known"));
    }
    checks
}

fn judged(change: &NumberChange, tolerance: NotNegative) -> Check {
    let went = went(change);
    if change.outcome != Outcome::Worse {
        let chance = if change.outcome == Outcome::NotSignificant { ", which may be chance" } else { "" };
        return compared(change, true, format!("{went}{chance}"));
    }
    if change.test.is_some() {
        return compared(change, false, format!("{went}, which is significantly worse"));
    }
    match change.relative {
        Some(relative) if relative.abs() <= tolerance.get() + EQUAL_WITHIN => {
            compared(change, true, format!("{went}, which is tolerated"))
        }
        _ => compared(change, false, format!("{went}, which is worse, and no test can be made of it")),
    }
}

fn improvement(before: &Content, after: &Content, name: &Key, by: Improvement) -> Check {
    let Some(new) = after.metrics.get(name) else {
        return seen(name, false, "is not on record");
    };
    let Some(old) = before.metrics.get(name) else {
        return seen(name, false, "is not on record of production; amend that version with it");
    };
    let only = |metric: &Metric| Metrics::from([(name.clone(), metric.clone())]);
    let change = changes(&only(old), &only(new), Significance::default()).pop();
    let Some((change, absolute)) =
        change.and_then(|change| change.absolute.map(|absolute| (change, absolute)))
    else {
        return seen(name, false, "is in another unit than in production");
    };
    let gained = match change.direction {
        Some(Direction::Higher) => absolute,
        Some(Direction::Lower) => -absolute,
        None => {
            let problem = "may be better if higher or if lower; amend it with its direction";
            return seen(name, false, problem);
        }
    };
    let passed = match (by, change.relative) {
        (Improvement::Absolute(by), _) => by.get() - EQUAL_WITHIN <= gained,
        (Improvement::Relative(by), Some(relative)) => {
            by.get() - EQUAL_WITHIN <= relative.abs().copysign(gained)
        }
        // Of 0 nothing is a share: any improvement will do.
        (Improvement::Relative(by), None) if by.get() == 0.0 => 0.0 <= gained,
        (Improvement::Relative(_), None) => EQUAL_WITHIN < gained,
    };
    let too_little = if passed { "" } else { ", which is not enough" };
    compared(&change, passed, format!("{}{too_little}", went(&change)))
}

fn compatible(before: &Content, after: &Content) -> Vec<Check> {
    let (findings, survives) = going_back(before, after);
    let breaking = findings.iter().filter(|finding| finding.required == crate::version::Bump::Major);
    let mut checks: Vec<Check> = breaking
        .map(|finding| {
            seen(
                &finding.path,
                false,
                format!("breaks callers: {}", finding.explanation().trim_end_matches('.')),
            )
        })
        .collect();
    match survives {
        Some(true) => checks.push(seen("signature", true, "does not break callers")),
        None => checks.push(seen(
            "signature",
            false,
            "is missing, or a side of it, on this version or on that in production, so nobody can tell",
        )),
        Some(false) => {}
    }
    checks
}

fn fast_enough(name: &str, found: Option<Finite>, bound: NotNegative) -> Check {
    let Some(found) = found else { return seen(name, false, "is not on record") };
    let passed = found.get() <= bound.get();
    let more = if passed { String::new() } else { format!(", more than {bound} ms") };
    Check { found: Some(found), ..seen(name, passed, format!("is {found} ms{more}")) }
}

fn small_enough(content: &Content, bytes_at_most: u64) -> Check {
    let files = Some(content.artifacts.size()).filter(|_| !content.artifacts.is_empty());
    let Some(bytes) = files.max(content.deployment.size_bytes) else {
        return seen("size", false, "is not on record, and there are no files");
    };
    let passed = bytes <= bytes_at_most;
    let more = if passed { String::new() } else { format!(", more than {bytes_at_most}") };
    #[expect(clippy::cast_precision_loss, reason = "a size in bytes is far below 2^53")]
    let found = finite(bytes as f64);
    Check { found, ..seen("size", passed, format!("is {bytes} bytes{more}")) }
}

fn among_the_files(content: &Content, path: &str) -> Check {
    let mut names = content
        .artifacts
        .iter()
        .map(|artifact| &artifact.path)
        .chain(content.environment.iter().map(|file| file.name()));
    match names.any(|name: &ArtifactPath| name.as_str() == path) {
        true => seen(path, true, "is among the files"),
        false => seen(path, false, "is not among the files"),
    }
}
