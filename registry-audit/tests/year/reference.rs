//! The tables of a report, computed once more by somebody who knows nothing of the library: from the stored bytes, as JSON,
//! with lists and loops. Instants are compared as the texts that they are written as.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What is asked for: the model, the beginning, the end, and the instant of the report.
pub(crate) struct Asked<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) as_of: &'a str,
    pub(crate) with_bytes: bool,
}

/// The stored records of a model, and of the registry.
pub(crate) struct Raw {
    pub(crate) log: Vec<Value>,
    pub(crate) health: Vec<Value>,
    pub(crate) registry: Vec<Value>,
}

/// Something that happened: by whom, when, in which commit, and what.
#[derive(Clone)]
struct Happened {
    at: String,
    revision: u64,
    by: String,
    reason: Value,
    what: Value,
    adopted: Option<Value>,
    commit: Value,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn happened(records: &[Value], to: &str) -> Vec<Happened> {
    let mut all = Vec::new();
    for record in records {
        let commit = &record["commit"];
        if text(&commit["time"]).as_str() >= to {
            continue;
        }
        for event in list(&commit["events"]) {
            let adopted = (event["event"] == "adopted").then(|| event.clone());
            let what = if adopted.is_some() { event["change"].clone() } else { event.clone() };
            let by = match &adopted {
                Some(adopted) if adopted["by"].is_string() => text(&adopted["by"]),
                Some(adopted) => text(&adopted["system"]),
                None => text(&commit["actor"]),
            };
            all.push(Happened {
                at: text(&commit["time"]),
                revision: commit["revision"].as_u64().unwrap(),
                by,
                reason: commit["reason"].clone(),
                what,
                adopted,
                commit: commit.clone(),
            });
        }
    }
    all
}

fn of_kind<'a>(all: &'a [Happened], kind: &'a str) -> impl Iterator<Item = &'a Happened> {
    all.iter().filter(move |it| it.what["event"] == kind)
}

/// How many findings there are, in words.
fn findings(value: &Value) -> String {
    match list(value).len() {
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    }
}

/// A version as three numbers, for sorting.
fn numbers(version: &str) -> Vec<u64> {
    version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap()).collect()
}

fn approval_text(rule: &Value) -> String {
    if !rule.is_object() {
        return "no approval".to_owned();
    }
    let quorum = rule["quorum"].as_u64().unwrap_or(1);
    let mut words = format!("{quorum} {}", if quorum == 1 { "approval" } else { "approvals" });
    let people: Vec<String> = list(&rule["approvers"]).iter().map(text).collect();
    words += &if people.is_empty() { " by anyone".to_owned() } else { format!(" by {}", people.join(", ")) };
    assert!(rule["registrant_may_approve"] != true && rule["requester_may_approve"] != true);
    words += "; not by whoever registered it or asked for it";
    if let Some(seconds) = rule["expires_after_seconds"].as_u64() {
        words += &format!("; expires after {} d", seconds / 86_400);
    }
    words
}

fn gate_text(gate: &Value) -> String {
    match gate["gate"].as_str().unwrap() {
        "metric" => format!("{} at least {}", text(&gate["name"]), gate["at_least"]),
        "compatible" => "compatible".to_owned(),
        other => panic!("no words for {other}"),
    }
}

fn stage_rule_text(rule: &Value) -> Value {
    if rule.is_null() {
        return Value::Null;
    }
    let gates: Vec<String> = list(&rule["gates"]).iter().map(gate_text).collect();
    let gates = if gates.is_empty() { String::new() } else { format!("; gates: {}", gates.join("; ")) };
    format!("{}{gates}", approval_text(&rule["approval"])).into()
}

fn moves_text(table: &Value) -> Value {
    if table.is_null() {
        return Value::Null;
    }
    let mut by_stage: Vec<(String, Vec<String>)> = Vec::new();
    for pair in list(table) {
        let (from, to) = (text(&pair[0]), text(&pair[1]));
        match by_stage.last_mut().filter(|(stage, _)| *stage == from) {
            Some((_, targets)) => targets.push(to),
            None => by_stage.push((from, vec![to])),
        }
    }
    let stages: Vec<String> =
        by_stage.iter().map(|(from, targets)| format!("{from} → {}", targets.join(", "))).collect();
    stages.join("; ").into()
}

fn monitor_text(rule: &Value) -> Value {
    if rule.is_null() {
        return Value::Null;
    }
    let above = rule["fails_if"]["above"].as_f64().unwrap();
    format!(
        "roll back if {} of {} is above {above} over 24h",
        text(&rule["aggregate"]),
        text(&rule["metric"])
    )
    .into()
}

/// What a change is about, and what it says from then on.
fn change_words(change: &Value) -> (String, Value) {
    match change["kind"].as_str().unwrap() {
        "stage_rule" => (text(&change["stage"]), stage_rule_text(&change["rule"])),
        "transitions" => ("moves between stages".to_owned(), moves_text(&change["table"])),
        "monitor_rule" => (format!("rule {}", text(&change["name"])), monitor_text(&change["rule"])),
        other => panic!("no words for {other}"),
    }
}

pub(crate) fn policy_changes(records: &[Value], asked: &Asked<'_>) -> Vec<Value> {
    let all = happened(records, asked.to);
    let mut rows = Vec::new();
    for it in of_kind(&all, "policy_changed") {
        let (subject, after) = change_words(&it.what["change"]);
        let earlier = of_kind(&all, "policy_changed")
            .filter(|other| other.revision < it.revision)
            .map(|other| change_words(&other.what["change"]))
            .filter(|(about, _)| *about == subject);
        let before = earlier.last().map_or(Value::Null, |(_, said)| said);
        if it.at.as_str() >= asked.from {
            rows.push(json!({
                "at": it.at, "revision": it.revision, "by": it.by, "reason": it.reason,
                "subject": subject, "before": before, "after": after,
            }));
        }
    }
    rows
}

/// A stretch in production.
#[derive(Clone)]
struct Stretch {
    entry: Happened,
    version: String,
    until: Option<String>,
}

fn stretches(all: &[Happened]) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    for it in of_kind(all, "stage_changed") {
        let concerns = it.what["from"] == "production" || it.what["to"] == "production";
        if let Some(last) = found.last_mut().filter(|_| concerns) {
            last.until.get_or_insert(it.at.clone());
        }
        if it.what["to"] == "production" {
            found.push(Stretch { entry: it.clone(), version: text(&it.what["version"]), until: None });
        }
    }
    found
}

fn shown(all: &[Happened], asked: &Asked<'_>) -> Vec<Stretch> {
    stretches(all)
        .into_iter()
        .filter(|stretch| stretch.until.as_ref().is_none_or(|until| until.as_str() > asked.from))
        .collect()
}

fn registration<'a>(all: &'a [Happened], version: &str) -> &'a Happened {
    of_kind(all, "version_registered").find(|it| it.what["version"] == version).unwrap()
}

/// The rule for production when something was done, where it came from, and who had set it.
fn rule_then(raw: &Raw, all: &[Happened], entry: &Happened) -> (Value, &'static str, Value, Value, Value) {
    let registry = happened(&raw.registry, "9999");
    let last = |changes: &[Happened], before: &dyn Fn(&Happened) -> bool| {
        of_kind(changes, "policy_changed")
            .filter(|it| {
                it.what["change"]["kind"] == "stage_rule" && it.what["change"]["stage"] == "production"
            })
            .filter(|it| before(it))
            .last()
            .cloned()
            .filter(|it| it.what["change"]["rule"].is_object())
    };
    let own = last(all, &|it| it.revision < entry.revision);
    let general = last(&registry, &|it| it.at <= entry.at);
    let source = if own.is_some() { "model" } else { "registry" };
    match own.or(general) {
        Some(it) => {
            let rule = it.what["change"]["rule"].clone();
            (stage_rule_text(&rule), source, it.by.into(), it.at.into(), rule["approval"].clone())
        }
        None => (Value::Null, "default", Value::Null, Value::Null, Value::Null),
    }
}

fn requests(all: &[Happened], asked: &Asked<'_>) -> BTreeMap<u64, Value> {
    let end = asked.to.min(asked.as_of);
    let mut requests = BTreeMap::new();
    for it in of_kind(all, "promotion_requested") {
        let expires_at = it.what["expires_at"].clone();
        let mut outcome = ("open", Value::Null);
        for later in all.iter().filter(|later| later.revision > it.revision) {
            let promoted =
                later.what["event"] == "stage_changed" && later.what["cause"]["request"] == it.revision;
            let closed = later.what["event"] == "promotion_closed" && later.what["request"] == it.revision;
            let over = expires_at.as_str().is_some_and(|expires| expires < later.at.as_str());
            if promoted {
                outcome = ("promoted", later.at.clone().into());
            } else if closed && over {
                outcome = ("expired", expires_at.clone());
            } else if closed && later.what["cause"] == "withdrawn" {
                outcome = ("withdrawn", later.at.clone().into());
            } else if closed && later.what["cause"] == "void" {
                outcome = ("void", later.at.clone().into());
            } else if closed {
                outcome = ("expired", expires_at.clone());
            }
        }
        if outcome.0 == "open" && expires_at.as_str().is_some_and(|expires| expires < end) {
            outcome = ("expired", expires_at.clone());
        }
        requests.insert(
            it.revision,
            json!({
                "request": it.revision, "version": it.what["version"], "digest": it.what["digest"],
                "from": it.what["from"], "to": it.what["to"], "by": it.by, "at": it.at, "reason": it.reason,
                "rule": approval_text(&it.what["rule"]), "by_choice": it.what["by_choice"] == true,
                "expires_at": expires_at, "outcome": outcome.0, "ended_at": outcome.1,
            }),
        );
    }
    requests
}

fn approvals_of(entry: &Happened) -> &[Value] {
    list(&entry.what["cause"]["approvals"])
}

fn deployments(raw: &Raw, all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let requests = requests(all, asked);
    let mut rows = Vec::new();
    for Stretch { entry, version, until } in shown(all, asked) {
        let (rule, source, set_by, set_at, _) = rule_then(raw, all, &entry);
        let request = entry.what["cause"]["request"].clone();
        let requested_by = request
            .as_u64()
            .and_then(|request| requests.get(&request))
            .map_or(Value::Null, |row| row["by"].clone());
        let approved_by: Vec<Value> =
            approvals_of(&entry).iter().map(|approval| approval["actor"].clone()).collect();
        let safety = &entry.what["rollback_safety"];
        rows.push(json!({
            "revision": entry.revision, "version": version, "digest": registration(all, &version).what["digest"],
            "since": entry.at, "until": until, "by": entry.by, "reason": entry.reason,
            "cause": entry.what["cause"]["kind"], "request": request, "requested_by": requested_by,
            "approved_by": approved_by, "rule": rule, "rule_source": source, "rule_set_by": set_by,
            "rule_set_at": set_at, "back_to": safety["to"], "back_is_safe": safety["safe"],
        }));
    }
    rows
}

fn files_of<'a>(all: &'a [Happened], version: &str) -> &'a [Value] {
    list(&registration(all, version).what["content"]["artifacts"])
}

fn signature_of(all: &[Happened], version: &str) -> Option<String> {
    files_of(all, version).iter().map(|file| text(&file["path"])).find(|path| path.ends_with(".sig"))
}

fn exception(it: &Happened, kind: &str, version: Value, stage: Value, detail: String) -> Value {
    json!({
        "at": it.at, "revision": it.revision, "kind": kind, "version": version, "stage": stage, "by": it.by,
        "reason": it.reason, "detail": detail,
    })
}

fn refusal(it: &Happened) -> String {
    let who = &it.by;
    match it.what["cause"]["kind"].as_str().unwrap() {
        "registrant" => format!("{who} registered the version and may not approve it too; ask somebody else"),
        "requester" => format!("{who} asked for the promotion and may not approve it too; ask somebody else"),
        _ => {
            let approvers: Vec<String> = list(&it.what["cause"]["approvers"]).iter().map(text).collect();
            format!("{who} may not approve; approvers are {}", approvers.join(", "))
        }
    }
}

fn exceptions(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let requests = requests(all, asked);
    let mut rows = Vec::new();
    for it in all {
        if let Some(adopted) = &it.adopted {
            let there = adopted["at"].as_str().map(|at| format!(", there at {at}")).unwrap_or_default();
            let detail = format!("{} in {}{there}", text(&it.what["event"]), text(&adopted["system"]));
            rows.push(exception(it, "foreign_change", it.what["version"].clone(), Value::Null, detail));
        }
        let asked_for = |field: &str| {
            let request = it.what["request"].as_u64().and_then(|request| requests.get(&request));
            request.map_or(Value::Null, |request| request[field].clone())
        };
        let about_request =
            |kind: &str, detail: String| exception(it, kind, asked_for("version"), asked_for("to"), detail);
        match it.what["event"].as_str().unwrap() {
            "version_registered" if it.what["numbering"]["overridden"].is_string() => {
                let needed = it.what["numbering"]["required"].as_str().unwrap();
                let why = text(&it.what["numbering"]["overridden"]);
                let detail = format!("the changes demand a {needed} bump; allowed because: {why}");
                rows.push(exception(it, "smaller_step", it.what["version"].clone(), Value::Null, detail));
            }
            "promotion_rejected" => {
                let remark = it.what["comment"].as_str().unwrap_or("no remark").to_owned();
                rows.push(about_request("objection", remark));
            }
            "decision_withdrawn" => {
                rows.push(about_request("decision_withdrawn", format!("on request {}", it.what["request"])));
            }
            "approval_refused" => {
                let own = it.what["cause"]["kind"] != "not_an_approver";
                let kind = if own { "self_approval_attempt" } else { "approval_attempt" };
                rows.push(about_request(kind, refusal(it)));
            }
            "promotion_closed" if asked_for("outcome") != "expired" => {
                let kind = format!("request_{}", text(&it.what["cause"]));
                let detail = format!("request {} of {}", it.what["request"], text(&asked_for("by")));
                rows.push(about_request(&kind, detail));
            }
            "approval_overridden" => {
                let detail = format!("bypassed: {}", approval_text(&it.what["rule"]));
                let (version, stage) = (it.what["version"].clone(), it.what["to"].clone());
                rows.push(exception(it, "approval_overridden", version, stage, detail));
            }
            "gates_overridden" => {
                let failed = list(&it.what["failed"]).iter().map(|result| {
                    let checks: Vec<String> = list(&result["checks"])
                        .iter()
                        .filter(|check| check["passed"] == false)
                        .map(|check| format!("{} {}", text(&check["subject"]), text(&check["detail"])))
                        .collect();
                    let against =
                        result["against"].as_str().map(|it| format!(", against {it}")).unwrap_or_default();
                    format!("{}{against}: {}", gate_text(&result["gate"]), checks.join("; "))
                });
                let detail = format!("not passed: {}", failed.collect::<Vec<_>>().join("; "));
                let (version, stage) = (it.what["version"].clone(), it.what["to"].clone());
                rows.push(exception(it, "gates_overridden", version, stage, detail));
            }
            "rolled_back" if it.what["forced"] == true => {
                let (from, to) = (text(&it.what["from"]), text(&it.what["to"]));
                let detail = format!("{from} to {to}, with {} for clients", findings(&it.what["findings"]));
                rows.push(exception(
                    it,
                    "forced_rollback",
                    it.what["to"].clone(),
                    "production".into(),
                    detail,
                ));
            }
            _ => {}
        }
    }
    for request in requests.values().filter(|request| request["outcome"] == "expired") {
        rows.push(json!({
            "at": request["ended_at"], "revision": request["request"], "kind": "request_expired",
            "version": request["version"], "stage": request["to"], "by": request["by"],
            "reason": request["reason"], "detail": format!("request {} of {}", request["request"], text(&request["by"])),
        }));
    }
    rows.retain(|row| asked.from <= row["at"].as_str().unwrap() && row["at"].as_str().unwrap() < asked.to);
    for Stretch { entry, version, .. } in shown(all, asked) {
        let approved = stretches(all).iter().any(|other| {
            other.version == version
                && other.entry.revision <= entry.revision
                && !approvals_of(&other.entry).is_empty()
        });
        let (about, stage) = (Value::from(version.clone()), Value::from("production"));
        if !approved {
            let detail = "in production without an approval on record".to_owned();
            rows.push(exception(&entry, "not_approved", about.clone(), stage.clone(), detail));
        }
        if signature_of(all, &version).is_none() {
            let detail = "in production without a file `*.sig`".to_owned();
            rows.push(exception(&entry, "not_signed", about, stage, detail));
        }
    }
    rows
}

fn checkpoints(raw: &Raw, all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let requests = requests(all, asked);
    let mut rows = Vec::new();
    for Stretch { entry, version, .. } in shown(all, asked) {
        let approval = rule_then(raw, all, &entry).4;
        let with = |kind: &str| list(&entry.commit["events"]).iter().any(|event| event["event"] == kind);
        let kind = text(&entry.what["cause"]["kind"]);
        let request = entry.what["cause"]["request"].as_u64().and_then(|request| requests.get(&request));
        let without = if with("approval_overridden") {
            ("failed", "bypassed in an emergency".to_owned())
        } else if kind == "foreign" {
            ("failed", "changed past the registry".to_owned())
        } else if kind == "rollback" {
            ("not_demanded", "a rollback needs no approval".to_owned())
        } else if approval.is_null() {
            ("not_demanded", "no rule demanded approval".to_owned())
        } else {
            ("failed", "approval was demanded, and there is no request on record".to_owned())
        };
        let people: Vec<String> =
            approvals_of(&entry).iter().map(|approval| text(&approval["actor"])).collect();
        let quorum = if approval.is_null() { 1 } else { approval["quorum"].as_u64().unwrap_or(1) };
        let digest = text(&registration(all, &version).what["digest"]);
        let gates = list(&entry.what["gates"]);
        let passed = gates.iter().filter(|gate| gate["passed"] == true).count();
        let favourable = trials(all, asked).into_iter().rev().find(|trial| {
            trial["treatment"] == version.as_str()
                && trial["outcome"] == "favourable"
                && trial["ended_at"].as_str().unwrap() <= entry.at.as_str()
        });
        let registrant = &registration(all, &version).by;
        let own =
            |person: &&String| *person == registrant || request.is_some_and(|it| it["by"] == person.as_str());
        let own: Vec<&String> = people.iter().filter(own).collect();
        let safety = &entry.what["rollback_safety"];
        let answers = [
            (
                "request",
                request.map_or(without.clone(), |it| {
                    (
                        "passed",
                        format!("request {} by {} at {}", it["request"], text(&it["by"]), text(&it["at"])),
                    )
                }),
            ),
            (
                "approval_before_deployment",
                match people.len() {
                    0 => without.clone(),
                    many => {
                        let enough = many as u64 >= quorum;
                        (
                            if enough { "passed" } else { "failed" },
                            format!("{many} of {quorum}: {}", people.join(", ")),
                        )
                    }
                },
            ),
            (
                "test_evidence",
                match (gates.len(), favourable) {
                    (0, Some(trial)) => ("passed", format!("favourable trial {}", trial["trial"])),
                    (0, None) if kind == "foreign" => ("failed", "changed past the registry".to_owned()),
                    (0, None) if kind == "rollback" => {
                        ("not_demanded", "a rollback passes no gate".to_owned())
                    }
                    (0, None) => ("not_demanded", "no gate was demanded".to_owned()),
                    (many, _) => {
                        let bypassed =
                            if with("gates_overridden") { ", bypassed in an emergency" } else { "" };
                        let result = if passed == many { "passed" } else { "failed" };
                        (result, format!("{passed} of {many} gates passed{bypassed}"))
                    }
                },
            ),
            (
                "segregation_of_duties",
                match (people.len(), own.len()) {
                    (0, _) => without.clone(),
                    (_, 0) => {
                        ("passed", format!("{} neither registered it nor asked for it", people.join(", ")))
                    }
                    _ => panic!("nobody approves their own in this year"),
                },
            ),
            (
                "deployment_tied_to_digest",
                match request {
                    Some(it) => {
                        assert_eq!(it["digest"], digest.as_str());
                        ("passed", format!("approved and deployed as {digest}"))
                    }
                    None => without.clone(),
                },
            ),
            (
                "backout_plan",
                match (safety["safe"].as_bool(), safety["to"].as_str()) {
                    (Some(true), Some(to)) => ("passed", format!("back to {to}, safe for clients")),
                    (Some(false), Some(to)) => {
                        let many = findings(&safety["findings"]);
                        ("failed", format!("back to {to}, which breaks clients ({many})"))
                    }
                    (None, Some(to)) => {
                        ("unknown", format!("back to {to}; a signature of inputs and outputs is missing"))
                    }
                    _ if kind == "promotion" => {
                        ("not_demanded", "nothing was in production to go back to".to_owned())
                    }
                    _ => ("unknown", "not on record for this kind of move".to_owned()),
                },
            ),
            (
                "signature",
                match signature_of(all, &version) {
                    Some(file) => {
                        ("passed", format!("{file} is among the files; its key is not checked here"))
                    }
                    None => ("failed", "no file `*.sig` among the files".to_owned()),
                },
            ),
            ("sound_record", ("passed", format!("{} commits checked link by link", raw.log.len()))),
        ];
        for (checkpoint, (result, evidence)) in answers {
            rows.push(json!({
                "deployment": entry.revision, "version": version, "checkpoint": checkpoint, "result": result,
                "evidence": evidence,
            }));
        }
    }
    rows
}

fn decisions(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let requests = requests(all, asked);
    let acts = [
        ("promotion_approved", "approved"),
        ("promotion_rejected", "objected"),
        ("decision_withdrawn", "withdrew"),
        ("approval_refused", "refused"),
    ];
    let mut rows = Vec::new();
    for it in all.iter().filter(|it| it.at.as_str() >= asked.from) {
        let Some((kind, act)) = acts.iter().find(|(kind, _)| it.what["event"] == *kind) else { continue };
        let request = &requests[&it.what["request"].as_u64().unwrap()];
        let comment =
            if *kind == "approval_refused" { refusal(it).into() } else { it.what["comment"].clone() };
        rows.push(json!({
            "at": it.at, "revision": it.revision, "request": request["request"], "version": request["version"],
            "to": request["to"], "by": it.by, "act": act, "meaning": it.what["meaning"], "comment": comment,
        }));
    }
    rows
}

fn trials(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let deployed: BTreeSet<String> = shown(all, asked).into_iter().map(|stretch| stretch.version).collect();
    let mut rows = Vec::new();
    for it in of_kind(all, "trial_started") {
        let end = all.iter().find(|later| {
            let ends = later.what["event"] == "trial_concluded" || later.what["event"] == "trial_aborted";
            ends && later.what["trial"] == it.revision
        });
        let (outcome, p) = match end {
            None => ("running".to_owned(), Value::Null),
            Some(end) if end.what["event"] == "trial_aborted" => ("aborted".to_owned(), Value::Null),
            Some(end) => (text(&end.what["judgement"]["verdict"]), end.what["judgement"]["p"].clone()),
        };
        let version = text(&it.what["treatment"]["version"]);
        if end.is_some_and(|end| end.at.as_str() < asked.from) && !deployed.contains(&version) {
            continue;
        }
        rows.push(json!({
            "trial": it.revision, "treatment": version, "control": it.what["control"]["version"],
            "measure": it.what["plan"]["measure"]["name"], "by": it.by, "started_at": it.at, "outcome": outcome,
            "ended_at": end.map(|end| end.at.clone()), "p": p,
        }));
    }
    rows
}

fn versions(all: &[Happened]) -> Vec<Value> {
    let described = of_kind(all, "description_changed").filter(|it| it.what["version"].is_null()).last();
    let mut rows: Vec<Value> = Vec::new();
    for it in of_kind(all, "version_registered") {
        let (version, content) = (text(&it.what["version"]), &it.what["content"]);
        let about = |kind: &'static str| {
            let version = version.clone();
            of_kind(all, kind).filter(move |later| later.what["version"] == version.as_str())
        };
        let since = |on: &'static str, off: &'static str| {
            let last = about(on).last().filter(|on| about(off).all(|off| off.revision < on.revision));
            last.cloned()
        };
        let deprecated = since("deprecated", "deprecation_lifted");
        let field = |name: &str| deprecated.as_ref().map_or(Value::Null, |it| it.what[name].clone());
        let tags = content["tags"].as_object().into_iter().flatten().map(|(key, value)| {
            match value.as_str().unwrap() {
                "" => key.clone(),
                value => format!("{key}={value}"),
            }
        });
        let files = files_of(all, &version);
        // What others did happened when they say it did.
        let there = it.adopted.as_ref().map_or(&Value::Null, |adopted| &adopted["at"]);
        rows.push(json!({
            "version": version, "digest": it.what["digest"],
            "stage": about("stage_changed").last().map_or("development".into(), |it| it.what["to"].clone()),
            "owner": content["metadata"]["owner"], "registered_by": it.by,
            "registered_at": if there.is_null() { it.at.clone().into() } else { there.clone() },
            "revision": it.revision, "algorithm": content["metadata"]["algorithm"],
            "framework": content["metadata"]["framework"],
            "purpose": described.map_or(Value::Null, |it| it.what["description"].clone()),
            "tags": tags.collect::<Vec<_>>(), "files": files.len(),
            "bytes": files.iter().map(|file| file["size"].as_u64().unwrap()).sum::<u64>(),
            "deprecated_since": deprecated.as_ref().map(|it| it.at.clone()),
            "superseded_by": field("superseded_by"), "end_of_life": field("end_of_life"),
            "quarantined_since": since("quarantined", "quarantine_lifted").map(|it| it.at),
            "deleted_since": since("version_deleted", "version_restored").map(|it| it.at),
        }));
    }
    rows.sort_by_key(|row| numbers(row["version"].as_str().unwrap()));
    rows
}

fn metrics(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    for it in all {
        let (said, amended) = match it.what["event"].as_str().unwrap() {
            "version_registered" => (&it.what["content"], false),
            "amended" => (&it.what, true),
            _ => continue,
        };
        let metrics = said["metrics"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, metric)| (name.clone(), metric.clone()));
        let figures = said["deployment"].as_object().into_iter().flatten();
        let figures = figures.map(|(name, value)| (format!("deployment: {name}"), json!({ "value": value })));
        for (name, metric) in metrics.chain(figures) {
            let same =
                |row: &&mut Value| row["version"] == it.what["version"] && row["metric"] == name.as_str();
            if let Some(before) = rows.iter_mut().rev().find(same) {
                before["replaced_at"] = it.at.clone().into();
            }
            rows.push(json!({
                "version": it.what["version"], "metric": name, "value": metric["value"], "unit": metric["unit"],
                "better": metric["direction"], "samples": metric["samples"],
                "standard_error": metric["standard_error"], "amended": amended, "by": it.by, "at": it.at,
                "revision": it.revision, "replaced_at": Value::Null,
            }));
        }
    }
    rows.retain(|row| row["replaced_at"].as_str().is_none_or(|at| at > asked.from));
    rows
}

fn data_sources(all: &[Happened]) -> Vec<Value> {
    let mut rows = Vec::new();
    for it in of_kind(all, "version_registered") {
        let content = &it.what["content"];
        let mut push = |kind: &str, name: &Value, version: &Value, digest: &Value| {
            if name.is_string() {
                rows.push(json!({
                    "version": it.what["version"], "kind": kind, "name": name, "of_version": version, "digest": digest,
                }));
            }
        };
        push("data", &content["metadata"]["training_data_version"], &Value::Null, &Value::Null);
        push("experiment", &content["metadata"]["experiment"], &Value::Null, &Value::Null);
        for link in list(&content["links"]) {
            match link["link"].as_str().unwrap() {
                "input" => {
                    push(link["kind"].as_str().unwrap(), &link["id"], &link["version"], &link["digest"])
                }
                "derived_from" => {
                    let (model, version) = link["model"].as_str().unwrap().split_once('@').unwrap();
                    push("model", &model.into(), &version.into(), &Value::Null);
                }
                _ => {}
            }
        }
    }
    rows
}

/// What was observed, by deployment, version and metric: when the first stretch began and the last ended, and how many
/// numbers and other things there were. The numbers themselves are held against what was told to the registry.
fn health(raw: &Raw, all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    let stretches = stretches(all);
    for it in happened(&raw.health, asked.to).iter().filter(|it| it.at.as_str() >= asked.from) {
        for summary in list(&it.what["summaries"]) {
            let (from, until) = (summary["from"].as_str().unwrap(), summary["until"].as_str().unwrap());
            let served = stretches.iter().rfind(|stretch| {
                summary["version"] == stretch.version.as_str()
                    && stretch.entry.at.as_str() < until
                    && stretch.until.as_ref().is_none_or(|end| from < end.as_str())
            });
            let place = json!([served.map(|it| it.entry.revision), summary["version"], summary["metric"]]);
            let known = rows
                .iter_mut()
                .find(|row| json!([row["deployment"], row["version"], row["metric"]]) == place);
            let row = match known {
                Some(row) => row,
                None => {
                    rows.push(json!({
                        "deployment": place[0], "version": place[1], "metric": place[2], "from": summary["from"],
                        "until": summary["until"], "count": 0, "not_numbers": 0,
                    }));
                    rows.last_mut().unwrap()
                }
            };
            for field in ["count", "not_numbers"] {
                row[field] = (row[field].as_u64().unwrap() + summary[field].as_u64().unwrap_or(0)).into();
            }
            row["until"] = summary["until"].clone();
        }
    }
    rows
}

fn deleted(all: &[Happened], gone: &dyn Fn(&str) -> bool) -> Vec<Value> {
    let mut rows = Vec::new();
    for it in of_kind(all, "version_deleted") {
        let files = files_of(all, it.what["version"].as_str().unwrap());
        let missing = files.iter().filter(|file| gone(file["digest"].as_str().unwrap())).count();
        rows.push(json!({
            "version": it.what["version"], "at": it.at, "by": it.by, "reason": it.reason, "files": files.len(),
            "files_gone": missing,
        }));
    }
    rows
}

fn gates(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let mut rows = Vec::new();
    for Stretch { entry, version, .. } in shown(all, asked) {
        for found in list(&entry.what["gates"]) {
            let evidence = list(&found["checks"])
                .iter()
                .map(|check| format!("{} {}", text(&check["subject"]), text(&check["detail"])));
            rows.push(json!({
                "deployment": entry.revision, "version": version, "gate": gate_text(&found["gate"]),
                "passed": found["passed"], "against": found["against"], "evidence": evidence.collect::<Vec<_>>(),
            }));
        }
    }
    rows
}

fn approvals(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let mut rows = Vec::new();
    for Stretch { entry, version, .. } in shown(all, asked) {
        for approval in approvals_of(&entry) {
            rows.push(json!({
                "deployment": entry.revision, "request": entry.what["cause"]["request"], "version": version,
                "approver": approval["actor"], "at": approval["at"], "meaning": approval["meaning"],
                "comment": approval["comment"],
            }));
        }
    }
    rows
}

fn rollbacks(all: &[Happened], asked: &Asked<'_>) -> Vec<Value> {
    let in_range = of_kind(all, "rolled_back").filter(|it| it.at.as_str() >= asked.from);
    in_range
        .map(|it| {
            let passed_over = list(&it.what["passed_over"])
                .iter()
                .map(|pair| format!("{}: {}", text(&pair[0]), text(&pair[1])));
            json!({
                "at": it.at, "revision": it.revision, "from": it.what["from"], "to": it.what["to"], "by": it.by,
                "reason": it.reason, "rule": it.what["broken_rule"]["name"],
                "evidence": it.what["broken_rule"]["breach"]["reason"], "forced": it.what["forced"] == true,
                "passed_over": passed_over.collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// How much there is of a log.
pub(crate) fn population(stream: &str, records: &[Value], asked: &Asked<'_>) -> Option<Value> {
    let (first, last) = (records.first()?, records.last()?);
    let time = |record: &Value| text(&record["commit"]["time"]);
    let inside: Vec<&Value> =
        records.iter().filter(|it| asked.from <= time(it).as_str() && time(it).as_str() < asked.to).collect();
    let behind = records.iter().filter(|it| time(it).as_str() >= asked.to).count();
    let revision = |record: &Value| record["commit"]["revision"].clone();
    let files = if asked.with_bytes { files_read(records) } else { 0 };
    Some(json!({
        "stream": stream, "first_revision": revision(first), "first_at": time(first),
        "last_revision": revision(last), "last_at": time(last), "commits": records.len(), "gap_free": true,
        "head": last["digest"], "first_in_range": inside.first().map(|it| revision(it)),
        "last_in_range": inside.last().map(|it| revision(it)), "commits_in_range": inside.len(),
        "commits_after": behind, "files": files, "is_sound": true,
    }))
}

/// How many files there are of versions that are not deleted, and of runs.
fn files_read(records: &[Value]) -> usize {
    let all = happened(records, "9999");
    let is_deleted =
        |version: &Value| of_kind(&all, "version_deleted").any(|it| it.what["version"] == *version);
    let kept = of_kind(&all, "version_registered").filter(|it| !is_deleted(&it.what["version"]));
    let of_versions: usize = kept.map(|it| list(&it.what["content"]["artifacts"]).len()).sum();
    let of_runs = of_kind(&all, "run_artifacts_noted").map(|it| list(&it.what["artifacts"]).len());
    of_versions + of_runs.sum::<usize>()
}

/// All tables about a model, by name.
pub(crate) fn tables(
    raw: &Raw,
    asked: &Asked<'_>,
    gone: &dyn Fn(&str) -> bool,
) -> BTreeMap<&'static str, Vec<Value>> {
    let all = &happened(&raw.log, asked.to);
    let involved = requests(all, asked)
        .into_values()
        .filter(|request| request["ended_at"].as_str().is_none_or(|ended| ended >= asked.from));
    [
        ("versions", versions(all)),
        ("deployments", deployments(raw, all, asked)),
        ("approvals", approvals(all, asked)),
        ("gates", gates(all, asked)),
        ("checkpoints", checkpoints(raw, all, asked)),
        ("exceptions", exceptions(all, asked)),
        ("requests", involved.collect()),
        ("decisions", decisions(all, asked)),
        ("trials", trials(all, asked)),
        ("rollbacks", rollbacks(all, asked)),
        ("policy_changes", policy_changes(&raw.log, asked)),
        ("metrics", metrics(all, asked)),
        ("health", health(raw, all, asked)),
        ("data_sources", data_sources(all)),
        ("deleted", deleted(all, gone)),
    ]
    .into()
}
