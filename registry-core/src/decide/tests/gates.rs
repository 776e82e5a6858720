//! What a version must show before it may enter a stage, gate by gate: passed, failed, with something missing, with
//! nothing in production, and beside a baseline of 0.

use super::*;
use crate::content::{EnvironmentFile, Finite, Metric};
use crate::gate::{Check, Gate, GateResult};
use Stage::{Production, Staging};

fn gate(json: &str) -> Gate {
    serde_json::from_str(json).unwrap()
}

fn demanding(stage: Stage, gates: &[&str]) -> PolicyChange {
    let gates = gates.iter().map(|json| gate(json)).collect();
    PolicyChange::StageRule { stage, rule: Some(StageRule { gates, ..StageRule::default() }) }
}

/// The content of a version with these metrics, as they are written in a card.
fn measured(bytes: &str, metrics: &str) -> Content {
    Content { metrics: serde_json::from_str(metrics).unwrap(), ..weights(bytes) }
}

/// What a gate finds of `new`, beside `old` in production if there is one.
fn looked_at(json: &str, old: Option<Content>, new: Content) -> GateResult {
    let mut steps: Vec<Step> = old.into_iter().flat_map(|old| live_with("v1", old)).collect();
    steps.push(alice(register_as("v2", new)));
    steps.push(alice(promote("v2", Staging)));
    steps.push(registry_rule(demanding(Production, &[json])));
    match given(steps).when(promote("v2", Production)).result {
        Ok(events) => match &events[..] {
            [.., Event::StageChanged(change)] => change.gates[0].clone(),
            other => panic!("{other:?}"),
        },
        Err(Rejection::GatesClosed { version, to, failed }) => {
            assert_eq!((version, to, failed.len()), (v("v2"), Production, 1));
            failed[0].clone()
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whether it passes, and all that it looked at as `subject detail`.
fn seen(json: &str, old: Option<Content>, new: Content) -> (bool, String) {
    let result = looked_at(json, old, new);
    let checks: Vec<String> =
        result.checks.iter().map(|check| format!("{} {}", check.subject, check.detail)).collect();
    (result.passed, checks.join("; "))
}

#[track_caller]
fn passes(json: &str, old: Option<Content>, new: Content, found: &str) {
    assert_eq!(seen(json, old, new), (true, found.to_owned()));
}

#[track_caller]
fn fails(json: &str, old: Option<Content>, new: Content, found: &str) {
    assert_eq!(seen(json, old, new), (false, found.to_owned()));
}

const NOTHING: &str = "production is empty, so there is nothing to compare with";

mod each {
    use super::*;

    #[test]
    fn a_metric_lies_within_its_bounds() {
        let least = r#"{"gate":"metric","name":"accuracy","at_least":0.85}"#;
        let accuracy = |value: f64| measured("a", &format!(r#"{{"accuracy":{value}}}"#));
        passes(least, None, accuracy(0.85), "accuracy is 0.85");
        fails(least, None, accuracy(0.849), "accuracy is 0.849, less than 0.85");
        fails(least, None, weights("a"), "accuracy is not on record");
        let both = r#"{"gate":"metric","name":"accuracy","at_least":0.5,"at_most":0.9}"#;
        passes(both, None, accuracy(0.9), "accuracy is 0.9");
        fails(both, None, accuracy(0.95), "accuracy is 0.95, more than 0.9");
        fails(both, None, accuracy(0.4), "accuracy is 0.4, less than 0.5");
    }

    #[test]
    fn no_metric_is_significantly_worse() {
        let gate = r#"{"gate":"no_regression"}"#;
        let accuracy = |value: f64, samples: u32| {
            measured("a", &format!(r#"{{"accuracy":{{"value":{value},"samples":{samples}}}}}"#))
        };
        fails(
            gate,
            Some(accuracy(0.9, 10_000)),
            accuracy(0.88, 10_000),
            "accuracy went from 0.9 to 0.88 (p < 0.0001), which is significantly worse",
        );
        passes(
            gate,
            Some(accuracy(0.9, 100)),
            accuracy(0.88, 100),
            "accuracy went from 0.9 to 0.88 (p = 0.6513), which may be chance",
        );
        passes(
            gate,
            Some(accuracy(0.9, 10_000)),
            accuracy(0.92, 10_000),
            "accuracy went from 0.9 to 0.92 (p < 0.0001)",
        );
        let result = looked_at(gate, Some(accuracy(0.9, 100)), accuracy(0.88, 100));
        assert_eq!(result.against, Some(v("v1")));
        let Check { found, baseline, p, .. } = &result.checks[0];
        let number = |value: f64| Some(Finite::new(value).unwrap());
        assert_eq!((*found, *baseline), (number(0.88), number(0.9)));
        assert!((p.unwrap().get() - 0.6513).abs() < 1e-4);
    }

    #[test]
    fn a_tolerance_is_for_what_cannot_be_tested_and_not_for_what_is_significant() {
        let gate = r#"{"gate":"no_regression","tolerance":0.05}"#;
        let untested = |value: f64| measured("a", &format!(r#"{{"auc":{value}}}"#));
        passes(gate, Some(untested(0.8)), untested(0.76), "auc went from 0.8 to 0.76, which is tolerated");
        fails(
            gate,
            Some(untested(0.8)),
            untested(0.75),
            "auc went from 0.8 to 0.75, which is worse, and no test can be made of it",
        );
        fails(
            r#"{"gate":"no_regression"}"#,
            Some(untested(0.8)),
            untested(0.79),
            "auc went from 0.8 to 0.79, which is worse, and no test can be made of it",
        );
        let tested =
            |value: f64| measured("a", &format!(r#"{{"recall":{{"value":{value},"samples":1000000}}}}"#));
        fails(
            gate,
            Some(tested(0.8)),
            tested(0.79),
            "recall went from 0.8 to 0.79 (p < 0.0001), which is significantly worse",
        );
    }

    #[test]
    fn a_regression_is_seen_in_the_direction_that_is_known_or_said() {
        let gate = r#"{"gate":"no_regression"}"#;
        let of = |metrics: &str| measured("a", metrics);
        // Nobody knows which way is better, and nobody asked for it.
        passes(
            gate,
            Some(of(r#"{"temperature":1}"#)),
            of(r#"{"temperature":2}"#),
            "production has no metric on record whose better direction is known",
        );
        fails(
            r#"{"gate":"no_regression","metrics":["temperature"]}"#,
            Some(of(r#"{"temperature":1}"#)),
            of(r#"{"temperature":2}"#),
            "temperature may be better if higher or if lower; amend it with its direction",
        );
        let said = |value: f64| of(&format!(r#"{{"temperature":{{"value":{value},"direction":"lower"}}}}"#));
        fails(
            gate,
            Some(said(1.0)),
            said(2.0),
            "temperature went from 1 to 2, which is worse, and no test can be made of it",
        );
        // Less of a loss is better, and of 0 nothing is a share: any worsening is one.
        passes(gate, Some(of(r#"{"loss":0.3}"#)), of(r#"{"loss":0.2}"#), "loss went from 0.3 to 0.2");
        fails(
            r#"{"gate":"no_regression","tolerance":0.5}"#,
            Some(of(r#"{"loss":0}"#)),
            of(r#"{"loss":0.001}"#),
            "loss went from 0 to 0.001, which is worse, and no test can be made of it",
        );
    }

    #[test]
    fn a_version_does_not_turn_round_which_way_is_better() {
        let turned =
            |value: f64| measured("b", &format!(r#"{{"accuracy":{{"value":{value},"direction":"lower"}}}}"#));
        let production = || Some(measured("a", r#"{"accuracy":0.9}"#));
        assert!(!seen(r#"{"gate":"no_regression"}"#, production(), turned(0.1)).0);
        let better = r#"{"gate":"improvement","metric":"accuracy","by":{"absolute":0.1}}"#;
        assert!(!seen(better, production(), turned(0.1)).0);
    }

    #[test]
    fn what_production_has_the_version_must_have_too() {
        let gate = r#"{"gate":"no_regression"}"#;
        let of = |metrics: &str| Some(measured("a", metrics));
        fails(gate, of(r#"{"auc":0.8}"#), weights("b"), "auc is not on record, and is of production");
        passes(
            gate,
            of(r#"{"auc":0.8}"#),
            measured("b", r#"{"auc":0.8,"recall":0.1}"#),
            "auc is 0.8 as before; recall is not on record of production, so there is nothing to compare with",
        );
        fails(
            r#"{"gate":"no_regression","metrics":["auc"]}"#,
            Some(weights("a")),
            weights("b"),
            "auc is on record of neither version",
        );
        // Only what is named counts.
        passes(
            r#"{"gate":"no_regression","metrics":["auc"]}"#,
            of(r#"{"auc":0.8,"recall":0.9}"#),
            measured("b", r#"{"auc":0.9,"recall":0.1}"#),
            "auc went from 0.8 to 0.9",
        );
        fails(
            gate,
            of(r#"{"latency":{"value":1,"unit":"s"}}"#),
            measured("b", r#"{"latency":{"value":900,"unit":"ms"}}"#),
            "latency is in another unit than in production",
        );
        // Of one whose better direction nobody knows the unit does not matter either.
        passes(
            gate,
            of(r#"{"temperature":{"value":1,"unit":"K"}}"#),
            measured("b", r#"{"temperature":{"value":1,"unit":"C"}}"#),
            "production has no metric on record whose better direction is known",
        );
        passes(gate, None, measured("b", r#"{"auc":0.1}"#), NOTHING);
    }

    #[test]
    fn several_metrics_are_several_chances_to_be_fooled() {
        // p is 0.0355 alone, and 0.0710 as one of two.
        let of = |recall: f64| {
            measured(
                "a",
                &format!(
                    r#"{{"recall":{{"value":{recall},"samples":1000}},"precision":{{"value":0.5,"samples":1000}}}}"#
                ),
            )
        };
        let named = r#"{"gate":"no_regression","metrics":["recall"]}"#;
        assert!(!seen(named, Some(of(0.13)), of(0.1)).0);
        assert!(seen(r#"{"gate":"no_regression"}"#, Some(of(0.13)), of(0.1)).0);
    }

    #[test]
    fn a_metric_is_better_by_so_much() {
        let relative = r#"{"gate":"improvement","metric":"auc","by":{"relative":0.05}}"#;
        let absolute = r#"{"gate":"improvement","metric":"auc","by":{"absolute":0.1}}"#;
        let auc = |value: f64| measured("a", &format!(r#"{{"auc":{value}}}"#));
        passes(relative, Some(auc(0.8)), auc(0.84), "auc went from 0.8 to 0.84");
        fails(relative, Some(auc(0.8)), auc(0.83), "auc went from 0.8 to 0.83, which is not enough");
        fails(relative, Some(auc(0.8)), auc(0.7), "auc went from 0.8 to 0.7, which is not enough");
        // 0.9 − 0.8 is a little less than 0.1 in binary.
        passes(absolute, Some(auc(0.8)), auc(0.9), "auc went from 0.8 to 0.9");
        fails(absolute, Some(auc(0.8)), auc(0.89), "auc went from 0.8 to 0.89, which is not enough");
        let loss = |value: f64| measured("a", &format!(r#"{{"loss":{value}}}"#));
        let less = r#"{"gate":"improvement","metric":"loss","by":{"relative":0.1}}"#;
        passes(less, Some(loss(-1.0)), loss(-1.1), "loss went from -1 to -1.1");
        fails(less, Some(loss(1.0)), loss(1.1), "loss went from 1 to 1.1, which is not enough");
        let not_worse = r#"{"gate":"improvement","metric":"auc","by":{"absolute":0}}"#;
        passes(not_worse, Some(auc(0.8)), auc(0.8), "auc is 0.8 as before");
    }

    #[test]
    fn of_a_baseline_of_0_any_improvement_will_do_and_none_will_not() {
        let gate = r#"{"gate":"improvement","metric":"auc","by":{"relative":0.05}}"#;
        let auc = |value: f64| measured("a", &format!(r#"{{"auc":{value}}}"#));
        passes(gate, Some(auc(0.0)), auc(0.001), "auc went from 0 to 0.001");
        fails(gate, Some(auc(0.0)), auc(0.0), "auc is 0 as before, which is not enough");
        fails(gate, Some(auc(0.0)), auc(-0.5), "auc went from 0 to -0.5, which is not enough");
        let zero = r#"{"gate":"improvement","metric":"auc","by":{"relative":0}}"#;
        passes(zero, Some(auc(0.0)), auc(0.0), "auc is 0 as before");
        fails(zero, Some(auc(0.0)), auc(-0.5), "auc went from 0 to -0.5, which is not enough");
    }

    #[test]
    fn an_improvement_must_be_there_to_be_seen() {
        let gate = r#"{"gate":"improvement","metric":"auc","by":{"absolute":0.1}}"#;
        let auc = || measured("a", r#"{"auc":0.8}"#);
        fails(gate, Some(auc()), weights("b"), "auc is not on record");
        fails(
            gate,
            Some(weights("a")),
            auc(),
            "auc is not on record of production; amend that version with it",
        );
        passes(gate, None, auc(), NOTHING);
        let score = |unit: &str| measured("a", &format!(r#"{{"auc":{{"value":1,"unit":"{unit}"}}}}"#));
        fails(gate, Some(score("x")), score("y"), "auc is in another unit than in production");
        let unknown = r#"{"gate":"improvement","metric":"score","by":{"absolute":0.1}}"#;
        fails(
            unknown,
            Some(measured("a", r#"{"score":1}"#)),
            measured("b", r#"{"score":2}"#),
            "score may be better if higher or if lower; amend it with its direction",
        );
    }

    #[test]
    fn callers_of_production_can_call_it() {
        let gate = r#"{"gate":"compatible"}"#;
        let old = || Some(signed("a", &["amount"], &["score"]));
        passes(
            gate,
            old(),
            signed("b", &["amount"], &["score", "reason"]),
            "signature does not break callers",
        );
        let (passed, found) = seen(gate, old(), signed("b", &["amount", "country"], &["score"]));
        assert!(!passed && found.starts_with("inputs.country breaks callers: "), "{found}");
        let unknown = "signature is missing, or a side of it, on this version or on that in production, \
                       so nobody can tell";
        fails(gate, old(), weights("b"), unknown);
        fails(gate, Some(weights("a")), signed("b", &["amount"], &["score"]), unknown);
        passes(gate, None, weights("b"), NOTHING);
    }

    #[test]
    fn answers_come_fast_enough_and_it_is_small_enough() {
        let gate = r#"{"gate":"latency","p50_ms_at_most":10,"p95_ms_at_most":50}"#;
        let with = |p50: Option<f64>, p95: Option<f64>| {
            let mut content = weights("a");
            content.deployment.latency_p50_ms = p50.map(|ms| Finite::new(ms).unwrap());
            content.deployment.latency_p95_ms = p95.map(|ms| Finite::new(ms).unwrap());
            content
        };
        passes(gate, None, with(Some(10.0), Some(50.0)), "latency p50 is 10 ms; latency p95 is 50 ms");
        fails(
            gate,
            None,
            with(Some(9.5), Some(50.5)),
            "latency p95 is 50.5 ms, more than 50 ms; latency p50 is 9.5 ms",
        );
        fails(gate, None, with(Some(9.5), None), "latency p95 is not on record; latency p50 is 9.5 ms");
        let size = r#"{"gate":"size","bytes_at_most":7}"#;
        passes(size, None, weights("7 bytes"), "size is 7 bytes");
        fails(size, None, weights("8 bytes."), "size is 8 bytes, more than 7");
        // What takes more room when it is served counts.
        let mut larger = weights("7 bytes");
        larger.deployment.size_bytes = Some(9);
        fails(size, None, larger, "size is 9 bytes, more than 7");
        fails(size, None, Content::default(), "size is not on record, and there are no files");
    }

    #[test]
    fn what_must_be_on_record_and_among_the_files_is() {
        let fields = r#"{"gate":"metadata","required":["owner","signature","framework"]}"#;
        let mut content = signed("a", &["amount"], &["score"]);
        content.metadata.owner = Some(name("alice"));
        fails(
            fields,
            None,
            content.clone(),
            "framework is not on record; owner is on record; signature is on record",
        );
        content.metadata.framework = Some(text("xgboost==1.7.0"));
        passes(fields, None, content, "framework is on record; owner is on record; signature is on record");

        let files = r#"{"gate":"files","required":["model.bin","requirements.txt"]}"#;
        let mut content = weights("a");
        fails(
            files,
            None,
            content.clone(),
            "requirements.txt is not among the files; model.bin is among the files",
        );
        let file = EnvironmentFile::new("requirements.txt".parse().unwrap(), String::new()).unwrap();
        content.environment.push(file);
        passes(files, None, content, "model.bin is among the files; requirements.txt is among the files");
        fails(r#"{"gate":"signed"}"#, None, weights("a"), "model.sig is not among the files");
        passes(r#"{"gate":"signed","file":"model.bin"}"#, None, weights("a"), "model.bin is among the files");
    }
}

mod together {
    use super::*;

    fn accuracy(value: f64) -> Content {
        Content {
            metrics: [("accuracy".parse().unwrap(), Metric::new(value).unwrap())].into(),
            ..weights(&value.to_string())
        }
    }

    const GATES: [&str; 3] = [
        r#"{"gate":"metric","name":"accuracy","at_least":0.85}"#,
        r#"{"gate":"no_regression"}"#,
        r#"{"gate":"signed"}"#,
    ];

    /// v1 with accuracy 0.9 is in production, v2 with 0.8 in staging, and then these gates are set.
    fn closed(gates: &[&str]) -> Vec<Step> {
        let mut steps: Vec<Step> = live_with("v1", accuracy(0.9)).into_iter().collect();
        steps.extend([alice(register_as("v2", accuracy(0.8))), alice(promote("v2", Staging))]);
        steps.push(registry_rule(demanding(Production, gates)));
        steps
    }

    #[test]
    fn all_gates_that_failed_are_told_with_their_numbers_and_nothing_happens() {
        let result = given(closed(&GATES)).when(promote("v2", Production)).result;
        let rejection = result.unwrap_err();
        insta::assert_snapshot!(rejection.to_string(), @r"
        v2.0.0 does not pass 3 of the gates of production
          - accuracy at least 0.85: accuracy is 0.8, less than 0.85
          - no regression (significance 0.05), against v1.0.0: accuracy went from 0.9 to 0.8, which is worse, and no test can be made of it
          - signature file model.sig: model.sig is not among the files
        record what is missing, register a better version, or bypass the gates in an emergency, with a reason
        ");
        let Rejection::GatesClosed { failed, .. } = rejection else { panic!("{rejection}") };
        assert_eq!(failed.len(), 3);
    }

    #[test]
    fn what_passed_is_kept_as_evidence_with_the_move() {
        let loose = [r#"{"gate":"metric","name":"accuracy","at_least":0.75}"#];
        let after = given(closed(&loose)).when(promote("v2", Production)).done();
        assert_eq!(after.state.production, Some(v("v2")));
        let then = given(closed(&loose)).when(promote("v2", Production));
        let Ok([Event::StageChanged(archived), Event::StageChanged(entered)]) = then.result.as_deref() else {
            panic!("{:?}", then.result)
        };
        assert!(archived.gates.is_empty(), "nothing was demanded of the version that leaves");
        let [GateResult { passed: true, against: None, checks, .. }] = &entered.gates[..] else {
            panic!("{:?}", entered.gates)
        };
        assert_eq!(checks[0].found, Some(Finite::new(0.8).unwrap()));
    }

    #[test]
    fn an_emergency_passes_them_by_with_a_reason_and_an_event_of_its_own() {
        let emergency = || Command::Promote {
            version: v("v2"),
            from: None,
            to: Production,
            require_approval: false,
            emergency: true,
        };
        given(closed(&GATES)).when(emergency()).then_err(Rejection::ReasonRequired { what: "bypass a gate" });
        let then = given(closed(&GATES)).because("fraud wave").when(emergency());
        let Ok(
            [Event::GatesOverridden { version, to: Production, failed }, .., Event::StageChanged(entered)],
        ) = then.result.as_deref()
        else {
            panic!("{:?}", then.result)
        };
        assert_eq!((version, failed.len()), (&v("v2"), 3));
        assert_eq!(&entered.gates, failed, "the evidence says that it did not pass");
        // Where all gates are passed nothing is passed by.
        let then = given(closed(&[])).when(emergency());
        assert!(matches!(then.result.as_deref(), Ok([Event::StageChanged(_), Event::StageChanged(_)])));
    }

    #[test]
    fn a_rollback_is_never_held_up() {
        let steps = live_with("v1", accuracy(0.5))
            .into_iter()
            .chain(live_with("v2", accuracy(0.9)))
            .chain([registry_rule(demanding(Production, &GATES))]);
        let after = given(steps).when(roll_back()).done();
        assert_eq!(after.state.production, Some(v("v1")));
    }

    #[test]
    fn a_version_is_registered_straight_into_a_stage_only_past_its_gates() {
        let steps = || [registry_rule(demanding(Staging, &GATES[..1]))];
        let straight = |value| registration_in(v("v1"), accuracy(value), Staging);
        let refused = given(steps()).when(straight(0.8)).result.unwrap_err();
        assert!(matches!(refused, Rejection::GatesClosed { to: Staging, .. }), "{refused}");
        let then = given(steps()).when(straight(0.9));
        let Ok([Event::VersionRegistered(_), Event::StageChanged(change)]) = then.result.as_deref() else {
            panic!("{:?}", then.result)
        };
        assert_eq!(change.gates.len(), 1);
    }

    #[test]
    fn a_models_rule_replaces_the_registrys_with_its_gates() {
        let own = alice(change_policy(demanding(Production, &[])));
        given(closed(&GATES).into_iter().chain([own])).when(promote("v2", Production)).done();
    }

    #[test]
    fn gates_that_demand_nothing_are_not_set() {
        let steps = || [alice(register("v1"))];
        let nothing = demanding(Production, &[r#"{"gate":"metric","name":"accuracy"}"#]);
        given(steps()).when(change_policy(nothing)).then_invalid("gate");
        let many = demanding(Production, &[r#"{"gate":"compatible"}"#; 51]);
        given(steps()).when(change_policy(many)).then_invalid("gates");
    }
}

mod with_approval {
    use super::*;

    fn rule(gates: &[&str]) -> PolicyChange {
        let rule = StageRule {
            approval: Some(ApprovalRule::default()),
            gates: gates.iter().map(|json| gate(json)).collect(),
        };
        PolicyChange::StageRule { stage: Production, rule: Some(rule) }
    }

    fn auc(value: f64) -> Content {
        measured(&value.to_string(), &format!(r#"{{"auc":{value}}}"#))
    }

    const BETTER: &str = r#"{"gate":"improvement","metric":"auc","by":{"absolute":0.01}}"#;

    /// v1 is in production; v2 and v3 are in staging; production demands an approval and something better.
    fn steps() -> Vec<Step> {
        let mut steps: Vec<Step> = live_with("v1", auc(0.8)).into_iter().collect();
        for (version, value) in [("v2", 0.85), ("v3", 0.9)] {
            steps.push(alice(register_as(version, auc(value))));
            steps.push(alice(promote(version, Staging)));
        }
        steps.push(registry_rule(rule(&[BETTER])));
        steps
    }

    #[test]
    fn nobody_is_bothered_with_what_would_be_refused() {
        let mut steps = steps();
        steps.push(registry_rule(rule(&[BETTER, r#"{"gate":"signed"}"#])));
        let refused = given(steps).by("bob").when(promote("v2", Production)).result.unwrap_err();
        assert!(matches!(&refused, Rejection::GatesClosed { failed, .. } if failed.len() == 1), "{refused}");
    }

    #[test]
    fn gates_are_looked_at_again_when_the_last_approval_completes_it() {
        let asked =
            || steps().into_iter().chain([bob(promote("v2", Production)), bob(promote("v3", Production))]);
        let then = given(asked()).by("carol").when(approve("v2"));
        let Ok([Event::PromotionApproved { .. }, .., Event::StageChanged(entered)]) = then.result.as_deref()
        else {
            panic!("{:?}", then.result)
        };
        assert_eq!(entered.gates[0].against, Some(v("v1")));
        // Meanwhile something better is in production.
        let overtaken = asked().chain([carol(approve("v3"))]);
        let refused = given(overtaken).by("carol").when(approve("v2")).result.unwrap_err();
        let Rejection::GatesClosed { failed, .. } = &refused else { panic!("{refused}") };
        assert_eq!(failed[0].against, Some(v("v3")));
    }

    #[test]
    fn an_approval_under_weaker_gates_does_not_pass_todays() {
        let asked = steps().into_iter().chain([
            bob(promote("v2", Production)),
            registry_rule(rule(&[r#"{"gate":"metric","name":"auc","at_least":0.99}"#])),
        ]);
        let refused = given(asked).by("carol").when(approve("v2")).result.unwrap_err();
        assert!(matches!(refused, Rejection::GatesClosed { .. }), "{refused}");
        // And under looser ones it passes.
        let asked = steps().into_iter().chain([bob(promote("v2", Production)), registry_rule(rule(&[]))]);
        given(asked).by("carol").when(approve("v2")).done();
    }

    #[test]
    fn an_objection_is_taken_back_also_while_a_gate_is_closed() {
        let objected = || {
            steps().into_iter().chain([
                bob(promote("v2", Production)),
                asked("dave", reject("v2")),
                carol(approve("v2")),
            ])
        };
        let open = given(objected()).by("dave").when(withdraw("v2")).done();
        assert_eq!(open.state.production, Some(v("v2")));
        let closed = objected().chain([registry_rule(rule(&[r#"{"gate":"signed"}"#]))]);
        let request = revision(8);
        let after =
            given(closed).by("dave").when(withdraw("v2")).then([Event::DecisionWithdrawn { request }]);
        assert_eq!(after.state.production, Some(v("v1")));
        // Said already, and held up by the gate.
        let refused = after.by("carol").when(approve("v2")).result.unwrap_err();
        assert!(matches!(refused, Rejection::GatesClosed { .. }), "{refused}");
    }
}
