//! Why this exists: a log is read by people who were not there. Here every event becomes a sentence,
//! and every time, size and number takes the one form it has for people. Programs read `view.rs`.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::event::{
    AbortCause, ApprovedMove, ClosedCause, Origin, RefusedCause, StageCause, StageChanged, VersionRegistered,
};
use registry_core::experiment::{MetricPoint, ParamValue};
use registry_core::lineage::Link;
use registry_core::state::Stamp;
use registry_core::trial::{Arms, Judgement, PlannedEnd, Undecided};
use registry_core::{
    Event, Finite, Key, PolicyChange, Revision, Stage, StageRule, Tags, Tally, Timestamp, TrialPlan, Version,
};

use crate::output::one_line;

/// What requests for promotion and trials were about, by their revision, since what follows names only that.
pub(crate) type Requests = BTreeMap<Revision, (Version, Stage)>;

/// An instant, to the second, in UTC: `2024-01-15 10:30:00Z`.
pub(crate) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split('.').next().unwrap_or(&text);
    format!("{}Z", seconds.replacen('T', " ", 1))
}

/// `2024-01-15 10:30:00Z by ada@host`, and why.
pub(crate) fn stamp(stamp: &Stamp) -> String {
    let reason = stamp.reason.as_ref().map(|reason| format!(": {}", one_line(reason.as_str())));
    format!("{} by {}{}", time(stamp.at), stamp.actor, reason.unwrap_or_default())
}

/// `12 MB`, in powers of ten, with at most one decimal.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10;
    let mut unit = "B";
    for next in UNITS {
        // 999.95 and more reads as the next unit.
        if tenths < 9_999 {
            break;
        }
        tenths = (tenths + 500) / 1_000;
        unit = next;
    }
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// `1 file`, `3 files`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// A number as short as it can be without loss.
pub(crate) fn number(value: Finite) -> String {
    value.get().to_string()
}

/// `fraud, team=risk`.
pub(crate) fn tags(tags: &Tags) -> String {
    let tag = |(key, value): (&registry_core::Key, &String)| {
        if value.is_empty() { key.to_string() } else { format!("{key}={}", one_line(value)) }
    };
    tags.iter().map(tag).collect::<Vec<_>>().join(", ")
}

/// `a, b and c`.
pub(crate) fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.pop() {
        None => String::new(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
    }
}

/// `30 d`, `12 h`, `90 s`: the largest unit that goes into it.
pub(crate) fn seconds(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        days if days % 86_400 == 0 => format!("{} d", days / 86_400),
        hours if hours % 3_600 == 0 => format!("{} h", hours / 3_600),
        minutes if minutes % 60 == 0 => format!("{} min", minutes / 60),
        other => format!("{other} s"),
    }
}

/// What a stage demands.
pub(crate) fn stage_rule(of: &StageRule) -> String {
    one_line(&of.to_string())
}

/// `10%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", rounded(share * 100.0))
}

/// A number with six decimals at most.
pub(crate) fn rounded(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `p = 0.0123`.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

/// When a trial ends.
pub(crate) fn planned_end(end: PlannedEnd) -> String {
    let duration = end.duration_seconds().map(|duration| format!("{} have passed", seconds(duration)));
    let samples = end.samples_per_arm().map(|samples| format!("each arm has {samples} samples"));
    listed(duration.into_iter().chain(samples))
}

/// What was counted in both arms: `control 913/90000 (0.010144), treatment 98/10000 (0.0098)`.
pub(crate) fn tally(tally: &Tally) -> String {
    let arms = match tally {
        Tally::Proportion(Arms { control, treatment }) => [control, treatment].map(|counts| {
            let share = counts.share().map(|share| format!(" ({})", rounded(share))).unwrap_or_default();
            format!("{}/{}{share}", counts.successes(), counts.trials())
        }),
        Tally::Score(Arms { control, treatment }) => [control, treatment].map(|moments| {
            let mean = moments.mean().map(|mean| format!(", mean {}", rounded(mean))).unwrap_or_default();
            format!("{}{mean}", count(moments.count(), "sample", "samples"))
        }),
    };
    let [control, treatment] = arms;
    format!("control {control}, treatment {treatment}")
}

fn judgement(judgement: &Judgement) -> String {
    let why = judgement.undecided.map(|why| format!(", for {}", why_undecided(why))).unwrap_or_default();
    format!("{}{why}", judgement.verdict.as_str())
}

fn why_undecided(why: Undecided) -> &'static str {
    match why {
        Undecided::StoppedEarly => "it was stopped before its planned end",
        other => other.as_str(),
    }
}

/// An event as a sentence without its subject: `archived v3.0.0, superseded by v3.1.0`.
pub(crate) fn sentence(event: &Event, requests: &Requests) -> String {
    let asked = |request: &Revision| match requests.get(request) {
        Some((version, to)) => format!("{version} for {to} (request {request})"),
        None => format!("request {request}"),
    };
    let tried = |trial: &Revision| match requests.get(trial) {
        Some((version, stage)) => format!("{version} in {stage} (trial {trial})"),
        None => format!("trial {trial}"),
    };
    let remark = |comment: &Option<registry_core::Text>| {
        comment.as_ref().map(|text| format!(": {}", one_line(text.as_str()))).unwrap_or_default()
    };
    match event {
        Event::VersionRegistered(registered) => registration(registered),
        Event::StageChanged(change) => stage_change(change),
        Event::PromotionRequested(promotion) => {
            let needed = count(u64::from(promotion.rule.quorum.get()), "approval", "approvals");
            let by_choice = if promotion.by_choice { ", by choice" } else { "" };
            format!(
                "asked to promote {} from {} to {}: {needed} needed{by_choice}",
                promotion.version, promotion.from, promotion.to
            )
        }
        Event::PromotionApproved { request, meaning, comment } => {
            let meaning = meaning.as_ref().map(|text| format!(" as {}", one_line(text.as_str())));
            format!("approved {}{}{}", asked(request), meaning.unwrap_or_default(), remark(comment))
        }
        Event::PromotionRejected { request, comment } => {
            format!("objected to {}{}", asked(request), remark(comment))
        }
        Event::ApprovalRefused { request, cause } => {
            let why = match cause {
                RefusedCause::Registrant => "registered the version",
                RefusedCause::Requester => "asked for the promotion",
                _ => "is not an approver",
            };
            format!("tried to approve {}, refused: {why}", asked(request))
        }
        Event::DecisionWithdrawn { request } => format!("took back the decision on {}", asked(request)),
        Event::PromotionClosed { request, cause } => {
            let because = match cause {
                ClosedCause::Withdrawn => "withdrawn",
                ClosedCause::Expired => "its time ran out",
                _ => "no longer valid",
            };
            format!("closed the request to promote {}: {because}", asked(request))
        }
        Event::ApprovalOverridden { version, to, .. } => {
            format!("bypassed the approval of {version} for {to} in an emergency")
        }
        Event::GatesOverridden { version, to, failed } => {
            let gates: Vec<String> = failed.iter().map(|result| one_line(&result.gate.to_string())).collect();
            format!("bypassed gates of {to} for {version} in an emergency: {}", gates.join("; "))
        }
        Event::TrialStarted(started) => {
            let (treatment, control) = (&started.treatment.version, &started.control.version);
            let TrialPlan { stage, share, measure, .. } = &started.plan;
            format!(
                "began to try {treatment} against {control} in {stage}, with {share} of its requests, by {}",
                measure.name
            )
        }
        Event::TrialObserved { trial, observed } => {
            format!("counted for the trial of {}: {}", tried(trial), tally(observed))
        }
        Event::TrialLooked { trial, judgement: seen } => {
            let (look, looks) = (seen.look, seen.looks);
            format!(
                "looked at the trial of {}, {look} of {looks}: {}; it goes on",
                tried(trial),
                judgement(seen)
            )
        }
        Event::TrialConcluded { trial, judgement: seen } => {
            format!("concluded the trial of {}: {}", tried(trial), judgement(seen))
        }
        Event::TrialAborted { trial, cause } => match cause {
            AbortCause::Displaced { version } => {
                format!("ended the trial of {}, since {version} left its place", tried(trial))
            }
            _ => format!("ended the trial of {}", tried(trial)),
        },
        Event::RolledBack(done) => {
            let forced = if done.forced { ", by force although clients break" } else { "" };
            let why = done
                .broken_rule
                .as_ref()
                .map(|broken| format!(", since the rule {} was broken", broken.name));
            format!("rolled back from {} to {}{forced}{}", done.from, done.to, why.unwrap_or_default())
        }
        Event::Quarantined { version } => format!("quarantined {version}"),
        Event::QuarantineLifted { version } => format!("lifted the quarantine of {version}"),
        Event::Deprecated { version, superseded_by, end_of_life } => {
            let mut text = format!("deprecated {version}");
            if let Some(successor) = superseded_by {
                text.push_str(&format!(", superseded by {successor}"));
            }
            if let Some(end) = end_of_life {
                text.push_str(&format!(", end of life {}", end.date()));
            }
            text
        }
        Event::DeprecationLifted { version } => format!("lifted the deprecation of {version}"),
        Event::VersionDeleted { version } => format!("deleted {version}"),
        Event::VersionRestored { version } => format!("undeleted {version}"),
        Event::AliasSet { alias, version, previous: None } => format!("pointed alias {alias} to {version}"),
        Event::AliasSet { alias, version, previous: Some(previous) } => {
            format!("pointed alias {alias} to {version} (was {previous})")
        }
        Event::AliasRemoved { alias, previous } => format!("removed alias {alias} (was {previous})"),
        Event::TagsChanged { version, set, removed } => {
            let of = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let mut parts = Vec::new();
            if !set.is_empty() {
                parts.push(format!("tagged{of} {}", tags(set)));
            }
            if !removed.is_empty() {
                parts.push(format!(
                    "removed from{} tags {}",
                    if of.is_empty() { " the" } else { &of },
                    listed(removed)
                ));
            }
            parts.join("; ")
        }
        Event::DescriptionChanged { version, description } => {
            let of = version.as_ref().map_or_else(|| "the model".to_owned(), ToString::to_string);
            match description {
                Some(text) => format!("described {of}: {}", one_line(text.as_str())),
                None => format!("removed the description of {of}"),
            }
        }
        Event::Amended(amended) => {
            let mut parts = Vec::new();
            if amended.metadata != registry_core::Metadata::default() {
                parts.push("metadata".to_owned());
            }
            if !amended.metrics.is_empty() {
                parts.push(format!("metrics {}", listed(amended.metrics.keys())));
            }
            if amended.deployment != registry_core::Deployment::default() {
                parts.push("deployment figures".to_owned());
            }
            parts.extend(amended.links.iter().map(link));
            format!("amended {}: {}", amended.version, parts.join("; "))
        }
        Event::HealthReported { summaries } => {
            let many = u64::try_from(summaries.len()).unwrap_or(u64::MAX);
            format!("reported {}", count(many, "summary of observations", "summaries of observations"))
        }
        Event::PolicyChanged { change } => policy_change(change),
        Event::FilesFound(found) => {
            let many = count(u64::try_from(found.artifacts.len()).unwrap_or(u64::MAX), "file", "files");
            format!("recorded the files of {}: {many}, {}", found.version, bytes(found.artifacts.size()))
        }
        Event::Copied(copied) => {
            format!("copied {} to {}, revision {} there", copied.version, copied.to, copied.revision)
        }
        Event::Adopted(adopted) => {
            let who = adopted.by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
            let when = adopted.at.map(|at| format!(" on {}", time(at))).unwrap_or_default();
            format!("in {}{who}{when}: {}", adopted.system, sentence(&adopted.change, requests))
        }
        Event::RunStarted(started) => {
            let mut text = "began a run".to_owned();
            if let Some(increment) = &started.increment {
                text.push_str(&format!(" for increment {}", one_line(increment.as_str())));
            }
            if !started.params.is_empty() {
                text.push_str(&format!(" with {}", params(&started.params)));
            }
            text
        }
        Event::RunParamsLogged { run, params: logged } => format!("run {run}: set {}", params(logged)),
        Event::RunMetricsLogged { run, points } => logged(*run, points),
        Event::RunArtifactsNoted { run, artifacts } => {
            let many = count(u64::try_from(artifacts.len()).unwrap_or(u64::MAX), "file", "files");
            format!("run {run}: stored {many}, {}", bytes(artifacts.size()))
        }
        Event::RunContinued { run } => format!("run {run} goes on"),
        Event::RunRegistered { run, version, .. } => format!("registered {version} out of run {run}"),
        Event::RunEnded { run, outcome } => {
            let why = outcome.reason().map(|reason| format!(": {}", one_line(reason.as_str())));
            format!("run {run} {outcome}{}", why.unwrap_or_default())
        }
        other => other.kind().replace('_', " "),
    }
}

/// `run 17: logged 3 values of accuracy and loss`.
pub(crate) fn logged(run: Revision, points: &[MetricPoint]) -> String {
    let metrics: BTreeSet<&Key> = points.iter().map(|point| &point.metric).collect();
    let many = count(u64::try_from(points.len()).unwrap_or(u64::MAX), "value", "values");
    format!("run {run}: logged {many} of {}", listed(metrics))
}

fn params(params: &BTreeMap<Key, ParamValue>) -> String {
    let param = |(name, value): (&Key, &ParamValue)| one_line(&format!("{name}={value}"));
    params.iter().map(param).collect::<Vec<_>>().join(", ")
}

/// `dev, revision 4 there, by ada@host; approved for production by bob and carol`.
pub(crate) fn origin(origin: &Origin) -> String {
    let mut text =
        format!("{}, revision {} there, by {}", origin.environment, origin.revision, origin.registered_by);
    for ApprovedMove { to, approvals, .. } in &origin.approved {
        let people = listed(approvals.iter().map(|approval| &approval.actor));
        text.push_str(&format!("; approved for {to} by {people}"));
    }
    text
}

/// One fact of where a version comes from.
pub(crate) fn link(link: &Link) -> String {
    match link {
        Link::Input { kind, id, version, .. } => {
            let version = version.as_ref().map(|version| format!(":{version}")).unwrap_or_default();
            one_line(&format!("made with {}:{id}{version}", kind.as_str()))
        }
        Link::DerivedFrom { model, how } => format!("{} from {model}", how.as_str()),
        Link::Evaluation { id, .. } => one_line(&format!("evaluated by {id}")),
        _ => "a link".to_owned(),
    }
}

fn registration(registered: &VersionRegistered) -> String {
    let files = &registered.content.artifacts;
    let mut text = format!("registered {}", registered.version);
    if !files.is_empty() {
        let many = count(u64::try_from(files.len()).unwrap_or(u64::MAX), "file", "files");
        text.push_str(&format!(", {many}, {}", bytes(files.size())));
    }
    if let Some(first) = registered.origins.first() {
        text.push_str(&format!(", from {}", origin(first)));
    }
    if let Some(baseline) = &registered.numbering.baseline {
        match registered.numbering.required {
            Some(bump) => text.push_str(&format!("; against {baseline} the changes are {bump}")),
            None => text
                .push_str(&format!("; against {baseline} the changes are not known: a signature is missing")),
        }
    }
    if let Some(reason) = &registered.numbering.overridden {
        text.push_str(&format!("; a smaller step was allowed: {}", one_line(reason.as_str())));
    }
    text
}

fn stage_change(change: &StageChanged) -> String {
    let StageChanged { version, from, to, cause, .. } = change;
    match cause {
        StageCause::Superseded { by } => format!("archived {version}, superseded by {by}"),
        StageCause::RolledBack { .. } => format!("took {version} out of production"),
        StageCause::Rollback { .. } => format!("put {version} back into production"),
        StageCause::Foreign => format!("moved {version} from {from} to {to}"),
        StageCause::Promotion { approvals, .. } => {
            let verb = match to {
                Stage::Archived => format!("archived {version} (was in {from})"),
                Stage::Staging | Stage::Production if from < to => {
                    format!("promoted {version} from {from} to {to}")
                }
                _ => format!("moved {version} from {from} to {to}"),
            };
            if approvals.is_empty() {
                return verb;
            }
            format!("{verb}, approved by {}", listed(approvals.iter().map(|approval| &approval.actor)))
        }
        _ => format!("moved {version} from {from} to {to}"),
    }
}

fn policy_change(change: &PolicyChange) -> String {
    match change {
        PolicyChange::StageRule { stage, rule: Some(rule) } => {
            format!("set the rule for {stage}: {}", stage_rule(rule))
        }
        PolicyChange::StageRule { stage, rule: None } => format!("removed the rule for {stage}"),
        PolicyChange::Transitions { table: Some(table) } => {
            format!("set the moves between stages: {table}")
        }
        PolicyChange::MonitorRule { name, rule: Some(rule) } => {
            one_line(&format!("set the rule {name}: {rule}"))
        }
        PolicyChange::MonitorRule { name, rule: None } => format!("removed the rule {name}"),
        PolicyChange::Transitions { table: None } => "reset the moves between stages".to_owned(),
        _ => "changed a policy".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_one_decimal() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (1_050, "1.1 kB"),
            (12_000_000, "12 MB"),
            (999_999, "1 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn times_are_to_the_second() {
        assert_eq!(time("2024-01-15T10:30:00.123456Z".parse().unwrap()), "2024-01-15 10:30:00Z");
    }

    #[test]
    fn lists_read_like_prose() {
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(["a"]), "a");
    }

    #[test]
    fn durations_take_the_largest_unit() {
        assert_eq!([seconds(2_592_000), seconds(5_400), seconds(61)], ["30 d", "90 min", "61 s"]);
    }
}
