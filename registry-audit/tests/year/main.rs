//! A scripted year, and its report: held row by row against what somebody computes from the stored bytes who knows nothing
//! of the library; for the whole year and for parts of it; and in every form.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod forms;
mod reference;
mod script;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proptest::prelude::*;
use registry_audit::{AuditOptions, AuditReport, Range, audit, policies};
use registry_core::storage::ArtifactStore as _;
use registry_core::{Registry, RegistryExt as _, Revision, Stream, Timestamp};
use serde_json::{Value, json};

use reference::{Asked, Raw};
use script::{Year, day, model, year};

const MODELS: [&str; 3] = ["churn", "fraud-detection", "shared"];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The year, lived once for all tests that only look at it.
fn lived() -> &'static Year {
    static YEAR: OnceLock<Year> = OnceLock::new();
    YEAR.get_or_init(|| block_on(year()))
}

fn options(from: Option<Timestamp>, to: Timestamp) -> AuditOptions {
    AuditOptions::new(day("12-31")).within(Range::new(from, to).unwrap())
}

fn report(year: &Year, options: &AuditOptions) -> AuditReport {
    block_on(audit(year.registry.as_ref(), options)).unwrap()
}

/// The stored records of a log, as they are.
fn records(year: &Year, stream: &str) -> Vec<Value> {
    let stream: Stream = stream.parse().unwrap();
    let stored = block_on(year.registry.commits().read(&stream, Revision::FIRST, 10_000)).unwrap();
    stored.iter().map(|record| serde_json::from_slice(&record.body).unwrap()).collect()
}

fn raw(year: &Year, name: &str) -> Raw {
    Raw {
        log: records(year, &format!("model/{name}")),
        health: records(year, &format!("health/{name}")),
        registry: records(year, "registry"),
    }
}

/// Rows in an order of their own, for tables whose order is for people.
fn sorted(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(Value::to_string);
    rows
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The numbers of the health rows, against the values that were observed; gives the rows without them.
fn check_numbers(year: &Year, asked: &Asked<'_>, rows: &[Value], expected: &[Value]) -> Vec<Value> {
    let mut rest = Vec::new();
    for row in rows {
        let spans: Vec<&Value> = expected
            .iter()
            .filter(|other| other["deployment"] == row["deployment"] && other["version"] == row["version"])
            .collect();
        // Reported a moment after its end.
        let (from, until) = (row["from"].as_str().unwrap(), day(row["until"].as_str().unwrap()));
        let last = until.saturating_add(Duration::from_secs(1)).to_string();
        let covered = |at: &str| from < at && at <= last.as_str();
        let values: Vec<f64> = year
            .observed
            .iter()
            .filter(|seen| {
                let at = seen.reported_at.to_string();
                row["version"] == seen.version.as_str()
                    && row["metric"] == seen.metric.as_str()
                    && covered(&at)
                    && asked.from <= at.as_str()
                    && at.as_str() < asked.to
                    && seen.value.is_finite()
            })
            .map(|seen| seen.value)
            .collect();
        assert!(!spans.is_empty() && !values.is_empty(), "{row}");
        #[expect(clippy::cast_precision_loss, reason = "a handful of values")]
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut ordered = values.clone();
        ordered.sort_by(f64::total_cmp);
        let number = |field: &str| row[field].as_f64().unwrap();
        assert_eq!(row["count"], values.len());
        assert!((number("mean") - mean).abs() < 1e-9 * mean, "{row}");
        assert_eq!([number("min"), number("max")], [ordered[0], ordered[ordered.len() - 1]]);
        // The value at the place 0.95 (n - 1), as the sketches count, known to 1 %.
        let p95 = ordered[(ordered.len() * 95).div_ceil(100) - 1];
        assert!((number("p95") - p95).abs() <= 0.01 * p95, "{row}, of {ordered:?}");
        let mut row = row.clone();
        for field in ["mean", "min", "max", "p95"] {
            row.as_object_mut().unwrap().remove(field);
        }
        rest.push(row);
    }
    rest
}

/// Every table of the report, against the reference. Gives how many rows were compared.
fn compare(year: &Year, from: Option<Timestamp>, to: Timestamp, bytes: bool) -> BTreeMap<String, usize> {
    let options = AuditOptions { bytes, ..options(from, to) };
    let json: Value = serde_json::from_str(&report(year, &options).to_json()).unwrap();
    let (from, to) = (from.map(|from| from.to_string()).unwrap_or_default(), to.to_string());
    let as_of = day("12-31").to_string();
    let asked = Asked { from: &from, to: &to, as_of: &as_of, with_bytes: bytes };
    let gone = |digest: &str| block_on(year.artifacts.stat(&digest.parse().unwrap())).unwrap().is_none();
    let mut compared = BTreeMap::new();
    let mut count =
        |table: &str, rows: &[Value]| *compared.entry(table.to_owned()).or_default() += rows.len();

    let changes = reference::policy_changes(&records(year, "registry"), &asked);
    assert_eq!(list(&json["policy_changes"]), changes);
    let mut population = vec![reference::population("registry", &records(year, "registry"), &asked)];
    let names: Vec<&Value> = list(&json["models"]).iter().map(|model| &model["model"]).collect();
    assert_eq!(names, MODELS);
    for (found, overview) in list(&json["models"]).iter().zip(list(&json["overview"])) {
        let name = found["model"].as_str().unwrap();
        let raw = raw(year, name);
        let tables = reference::tables(&raw, &asked, &gone);
        for (table, expected) in &tables {
            let rows = list(&found[*table]);
            let about = format!("{table} of {name}, {from} to {to}");
            match *table {
                "health" => {
                    let rows = check_numbers(year, &asked, rows, expected);
                    assert_eq!(sorted(&rows), sorted(expected), "{about}");
                }
                "exceptions" | "data_sources" => assert_eq!(sorted(rows), sorted(expected), "{about}"),
                _ => assert_eq!(rows, expected, "{about}"),
            }
            count(table, rows);
        }
        // Nothing is in the report that nobody computed here.
        let known: Vec<&str> = tables.keys().copied().chain(["model", "description", "tags"]).collect();
        assert!(found.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())));
        for (stream, records) in [("model", &raw.log), ("health", &raw.health)] {
            let asked = Asked { with_bytes: bytes && stream == "model", ..asked };
            population.push(reference::population(&format!("{stream}/{name}"), records, &asked));
        }
        let versions = &tables["versions"];
        let production = versions.iter().find(|row| row["stage"] == "production");
        assert_eq!(
            *overview,
            json!({
                "model": name, "purpose": found["description"], "versions": versions.len(),
                "production": production.map(|row| &row["version"]), "owner": production.map(|row| &row["owner"]),
                "deployments": tables["deployments"].len(), "rollbacks": tables["rollbacks"].len(),
                "exceptions": tables["exceptions"].len(), "is_sound": true,
            })
        );
    }
    population.push(reference::population("experiment/trees", &records(year, "experiment/trees"), &asked));
    let population: Vec<Value> = population.into_iter().flatten().collect();
    assert_eq!(list(&json["population"]), population);
    assert_eq!(json["flaws"], json!([]));
    assert_eq!(json["is_sound"], true);
    let commits: usize =
        population.iter().map(|row| usize::try_from(row["commits"].as_u64().unwrap()).unwrap()).sum();
    assert_eq!(json["commits"], commits);
    assert_eq!(json["oldest_commit"], "2024-01-02T09:00:00.000000Z");
    assert_eq!(json["days_kept"], 364);
    compared
}

#[test]
fn every_row_of_the_year_is_what_the_stored_bytes_say() {
    let compared = compare(lived(), None, day("2025-01-01T00:00:00Z"), true);
    // A year in which a table stays empty would prove nothing about it.
    for (table, rows) in &compared {
        assert!(0 < *rows, "nothing of {table} happens in the year");
    }
    let kinds = |table: &str, column: &str| -> Vec<String> {
        let report = report(lived(), &AuditOptions::new(day("12-31")));
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        let rows: Vec<&Value> = list(&json["models"]).iter().flat_map(|model| list(&model[table])).collect();
        let kinds: std::collections::BTreeSet<String> =
            rows.iter().map(|row| row[column].as_str().unwrap().to_owned()).collect();
        kinds.into_iter().collect()
    };
    assert_eq!(
        kinds("exceptions", "kind"),
        [
            "approval_attempt",
            "approval_overridden",
            "decision_withdrawn",
            "forced_rollback",
            "foreign_change",
            "gates_overridden",
            "not_approved",
            "not_signed",
            "objection",
            "request_expired",
            "request_void",
            "request_withdrawn",
            "self_approval_attempt",
            "smaller_step",
        ],
        "all that does not need damage"
    );
    assert_eq!(kinds("checkpoints", "result"), ["failed", "not_demanded", "passed", "unknown"]);
    assert_eq!(kinds("deployments", "cause"), ["foreign", "promotion", "rollback"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Ranges that begin and end anywhere, often exactly when something happens.
    #[test]
    fn every_part_of_the_year_is_what_the_stored_bytes_say(
        ends in (0..2_usize).prop_flat_map(|exact| {
            let instant = move || {
                let times = times();
                let anywhere = (1_704_000_000_000_000_i64..1_736_000_000_000_000).boxed();
                let exactly = prop::sample::select(times).boxed();
                if exact == 0 { anywhere } else { exactly }
            };
            (prop::option::weighted(0.8, instant()), instant())
        }),
    ) {
        let instant = |us: i64| Timestamp::from_microseconds(us).unwrap();
        let (from, to) = (ends.0.map(instant), instant(ends.1));
        match from {
            Some(from) if from == to => assert!(Range::new(Some(from), to).is_err()),
            Some(from) if to < from => drop(compare(lived(), Some(to), from, false)),
            from => drop(compare(lived(), from, to, false)),
        }
    }
}

/// When commits were made, in microseconds.
fn times() -> Vec<i64> {
    let mut times: Vec<i64> = Vec::new();
    let microseconds = |time: &Value| day(time.as_str().unwrap()).microseconds();
    for stream in MODELS.iter().flat_map(|name| [format!("model/{name}"), format!("health/{name}")]) {
        for record in records(lived(), &stream) {
            times.push(microseconds(&record["commit"]["time"]));
            let summaries =
                list(&record["commit"]["events"]).iter().filter_map(|it| it["summaries"].as_array());
            times.extend(summaries.flatten().map(|summary| microseconds(&summary["until"])));
        }
    }
    times
}

/// How many values were observed, by deployment, version and metric.
fn observed(year: &Year, range: Range) -> BTreeMap<(Option<Revision>, String, String), u64> {
    let report = report(year, &AuditOptions::new(day("12-31")).within(range));
    let rows = report.models.iter().flat_map(|model| &model.health);
    rows.map(|row| ((row.deployment, row.version.to_string(), row.metric.to_string()), row.count)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut into two wherever something happens, the year holds what it holds.
    #[test]
    fn what_was_observed_in_adjacent_ranges_adds_up(cut in prop::sample::select(times())) {
        let (cut, end) = (Timestamp::from_microseconds(cut).unwrap(), day("2025-01-01T00:00:00Z"));
        let mut both = observed(lived(), Range::new(None, cut).unwrap());
        for (place, count) in observed(lived(), Range::new(Some(cut), end).unwrap()) {
            *both.entry(place).or_default() += count;
        }
        prop_assert_eq!(both, observed(lived(), Range::new(None, end).unwrap()));
    }
}

#[test]
fn what_was_observed_around_the_end_of_a_deployment_belongs_to_it() {
    let report = report(lived(), &AuditOptions::new(day("12-31")));
    let fraud = &report.models[1];
    let out = fraud.deployments.iter().find(|row| row.version.to_string() == "v1.2.0").unwrap();
    let row = fraud.health.iter().find(|row| row.version == out.version).unwrap();
    assert!(row.from < out.until.unwrap() && out.until.unwrap() < row.until, "it straddles the end");
    assert_eq!(row.deployment, Some(out.revision));
    let outside: Vec<_> = fraud.health.iter().filter(|row| row.deployment.is_none()).collect();
    assert_eq!(outside.len(), 1, "in the trial");
    assert_eq!(outside[0].version.to_string(), "v1.1.0");
}

#[test]
fn the_same_record_gives_the_same_bytes_in_every_form() {
    let (one, two) = (lived(), block_on(year()));
    let options = AuditOptions::new(day("12-31"));
    let (a, b) = (report(one, &options), report(&two, &options));
    assert_eq!(a.to_json(), b.to_json());
    assert_eq!((a.to_markdown(), a.to_html(), a.to_csv()), (b.to_markdown(), b.to_html(), b.to_csv()));
}

#[test]
fn a_report_of_one_model_says_the_same_of_it() {
    let all = report(lived(), &AuditOptions::new(day("12-31")));
    let one = report(lived(), &AuditOptions::new(day("12-31")).of(model("fraud-detection")));
    assert_eq!(one.models, [all.models[1].clone()]);
    assert_eq!(one.overview, [all.overview[1].clone()]);
    assert_eq!(one.policy_changes, all.policy_changes);
    let unknown = AuditOptions::new(day("12-31")).of(model("nobody"));
    let refused = block_on(audit(lived().registry.as_ref(), &unknown)).unwrap_err();
    assert!(refused.to_string().contains("there is no model `nobody`"), "{refused}");
}

#[test]
fn a_request_lapses_at_the_instant_that_the_report_is_made_for() {
    let outcomes = |as_of: &str| -> Vec<&str> {
        let options = AuditOptions { as_of: day(as_of), ..options(None, day("03-15")) };
        let report = report(lived(), &options);
        report.models[1].requests.iter().map(|request| request.outcome.as_str()).collect()
    };
    assert_eq!(outcomes("03-09"), ["promoted", "open"]);
    assert_eq!(outcomes("03-11"), ["promoted", "expired"], "nobody had closed it yet, and its time was over");
}

#[test]
fn a_request_that_had_expired_stays_so_whatever_closes_it_after() {
    let within = |to: &str| report(lived(), &options(None, day(to))).models[1].clone();
    let (before, after) = (within("2024-09-01T00:00:00Z"), within("12-31"));
    let (asked, closed) = (before.requests.last().unwrap(), after.requests.last().unwrap());
    assert_eq!((asked.by.as_str(), asked.outcome.as_str()), ("dave", "expired"));
    assert_eq!(asked, closed, "the version moved after, and closed it as void");
    let kinds = |report: &registry_audit::ModelReport| -> Vec<&str> {
        let rows = report.exceptions.iter().filter(|row| row.revision == Some(asked.request));
        rows.map(|row| row.kind.as_str()).collect()
    };
    assert_eq!((kinds(&before), kinds(&after)), (vec!["request_expired"], vec!["request_expired"]));
    let voided = after.exceptions.iter().filter(|row| row.kind.as_str() == "request_void").count();
    assert_eq!(voided, 1, "the one whose rule changed while it was open");
}

#[test]
fn commits_of_a_clock_that_ran_ahead_are_counted_if_not_told() {
    let year = block_on(year());
    let audited = |year: &Year| report(year, &AuditOptions::new(day("12-31")));
    let before = audited(&year);
    assert_eq!(before.commits_after(), 0);
    let chief = registry_core::By::new("chief".parse().unwrap());
    // One commit a year ahead, and the next one, by the right clock, cannot be dated before it.
    for (now, tag) in [("2025-12-31T00:00:00Z", "ahead"), ("12-31", "in time")] {
        year.clock.set(day(now));
        let tags = [(tag.parse().unwrap(), String::new())].into();
        block_on(year.registry.change_tags(&chief, &model("churn"), None, tags, Vec::new())).unwrap();
    }
    let after = audited(&year);
    assert!(after.is_sound, "nothing is wrong with the log");
    assert_eq!(after.commits_after(), 2);
    let row = after.population.iter().find(|row| row.stream.to_string() == "model/churn").unwrap();
    assert_eq!((row.commits_after, row.commits), (2, row.commits_in_range + 2));
    assert_eq!(after.models[0].tags, before.models[0].tags, "they are in no other table");
}

#[test]
fn a_damaged_record_is_named_and_the_report_is_made_all_the_same() {
    let year = block_on(year());
    let stream: Stream = "model/fraud-detection".parse().unwrap();
    let third = Revision::new(3).unwrap();
    let stored = block_on(year.log_read(&stream, third));
    let damaged = String::from_utf8(stored.to_vec()).unwrap().replace("critical", "harmless");
    year.log.damage(&stream, third, damaged.into());
    let report = report(&year, &AuditOptions::new(day("12-31")));
    assert!(!report.is_sound);
    assert_eq!(report.flaws.len(), 1);
    assert!(report.flaws[0].problem.contains("revision 3"), "{:?}", report.flaws);
    let row = report.population.iter().find(|row| row.stream == stream).unwrap();
    assert!(!row.gap_free && !row.is_sound);
    assert_eq!(report.models[1].deployments.len(), 7, "what can be read is told");
    let sound = report.models[1].checkpoints.iter().filter(|row| row.checkpoint.as_str() == "sound_record");
    assert!(sound.into_iter().all(|row| row.result.as_str() == "failed"));
    assert!(report.models[0].checkpoints.iter().any(|row| row.result.as_str() == "passed"));
    assert!(report.to_markdown().contains("NOT SOUND: 1 flaw"));
}

/// What the checkpoints say of a deployment, in a year in which a commit of the model cannot be read.
fn checked_without(revision: u64, deployment: u64) -> BTreeMap<&'static str, (&'static str, String)> {
    let year = block_on(year());
    let stream: Stream = "model/fraud-detection".parse().unwrap();
    year.log.damage(&stream, Revision::new(revision).unwrap(), "{}".into());
    let report = report(&year, &AuditOptions::new(day("12-31")));
    let rows = report.models[1].checkpoints.iter().filter(|row| row.deployment.get() == deployment);
    rows.map(|row| (row.checkpoint.as_str(), (row.result.as_str(), row.evidence.clone()))).collect()
}

#[test]
fn nothing_passes_on_a_request_or_a_registrant_that_cannot_be_read() {
    let all = report(lived(), &AuditOptions::new(day("12-31")));
    let fraud = &all.models[1];
    let first = &fraud.deployments[0];
    let (asked, deployed) = (first.request.unwrap().get(), first.revision.get());
    let without_request = checked_without(asked, deployed);
    let unreadable = ("unknown", format!("request {asked} cannot be read"));
    for checkpoint in ["request", "segregation_of_duties", "deployment_tied_to_digest"] {
        assert_eq!(without_request[checkpoint], unreadable, "{checkpoint}");
    }
    let registered = fraud.versions.iter().find(|row| row.version == first.version).unwrap().revision.get();
    let without_registrant = checked_without(registered, deployed);
    let unregistered = ("unknown", "the commit that registered it cannot be read".to_owned());
    for checkpoint in ["segregation_of_duties", "deployment_tied_to_digest"] {
        assert_eq!(without_registrant[checkpoint], unregistered, "{checkpoint}");
    }
    assert_eq!(without_registrant["request"].0, "passed", "the request can be read");
}

#[test]
fn what_nobody_asked_for_is_tied_to_nothing() {
    let all = report(lived(), &AuditOptions::new(day("12-31")));
    for model in &all.models {
        let tied =
            model.checkpoints.iter().filter(|row| row.checkpoint.as_str() == "deployment_tied_to_digest");
        for (row, deployment) in tied.zip(&model.deployments) {
            assert_eq!(row.result.as_str() == "passed", deployment.request.is_some(), "{row:?}");
        }
    }
}

#[test]
fn bytes_that_are_lost_are_an_exception_if_they_are_looked_for() {
    let year = block_on(year());
    let state = block_on(year.registry.model(&model("fraud-detection"))).unwrap();
    let version = state.version(&"1.0.0".parse().unwrap()).unwrap();
    year.artifacts.damage(&version.content.artifacts.iter().next().unwrap().digest, None);
    let options = AuditOptions::new(day("12-31"));
    assert!(report(&year, &options).is_sound, "nobody looked");
    let report = report(&year, &AuditOptions { bytes: true, ..options });
    assert!(!report.is_sound);
    let missing: Vec<_> =
        report.models[1].exceptions.iter().filter(|row| row.kind.as_str() == "bytes_missing").collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].version, Some(version.version.clone()));
    let failed = report.models[1]
        .checkpoints
        .iter()
        .filter(|row| row.checkpoint.as_str() == "sound_record" && row.result.as_str() == "failed");
    assert!(failed.into_iter().all(|row| row.version == version.version));
}

#[test]
fn rules_are_told_with_whoever_set_them() {
    let found = block_on(policies(lived().registry.as_ref(), None)).unwrap();
    assert_eq!(found.models.len(), 3);
    insta::assert_snapshot!("policies", found.to_markdown());
    let one = block_on(policies(lived().registry.as_ref(), Some(&model("churn")))).unwrap();
    assert_eq!(one.models, [found.models[0].clone()]);
    let set = one.models[0].rules.iter().find(|rule| rule.subject == "production").unwrap();
    assert_eq!((set.source.as_str(), set.rule.as_str()), ("model", "no approval"));
    assert!(block_on(policies(lived().registry.as_ref(), Some(&model("nobody")))).is_err());
}

impl Year {
    /// The stored bytes of a record.
    async fn log_read(&self, stream: &Stream, revision: Revision) -> bytes::Bytes {
        let stored = self.registry.commits().read(stream, revision, 1).await.unwrap();
        stored[0].body.clone()
    }
}

/// A registry that is only looked at.
fn registry() -> Arc<dyn Registry> {
    lived().registry.clone()
}
