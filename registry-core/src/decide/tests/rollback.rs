//! Back to a version that served before: one commit, no surprise.

use super::*;
use crate::event::RolledBack;
use Stage::{Archived, Production};

fn rolled_back(from: &str, to: &str) -> RolledBack {
    RolledBack {
        from: v(from),
        to: v(to),
        findings: Vec::new(),
        forced: false,
        passed_over: Vec::new(),
        broken_rule: None,
    }
}

/// All events of going back from one version in production to an archived one.
fn back(done: RolledBack) -> [Event; 4] {
    let (from, to) = (done.from.clone(), done.to.clone());
    let moved = |version: &Version, start, end, cause| moved_because(&version.to_string(), start, end, cause);
    [
        Event::RolledBack(Box::new(done)),
        moved(&from, Production, Archived, StageCause::RolledBack { to: to.clone() }),
        Event::Quarantined { version: from.clone() },
        moved(&to, Archived, Production, StageCause::Rollback { from }),
    ]
}

fn lives(versions: &[&str]) -> Vec<Step> {
    versions.iter().flat_map(|version| live(version)).collect()
}

mod previous_good {
    use super::*;

    #[test]
    fn it_goes_back_to_the_one_before_in_one_commit() {
        let then = given(lives(&["v1", "v2"])).when(roll_back());
        assert_eq!(then.bytes_read, [v("v1")], "only the bytes of the target are read");
        let after = then.then(back(rolled_back("v2", "v1")));
        assert_eq!(after.state.production, Some(v("v1")));
        assert_eq!(after.version("v2").stage, Archived);
        assert!(after.version("v2").quarantined.is_some());
        let spans: Vec<_> =
            after.state.production_spans().map(|s| (s.version.to_string(), s.until)).collect();
        let expected =
            [("v1.0.0".into(), Some(at(6))), ("v2.0.0".into(), Some(at(7))), ("v1.0.0".into(), None)];
        assert_eq!(spans, expected);
    }

    #[test]
    fn going_back_twice_goes_further_back() {
        let steps = lives(&["v1", "v2", "v3"]).into_iter().chain([alice(roll_back())]);
        let expected = RolledBack {
            passed_over: vec![(v("v3"), "is quarantined".to_owned())],
            ..rolled_back("v2", "v1")
        };
        given(steps).when(roll_back()).then(back(expected));
    }

    #[test]
    fn deprecated_quarantined_deleted_and_damaged_versions_are_passed_over() {
        let steps = lives(&["v1", "v2", "v3", "v4", "v5", "v6"]).into_iter().chain([
            alice(roll_back_to("v4")), // v6 is quarantined
            alice(deprecate("v5", None)),
            alice(delete("v3")),
            damaged("v2"),
        ]);
        let then = given(steps).when(roll_back());
        assert_eq!(then.bytes_read, [v("v2"), v("v1")]);
        let passed_over = [
            ("v6", "is quarantined"),
            ("v5", "is deprecated"),
            ("v3", "is deleted"),
            ("v2", "a byte was flipped"),
        ];
        then.then(back(RolledBack {
            passed_over: passed_over.map(|(version, why)| (v(version), why.to_owned())).into(),
            ..rolled_back("v4", "v1")
        }));
    }

    #[test]
    fn what_is_foretold_is_what_happens() {
        for (steps, foretold) in [
            (lives(&["v1", "v2", "v3"]), Some("v2")),
            (lives(&["v1", "v2", "v3"]).into_iter().chain([alice(roll_back())]).collect(), Some("v1")),
            (
                lives(&["v1", "v2", "v3"]).into_iter().chain([alice(deprecate("v2", None))]).collect(),
                Some("v1"),
            ),
            (lives(&["v1", "v2", "v3"]).into_iter().chain([alice(delete("v2"))]).collect(), Some("v1")),
            (lives(&["v1"]), None),
            (staged("v1").into(), None),
        ] {
            let given = given(steps);
            let outlook = given.state.rollback_outlook();
            assert_eq!(outlook.as_ref().map(|outlook| outlook.to.clone()), foretold.map(v));
            match outlook {
                Some(outlook) => {
                    let after = given.when(roll_back()).done();
                    assert_eq!(after.state.production, Some(outlook.to));
                    assert_eq!(outlook.safe, None, "neither has a signature");
                }
                None => assert!(given.when(roll_back()).result.is_err()),
            }
        }
    }

    #[test]
    fn a_version_that_never_served_is_no_target() {
        let steps = lives(&["v1"]).into_iter().chain(staged("v2"));
        given(steps).when(roll_back()).then_err(Rejection::NoRollbackTarget { passed_over: Vec::new() });
    }

    #[test]
    fn the_way_back_ends_where_nothing_good_is_left() {
        let steps = lives(&["v1", "v2"]).into_iter().chain([damaged("v1")]);
        let passed_over = vec![(v("v1"), "a byte was flipped".to_owned())];
        given(steps).when(roll_back()).then_err(Rejection::NoRollbackTarget { passed_over });
    }

    #[test]
    fn without_anything_in_production_there_is_nothing_to_go_back_from() {
        given(staged("v1")).when(roll_back()).then_err(Rejection::NothingInProduction);
        let steps = || lives(&["v1", "v2"]).into_iter().chain([alice(promote("v2", Archived))]);
        given(steps()).when(roll_back()).then_err(Rejection::NothingInProduction);
        given(steps()).when(roll_back_to("v1")).then_err(Rejection::NothingInProduction);
    }

    #[test]
    fn a_target_is_taken_from_wherever_it_stands() {
        let steps = lives(&["v1", "v2"]).into_iter().chain([alice(promote("v1", Stage::Staging))]);
        let after = given(steps).when(roll_back()).done();
        assert_eq!(after.version("v1").stage, Production);
        assert_eq!(after.state.staging().count(), 0);
    }
}

mod named {
    use super::*;

    #[test]
    fn it_goes_back_to_the_one_named() {
        let then = given(lives(&["v1", "v2", "v3"])).when(roll_back_to("v1"));
        assert_eq!(then.bytes_read, [v("v1")]);
        then.then(back(rolled_back("v3", "v1")));
    }

    #[test]
    fn a_deprecated_version_may_be_named_until_its_life_ends() {
        let steps = |end| lives(&["v1", "v2"]).into_iter().chain([alice(deprecate("v1", end))]);
        given(steps(None)).when(roll_back_to("v1")).then(back(rolled_back("v2", "v1")));
        let expected = Rejection::PastEndOfLife { version: v("v1"), end_of_life: start() };
        given(steps(Some(start()))).when(roll_back_to("v1")).then_err(expected);
    }

    #[test]
    fn a_quarantined_version_is_refused_until_it_is_lifted() {
        let steps = || lives(&["v1", "v2"]).into_iter().chain([alice(roll_back())]);
        let expected = Rejection::IsQuarantined { version: v("v2"), since: at(7) };
        given(steps()).when(roll_back_to("v2")).then_err(expected);
        let lifted = steps().chain([alice(Command::LiftQuarantine { version: v("v2") })]);
        given(lifted).when(roll_back_to("v2")).then(back(rolled_back("v1", "v2")));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let steps = lives(&["v1", "v2"]).into_iter().chain([damaged("v1")]);
        given(steps)
            .when(roll_back_to("v1"))
            .then_err(Rejection::BytesDamaged { version: v("v1"), problem: "a byte was flipped".to_owned() });
    }

    #[test]
    fn a_version_that_is_or_never_was_in_production_is_refused() {
        let refused = |version: &str, problem: &str| {
            let steps = lives(&["v1", "v2"]).into_iter().chain(staged("v3"));
            given(steps)
                .when(roll_back_to(version))
                .then_err(Rejection::NotARollbackTarget { version: v(version), problem: problem.to_owned() });
        };
        refused("v2", "it is in production");
        refused("v3", "it never was in production; promote it instead");
    }

    #[test]
    fn a_deleted_version_is_refused() {
        let steps = lives(&["v1", "v2"]).into_iter().chain([alice(delete("v1"))]);
        given(steps).when(roll_back_to("v1")).then_err(Rejection::IsDeleted { version: v("v1") });
    }
}

mod clients {
    use super::*;

    fn forced() -> Command {
        Command::Rollback { to: None, force: true }
    }

    /// v2 has one more output than v1: clients of v2 would miss it.
    fn grown() -> impl Iterator<Item = Step> {
        let grown = signed("b", &["amount"], &["score", "reason"]);
        live_with("v1", signed("a", &["amount"], &["score"])).into_iter().chain(live_with("v2", grown))
    }

    #[test]
    fn a_rollback_that_breaks_them_is_refused_with_what_they_would_meet() {
        match given(grown()).when(roll_back()).result {
            Err(Rejection::RollbackBreaksClients { from, to, findings }) => {
                assert_eq!((from, to), (v("v2"), v("v1")));
                assert_eq!(findings.len(), 1);
                assert_eq!(findings[0].path, "outputs.reason");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_can_be_forced_for_a_reason() {
        given(grown()).when(forced()).then_err(Rejection::ReasonRequired { what: "force a rollback" });
        let after = given(grown()).because("it loses money").when(forced()).done();
        assert_eq!(after.state.production, Some(v("v1")));
    }

    #[test]
    fn that_it_was_forced_is_on_record() {
        let result = given(grown()).because("it loses money").when(forced()).result;
        match result.as_deref() {
            Ok([Event::RolledBack(done), ..]) => assert!(done.forced && done.findings.len() == 1),
            other => panic!("{other:?}"),
        }
        // Force that was not needed is not called so, and needs no reason.
        given(lives(&["v1", "v2"])).when(forced()).then(back(rolled_back("v2", "v1")));
    }

    #[test]
    fn force_overcomes_nothing_else() {
        let force_to = |version: &str| Command::Rollback { to: Some(v(version)), force: true };
        let world = |step| given(lives(&["v1", "v2"]).into_iter().chain([step])).because("now");
        let refused = |step| world(step).when(force_to("v1")).result.unwrap_err();
        assert!(matches!(refused(damaged("v1")), Rejection::BytesDamaged { .. }));
        assert!(matches!(refused(alice(delete("v1"))), Rejection::IsDeleted { .. }));
        let quarantined = happened(Event::Quarantined { version: v("v1") });
        assert!(matches!(refused(quarantined), Rejection::IsQuarantined { .. }));
    }
}

mod aftermath {
    use super::*;

    #[test]
    fn requests_of_both_versions_are_voided() {
        let rule = |stage| registry_rule(demand(stage, Some(ApprovalRule::default())));
        let steps = lives(&["v1", "v2"]).into_iter().chain([
            rule(Archived),
            rule(Stage::Staging),
            bob(promote("v2", Archived)),       // revision 7
            bob(promote("v1", Stage::Staging)), // revision 8
        ]);
        let [rolled_back, rest @ ..] = back(rolled_back("v2", "v1"));
        let voided = [closed(7, ClosedCause::Void), closed(8, ClosedCause::Void)];
        given(steps).when(roll_back()).then([rolled_back].into_iter().chain(voided).chain(rest));
    }

    #[test]
    fn no_approval_and_no_table_stands_in_the_way_back() {
        let steps = lives(&["v1", "v2"]).into_iter().chain([
            registry_rule(demand(Production, Some(ApprovalRule::default()))),
            registry_rule(only([])),
        ]);
        given(steps).when(roll_back()).then(back(rolled_back("v2", "v1")));
    }

    #[test]
    fn a_quarantine_is_lifted_for_a_reason_and_once() {
        let lift = || Command::LiftQuarantine { version: v("v2") };
        let steps = || lives(&["v1", "v2"]).into_iter().chain([alice(roll_back())]);
        let needed = Rejection::ReasonRequired { what: "lift a quarantine" };
        given(steps()).when(lift()).then_err(needed);
        let after = given(steps())
            .because("the data was wrong, not the model")
            .when(lift())
            .then([Event::QuarantineLifted { version: v("v2") }]);
        after.when(lift()).then_nothing();
    }
}
