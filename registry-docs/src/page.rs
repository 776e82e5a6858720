//! Why this exists: the page of a model answers what people ask first: what is in production, what was before, and how
//! do we go back. Each part stands between fences of its own, so that a team can write around them.

use registry_core::compat::Finding;
use registry_core::event::StageCause;
use registry_core::markdown::{code, text};
use registry_core::state::ApprovalRequest;
use registry_core::{Bump, Key, Revision, Stage, Trial, Version, VersionState};

use crate::document::{Document, Mark};
use crate::record::{ModelRecord, Move};
use crate::words::{
    latency, listed, metric_title, quotation, share_or_value, short, short_or_nothing, stage, table, title,
    value,
};

/// The most rows of a table.
const ROWS_MAX: usize = 200;
/// The most metrics that the version in production is shown with.
const METRICS_MAX: usize = 12;
/// How far a free number for the next fix is looked for.
const PATCHES_MAX: usize = 10_000;

/// The page of a model. The main metric is the one given or, if none is, `accuracy`, or the one that most versions have.
pub(crate) fn page(record: &ModelRecord, main_metric: Option<&Key>) -> Document {
    let metric = main_metric.cloned().or_else(|| common_metric(record));
    let parts = [
        ("production", production(record, metric.as_ref())),
        ("versions", versions(record, metric.as_ref())),
        ("rollback", rollback(record)),
        ("requests", requests(record)),
        ("trials", trials(record)),
        ("approvals", approvals(record)),
        ("deprecations", deprecations(record)),
    ];
    let mut document = Document::new();
    for (index, (name, body)) in parts.into_iter().enumerate() {
        if index != 0 {
            document = document.text("\n");
        }
        document = document.part(Mark::Html, name, body);
    }
    document
}

fn common_metric(record: &ModelRecord) -> Option<Key> {
    let mut counts = std::collections::BTreeMap::new();
    for name in record.state.versions().flat_map(|version| version.content.metrics.keys()) {
        *counts.entry(name).or_insert(0_usize) += 1;
    }
    let accuracy = counts.keys().find(|name| name.as_str() == "accuracy");
    let most = || counts.iter().rev().max_by_key(|(_, count)| **count).map(|(name, _)| name);
    accuracy.or_else(most).map(|name| (*name).clone())
}

fn production(record: &ModelRecord, metric: Option<&Key>) -> String {
    let present = record.production();
    let standing = if present.is_some() { "Production" } else { "Not in production" };
    let mut body =
        format!("## {} - {standing}\n\nModel {}", title(&record.model), code(record.model.as_str()));
    let aliases =
        record.state.aliases.iter().map(|(alias, version)| format!("{} → {version}", code(alias.as_str())));
    let aliases: Vec<String> = aliases.collect();
    if !aliases.is_empty() {
        body.push_str(&format!(", aliases {}", listed(aliases)));
    }
    body.push_str(".\n");
    if let Some(description) = &record.state.description {
        body.push_str(&format!("\n{}", quotation(description.as_str())));
    }
    let Some(present) = present else { return body };
    body.push_str(&format!("\n### Current Production Model\n- Version: {}\n", present.version));
    if let Some(span) = record.deployed(&present.version) {
        body.push_str(&format!("- Deployed: {}\n", span.since.at.date()));
    }
    let metrics = &present.content.metrics;
    let main = metric.and_then(|name| metrics.get_key_value(name));
    let others = metrics.iter().filter(|(name, _)| Some(*name) != metric);
    for (name, value) in main.into_iter().chain(others).take(METRICS_MAX) {
        body.push_str(&format!("- {}: {}\n", metric_title(name), share_or_value(name, value)));
    }
    if let Some(latency) = latency(present) {
        body.push_str(&format!("- Latency: {latency}\n"));
    }
    if let Some(owner) = &present.content.metadata.owner {
        body.push_str(&format!("- Owner: {}\n", text(owner.as_str())));
    }
    body
}

fn versions(record: &ModelRecord, metric: Option<&Key>) -> String {
    let all = record.versions();
    let heading = metric.map_or_else(|| "Metric".to_owned(), metric_title);
    let rows = all.iter().take(ROWS_MAX).map(|version| {
        let number = metric.and_then(|name| version.content.metrics.get(name));
        [
            version.version.to_string(),
            stage(version.stage).to_owned(),
            number.map_or_else(|| "–".to_owned(), value),
            record.deployed(&version.version).map_or_else(|| "–".to_owned(), |span| span.since.at.date()),
            notes(record, version),
        ]
    });
    let rows = table(["Version", "Stage", &heading, "Deployed", "Notes"], rows);
    let mut body = format!("### Version History\n{rows}");
    if let Some(rest @ 1..) = all.len().checked_sub(ROWS_MAX) {
        body.push_str(&format!("\nAnd {rest} registered before these.\n"));
    }
    body
}

/// Where a version stands, in a few words.
pub(crate) fn notes(record: &ModelRecord, version: &VersionState) -> String {
    let mut notes = Vec::new();
    let moved = record.last_move(&version.version).filter(|moved| moved.change.to == version.stage);
    let cause = moved.map(|moved| &moved.change.cause);
    match (version.stage, cause) {
        (Stage::Production, Some(StageCause::Rollback { from })) => {
            notes.push(format!("Current ✅, back after {from}"));
        }
        (Stage::Production, _) => notes.push("Current ✅".to_owned()),
        (Stage::Archived, Some(StageCause::Superseded { by })) => notes.push(format!("Replaced by {by}")),
        (Stage::Archived, Some(StageCause::RolledBack { to })) => notes.push(format!("Rolled back to {to}")),
        (Stage::Archived, _) if record.deployed(&version.version).is_some() => {
            notes.push("Retired".to_owned())
        }
        _ => {}
    }
    if let Some((_, trial)) = record.state.running_trial(&version.version) {
        notes.push(format!("On trial against {}", trial.control.version));
    }
    let waits = record.state.requests.values().find(|request| request.promotion.version == version.version);
    if let Some(request) = waits {
        notes.push(format!("Waits for approval to enter {}", request.promotion.to));
    }
    if let Some(deprecation) = &version.deprecated {
        let end = deprecation.end_of_life.map(|end| format!(", end of life {}", end.date()));
        notes.push(format!("Deprecated{}", end.unwrap_or_default()));
    }
    if version.quarantined.is_some() {
        notes.push("Quarantined".to_owned());
    }
    if version.deleted.is_some() {
        notes.push("Deleted".to_owned());
    }
    notes.join("; ")
}

fn rollback(record: &ModelRecord) -> String {
    let Some(present) = record.production() else { return String::new() };
    let number = &present.version;
    let first = match record.state.rollback_outlook() {
        Some(outlook) => {
            let to = &outlook.to;
            match outlook.safe {
                Some(true) => format!("Rollback to {to} (safe: clients of {number} keep working)"),
                Some(false) => format!(
                    "Rollback to {to} would break clients of {number}, and has to be forced: {}",
                    breaking(&outlook.findings)
                ),
                None => format!(
                    "Rollback to {to} (whether clients of {number} keep working is not known: a signature is missing)"
                ),
            }
        }
        None => "There is no version to go back to: none that was in production before can take its place"
            .to_owned(),
    };
    let mut body = format!(
        "### Rollback Plan\nIf {number} issues detected:\n1. {first}\n2. Investigate issue in staging\n"
    );
    if let Some(fix) = next_patch(record, number) {
        body.push_str(&format!("3. Deploy fix as {fix}\n"));
    }
    body
}

/// What breaks, in short.
fn breaking(findings: &[Finding]) -> String {
    const FINDINGS_MAX: usize = 5;
    let breaking = findings.iter().filter(|finding| finding.required == Bump::Major);
    let told =
        breaking.clone().take(FINDINGS_MAX).map(|finding| format!("{} {}", code(&finding.path), finding.id));
    let mut told: Vec<String> = told.collect();
    if let Some(rest @ 1..) = breaking.count().checked_sub(FINDINGS_MAX) {
        told.push(format!("{rest} more"));
    }
    told.join(", ")
}

/// The next patch number that was never used.
fn next_patch(record: &ModelRecord, version: &Version) -> Option<Version> {
    let numbers = std::iter::successors(version.bumped(Bump::Patch), |number| number.bumped(Bump::Patch));
    numbers.take(PATCHES_MAX).find(|number| record.state.version(number).is_none())
}

fn requests(record: &ModelRecord) -> String {
    if record.state.requests.is_empty() {
        return String::new();
    }
    let lines = record.state.requests.iter().map(|(revision, request)| request_line(*revision, request));
    format!("### Open Requests\n{}", lines.collect::<String>())
}

fn request_line(revision: Revision, request: &ApprovalRequest) -> String {
    let promotion = &request.promotion;
    let approved = u32::try_from(request.approvals().count()).unwrap_or(u32::MAX);
    let missing = promotion.rule.quorum.get().saturating_sub(approved);
    let mut line = format!(
        "- {} from {} to {}: asked for by {} on {} (request {revision}); {approved} of {} approvals",
        promotion.version,
        promotion.from,
        promotion.to,
        text(request.requested.actor.as_str()),
        request.requested.at.date(),
        approved.saturating_add(missing)
    );
    let approvers = listed(request.approvals().map(|decision| text(decision.actor.as_str())));
    if !approvers.is_empty() {
        line.push_str(&format!(", by {approvers}"));
    }
    for objection in request.objections() {
        line.push_str(&format!("; {} objects", text(objection.actor.as_str())));
        if let Some(comment) = &objection.comment {
            line.push_str(&format!(": {}", short(comment.as_str())));
        }
    }
    if let Some(end) = promotion.expires_at {
        line.push_str(&format!("; lapses on {}", end.date()));
    }
    if let Some(reason) = &request.requested.reason {
        line.push_str(&format!(". Reason: {}", short(reason.as_str())));
    }
    line + "\n"
}

fn trials(record: &ModelRecord) -> String {
    if record.state.trials.is_empty() {
        return String::new();
    }
    let lines = record.state.trials.iter().map(|(revision, trial)| trial_line(*revision, trial));
    format!("### Running Trials\n{}", lines.collect::<String>())
}

fn trial_line(revision: Revision, trial: &Trial) -> String {
    let plan = &trial.plan;
    format!(
        "- {} against {} in {}, with {} of its requests, measured by {} (trial {revision}, started by {} on {})\n",
        trial.treatment.version,
        trial.control.version,
        plan.stage,
        plan.share,
        code(plan.measure.name.as_str()),
        text(trial.started.actor.as_str()),
        trial.started.at.date()
    )
}

fn approvals(record: &ModelRecord) -> String {
    let rows: Vec<[String; 6]> = record.moves.iter().rev().flat_map(approval_rows).take(ROWS_MAX).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "### Approvals\n{}",
        table(["Version", "Stage", "Approved by", "Meaning", "When", "Comment"], rows)
    )
}

fn approval_rows(moved: &Move) -> Vec<[String; 6]> {
    let StageCause::Promotion { approvals, .. } = &moved.change.cause else { return Vec::new() };
    let version = moved.change.version.to_string();
    let to = stage(moved.change.to).to_owned();
    let mut rows: Vec<[String; 6]> = Vec::new();
    if moved.is_override {
        let who = format!("Emergency, by {}", text(moved.stamp.actor.as_str()));
        let why = short_or_nothing(moved.stamp.reason.as_ref());
        rows.push([version.clone(), to.clone(), who, String::new(), moved.stamp.at.date(), why]);
    }
    rows.extend(approvals.iter().map(|approval| {
        [
            version.clone(),
            to.clone(),
            text(approval.actor.as_str()),
            short_or_nothing(approval.meaning.as_ref()),
            approval.at.date(),
            short_or_nothing(approval.comment.as_ref()),
        ]
    }));
    rows
}

fn deprecations(record: &ModelRecord) -> String {
    let deprecated =
        record.versions().into_iter().filter_map(|version| Some((version, version.deprecated.as_ref()?)));
    let rows: Vec<[String; 5]> = deprecated
        .take(ROWS_MAX)
        .map(|(version, deprecation)| {
            [
                version.version.to_string(),
                format!("{}, by {}", deprecation.since.at.date(), text(deprecation.since.actor.as_str())),
                short_or_nothing(deprecation.since.reason.as_ref()),
                deprecation.superseded_by.as_ref().map(ToString::to_string).unwrap_or_default(),
                deprecation.end_of_life.map(|end| end.date()).unwrap_or_default(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("### Deprecations\n{}", table(["Version", "Since", "Reason", "Use instead", "End of life"], rows))
}
