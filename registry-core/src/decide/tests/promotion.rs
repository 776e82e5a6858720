//! Moves from stage to stage, and what bars a version from them.

use super::*;
use Stage::{Archived, Development, Production, Staging};

fn promote_from(version: &str, from: Stage, to: Stage) -> Command {
    Command::Promote { version: v(version), from: Some(from), to, require_approval: false, emergency: false }
}

fn by_choice(version: &str, to: Stage) -> Command {
    Command::Promote { version: v(version), from: None, to, require_approval: true, emergency: false }
}

fn emergency(version: &str, to: Stage) -> Command {
    Command::Promote { version: v(version), from: None, to, require_approval: false, emergency: true }
}

/// Brings a fresh version to a stage, by the default table.
fn in_stage(stage: Stage) -> Vec<Step> {
    let mut steps = vec![alice(register("v1"))];
    match stage {
        Development => {}
        Staging | Archived => steps.push(alice(promote("v1", stage))),
        Production => steps.extend([alice(promote("v1", Staging)), alice(promote("v1", Production))]),
    }
    steps
}

mod table {
    use super::*;

    #[test]
    fn every_move_is_allowed_or_refused_as_the_table_says() {
        let allowed = |from: Stage| match from {
            Development => vec![Staging, Archived],
            Staging => vec![Development, Production, Archived],
            Production => vec![Archived],
            Archived => vec![Development, Staging],
        };
        for from in Stage::ALL {
            for to in Stage::ALL {
                let then = given(in_stage(from)).when(promote("v1", to));
                if from == to {
                    then.then_nothing();
                } else if allowed(from).contains(&to) {
                    then.then([moved("v1", from, to)]);
                } else {
                    let version = v("v1");
                    let allowed = allowed(from);
                    then.then_err(Rejection::TransitionNotAllowed { version, from, to, allowed });
                }
            }
        }
    }

    #[test]
    fn a_policy_replaces_the_table() {
        let table = only([(Development, Production)]);
        let steps = || [alice(register("v1")), alice(change_policy(table.clone()))];
        given(steps()).when(promote("v1", Production)).then([moved("v1", Development, Production)]);
        given(steps()).when(promote("v1", Staging)).then_err(Rejection::TransitionNotAllowed {
            version: v("v1"),
            from: Development,
            to: Staging,
            allowed: vec![Production],
        });
        // Without its own table a model has the registry's, and with one its own alone.
        given([registry_rule(table.clone()), alice(register("v1"))])
            .when(promote("v1", Production))
            .then([moved("v1", Development, Production)]);
        let own = only([(Development, Staging)]);
        given([registry_rule(table), alice(register("v1")), alice(change_policy(own))])
            .when(promote("v1", Production))
            .then_err(Rejection::TransitionNotAllowed {
                version: v("v1"),
                from: Development,
                to: Production,
                allowed: vec![Staging],
            });
    }

    #[test]
    fn the_caller_may_insist_on_where_the_version_is() {
        given(in_stage(Staging))
            .when(promote_from("v1", Staging, Archived))
            .then([moved("v1", Staging, Archived)]);
        given(in_stage(Staging))
            .when(promote_from("v1", Development, Archived))
            .then_err(Rejection::WrongStage { version: v("v1"), expected: Development, actual: Staging });
        // Also where there is nothing left to do: somebody else was faster, and that is news.
        given(in_stage(Archived))
            .when(promote_from("v1", Staging, Archived))
            .then_err(Rejection::WrongStage { version: v("v1"), expected: Staging, actual: Archived });
    }
}

mod production {
    use super::*;

    #[test]
    fn the_version_before_is_archived_in_the_same_commit() {
        let after = given(live("v1").into_iter().chain(staged("v2")))
            .by("bob")
            .when(promote("v2", Production))
            .then(superseding("v2", "v1", plain()));
        assert_eq!(after.state.production, Some(v("v2")));
        assert_eq!(after.version("v1").stage, Archived);
        let spans: Vec<_> = after.state.production_spans().map(|s| (s.since.at, s.until)).collect();
        assert_eq!(spans, [(at(3), Some(at(6))), (at(6), None)]);
    }

    #[test]
    fn leaving_production_leaves_it_empty() {
        let after = given(live("v1")).when(promote("v1", Archived)).done();
        assert_eq!(after.state.production, None);
        assert_eq!(after.state.production_spans().next().unwrap().until, Some(at(4)));
        assert_eq!(after.state.production_at(at(3)).unwrap().version, v("v1"));
        assert_eq!(after.state.production_at(at(4)), None);
    }

    /// Whether going back from `new` to `old` is safe, as found when `new` enters production.
    fn safety(old: Content, new: Content) -> (Option<bool>, usize) {
        let steps = live_with("v1", old)
            .into_iter()
            .chain([alice(register_as("v2", new)), alice(promote("v2", Staging))]);
        let after = given(steps).when(promote("v2", Production)).done();
        let safety = after.version("v2").rollback_safety.as_ref().unwrap();
        assert_eq!(safety.to, v("v1"));
        (safety.safe, safety.findings.len())
    }

    #[test]
    fn whether_going_back_is_safe_is_found_on_the_way_in() {
        let base = || signed("a", &["amount"], &["score"]);
        assert_eq!(safety(base(), signed("b", &["amount"], &["score"])), (Some(true), 0));
        // A mere minor step forward, but a break on the way back: clients read the new output.
        assert_eq!(safety(base(), signed("b", &["amount"], &["score", "reason"])), (Some(false), 1));
        // A break on the way forward, and none on the way back.
        assert_eq!(safety(base(), signed("b", &["amount", "country"], &["score"])), (Some(true), 1));
        // Unknown is not safe.
        assert_eq!(safety(base(), weights("b")), (None, 0));
        assert_eq!(safety(weights("a"), base()), (None, 0));
    }

    #[test]
    fn a_side_of_the_signature_that_is_missing_leaves_it_unknown_unless_it_breaks_anyway() {
        let inputs =
            |json: &str| Content { signature: Some(serde_json::from_str(json).unwrap()), ..weights(json) };
        let old = || inputs(r#"{"inputs":{"a":"double"}}"#);
        assert_eq!(safety(old(), inputs(r#"{"inputs":{"a":"double"},"outputs":{"b":"double"}}"#)).0, None);
        let narrower = r#"{"inputs":{"a":"string"},"outputs":{"b":"double"}}"#;
        assert_eq!(safety(old(), inputs(narrower)).0, Some(false));
    }

    #[test]
    fn the_first_in_production_has_nothing_to_go_back_to() {
        let after =
            given(staged("v1")).when(promote("v1", Production)).then([moved("v1", Staging, Production)]);
        assert_eq!(after.version("v1").rollback_safety, None);
    }
}

mod bars {
    use super::*;

    #[test]
    fn a_quarantined_version_enters_neither_staging_nor_production() {
        let steps = || live("v1").into_iter().chain(live("v2")).chain([alice(roll_back())]);
        let expected = || Rejection::IsQuarantined { version: v("v2"), since: at(7) };
        given(steps()).when(promote("v2", Staging)).then_err(expected());
        given(steps()).because("now").when(emergency("v2", Staging)).then_err(expected());
        // It may be worked on.
        let after = given(steps()).when(promote("v2", Development)).done();
        after.when(promote("v2", Staging)).then_err(expected());
        let lifted = steps().chain([alice(Command::LiftQuarantine { version: v("v2") })]);
        given(lifted).when(promote("v2", Staging)).then([moved("v2", Archived, Staging)]);
    }

    #[test]
    fn a_version_past_its_end_of_life_is_not_promoted() {
        let end = at(100);
        let steps = || staged("v1").into_iter().chain([alice(deprecate("v1", Some(end)))]);
        // Up to the last instant it is.
        given(steps().chain([seconds_pass(96)])).when(promote("v1", Production)).done();
        let later = || given(steps().chain([seconds_pass(97)]));
        let expected = || Rejection::PastEndOfLife { version: v("v1"), end_of_life: end };
        later().when(promote("v1", Production)).then_err(expected());
        later().because("now").when(emergency("v1", Production)).then_err(expected());
        later().when(promote("v1", Archived)).done();
        let lifted = steps().chain([seconds_pass(200), alice(Command::LiftDeprecation { version: v("v1") })]);
        given(lifted).when(promote("v1", Production)).done();
    }

    #[test]
    fn a_deprecated_version_without_an_end_may_be_promoted() {
        let steps = staged("v1").into_iter().chain([alice(deprecate("v1", None)), seconds_pass(1_000_000)]);
        given(steps).when(promote("v1", Production)).done();
    }
}

mod approval_demanded {
    use super::*;

    fn rule() -> ApprovalRule {
        ApprovalRule::one_of([name("carol"), name("dave")])
    }

    fn demanded() -> Step {
        registry_rule(demand(Production, Some(rule())))
    }

    #[test]
    fn a_request_is_opened_instead_of_the_move() {
        let request = requested("v1", rule());
        let after = given([demanded()].into_iter().chain(staged("v1")))
            .by("bob")
            .when(promote("v1", Production))
            .then([Event::PromotionRequested(Box::new(request))]);
        assert_eq!(after.version("v1").stage, Staging);
        let waiting = after.state.requests.get(&revision(3)).unwrap();
        assert_eq!((&waiting.requested.actor, waiting.decisions.len()), (&name("bob"), 0));
    }

    #[test]
    fn the_request_lapses_when_the_rule_says() {
        let rule = ApprovalRule { expires_after_seconds: Some(60), ..rule() };
        let steps = [registry_rule(demand(Production, Some(rule.clone())))];
        let expires_at = Some(at(63));
        given(steps.into_iter().chain(staged("v1"))).when(promote("v1", Production)).then([
            Event::PromotionRequested(Box::new(PromotionRequested { expires_at, ..requested("v1", rule) })),
        ]);
    }

    #[test]
    fn a_wait_without_end_does_not_overflow() {
        let rule = ApprovalRule { expires_after_seconds: Some(u64::MAX), ..rule() };
        let steps = [registry_rule(demand(Production, Some(rule)))];
        let after = given(steps.into_iter().chain(staged("v1"))).when(promote("v1", Production)).done();
        after.by("carol").when(approve("v1")).done();
    }

    #[test]
    fn a_request_that_waits_is_not_made_twice() {
        let steps = || [demanded()].into_iter().chain(staged("v1")).chain([bob(promote("v1", Production))]);
        given(steps()).by("bob").when(promote("v1", Production)).then_nothing();
        given(steps()).by("alice").when(promote("v1", Production)).then_nothing();
    }

    #[test]
    fn other_stages_are_not_held_up() {
        given([demanded(), alice(register("v1"))]).when(promote("v1", Staging)).done();
    }

    #[test]
    fn a_models_rule_replaces_the_registrys_both_ways() {
        let own = |approval| {
            alice(change_policy(PolicyChange::StageRule {
                stage: Production,
                rule: Some(StageRule { approval, ..StageRule::default() }),
            }))
        };
        let relaxed = [demanded()].into_iter().chain(staged("v1")).chain([own(None)]);
        given(relaxed).when(promote("v1", Production)).then([moved("v1", Staging, Production)]);
        let other = ApprovalRule::one_of([name("erin")]);
        let stricter = [demanded()].into_iter().chain(staged("v1")).chain([own(Some(other.clone()))]);
        given(stricter)
            .when(promote("v1", Production))
            .then([Event::PromotionRequested(Box::new(requested("v1", other)))]);
    }

    #[test]
    fn a_request_that_lapsed_is_replaced() {
        let rule = ApprovalRule { expires_after_seconds: Some(60), ..rule() };
        let steps = [registry_rule(demand(Production, Some(rule.clone())))]
            .into_iter()
            .chain(staged("v1"))
            .chain([bob(promote("v1", Production)), seconds_pass(60)]);
        given(steps).when(promote("v1", Production)).then([
            closed(3, ClosedCause::Expired),
            Event::PromotionRequested(Box::new(PromotionRequested {
                expires_at: Some(at(124)),
                ..requested("v1", rule)
            })),
        ]);
    }

    #[test]
    fn a_request_under_another_rule_is_replaced() {
        let other = ApprovalRule { quorum: 2.try_into().unwrap(), ..rule() };
        let steps = [demanded()]
            .into_iter()
            .chain(staged("v1"))
            .chain([bob(promote("v1", Production)), registry_rule(demand(Production, Some(other.clone())))]);
        given(steps).when(promote("v1", Production)).then([
            closed(3, ClosedCause::Void),
            Event::PromotionRequested(Box::new(requested("v1", other))),
        ]);
    }

    #[test]
    fn a_request_is_voided_when_the_version_moves_by_other_means() {
        let steps = [demanded()].into_iter().chain(staged("v1")).chain([bob(promote("v1", Production))]);
        given(steps)
            .when(promote("v1", Archived))
            .then([closed(3, ClosedCause::Void), moved("v1", Staging, Archived)]);
    }

    #[test]
    fn requests_for_the_superseded_version_are_voided_with_it() {
        // Leaving production waits for approval; then another version takes its place.
        let rule = demand(Archived, Some(rule()));
        let steps = live("v1")
            .into_iter()
            .chain([registry_rule(rule)])
            .chain([bob(promote("v1", Archived))])
            .chain(staged("v2"));
        let [archived, entered] = superseding("v2", "v1", plain());
        given(steps).when(promote("v2", Production)).then([closed(4, ClosedCause::Void), archived, entered]);
    }
}

mod approval_by_choice {
    use super::*;

    #[test]
    fn approval_can_be_asked_for_where_nobody_demands_it() {
        let request = PromotionRequested { by_choice: true, ..requested("v1", ApprovalRule::default()) };
        given(staged("v1"))
            .when(by_choice("v1", Production))
            .then([Event::PromotionRequested(Box::new(request))]);
    }

    #[test]
    fn it_is_the_policys_rule_where_there_is_one() {
        let rule = ApprovalRule::one_of([name("carol")]);
        let steps = [registry_rule(demand(Production, Some(rule.clone())))].into_iter().chain(staged("v1"));
        given(steps)
            .when(by_choice("v1", Production))
            .then([Event::PromotionRequested(Box::new(requested("v1", rule)))]);
    }

    #[test]
    fn it_holds_nobody_who_does_not_choose_it() {
        let steps = staged("v1").into_iter().chain([bob(by_choice("v1", Production))]);
        given(steps)
            .when(promote("v1", Production))
            .then([closed(3, ClosedCause::Void), moved("v1", Staging, Production)]);
    }

    #[test]
    fn a_request_under_a_rule_that_is_gone_is_replaced_by_one_by_choice() {
        // The rule is the same as the one by choice, but nobody could approve the old request.
        let rule = ApprovalRule::default();
        let steps = || {
            let demanded = registry_rule(demand(Production, Some(rule.clone())));
            [demanded]
                .into_iter()
                .chain(staged("v1"))
                .chain([bob(promote("v1", Production)), registry_rule(demand(Production, None))])
        };
        let void = Rejection::RequestVoid { version: v("v1"), to: Production };
        given(steps()).by("carol").when(approve("v1")).then_err(void);
        let request = PromotionRequested { by_choice: true, ..requested("v1", rule.clone()) };
        let after = given(steps())
            .by("bob")
            .when(by_choice("v1", Production))
            .then([closed(3, ClosedCause::Void), Event::PromotionRequested(Box::new(request))]);
        after.by("carol").when(approve("v1")).done();
    }
}

mod emergencies {
    use super::*;

    fn waiting() -> impl Iterator<Item = Step> {
        let rule = ApprovalRule::one_of([name("carol")]);
        let demanded = registry_rule(demand(Production, Some(rule)));
        [demanded].into_iter().chain(staged("v1")).chain([bob(promote("v1", Production))])
    }

    #[test]
    fn a_reason_is_mandatory() {
        given(waiting())
            .when(emergency("v1", Production))
            .then_err(Rejection::ReasonRequired { what: "bypass an approval" });
    }

    #[test]
    fn the_bypass_is_on_record_and_what_waited_is_closed() {
        let rule = ApprovalRule::one_of([name("carol")]);
        given(waiting()).because("fraud wave").when(emergency("v1", Production)).then([
            Event::ApprovalOverridden { version: v("v1"), to: Production, rule },
            closed(3, ClosedCause::Void),
            moved("v1", Staging, Production),
        ]);
    }

    #[test]
    fn an_objection_does_not_hold_it_up() {
        let steps = waiting().chain([carol(reject("v1"))]);
        let after = given(steps).because("fraud wave").when(emergency("v1", Production)).done();
        assert_eq!(after.state.production, Some(v("v1")));
        assert!(after.state.requests.is_empty());
    }

    #[test]
    fn without_a_demand_nothing_is_bypassed() {
        given(staged("v1")).when(emergency("v1", Production)).then([moved("v1", Staging, Production)]);
    }

    #[test]
    fn the_table_of_moves_holds_in_an_emergency_too() {
        let steps = [registry_rule(demand(Production, Some(ApprovalRule::default()))), alice(register("v1"))];
        given(steps).because("now").when(emergency("v1", Production)).then_err(
            Rejection::TransitionNotAllowed {
                version: v("v1"),
                from: Development,
                to: Production,
                allowed: vec![Staging, Archived],
            },
        );
    }
}
