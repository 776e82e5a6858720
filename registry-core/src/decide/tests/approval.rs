//! Who may say yes, how many must, what a no does, and when any of it holds no longer.

use super::*;
use Stage::{Archived, Development, Production, Staging};

fn quorum(number: u32) -> ApprovalRule {
    ApprovalRule { quorum: number.try_into().unwrap(), ..ApprovalRule::default() }
}

/// Alice registered v1, bob asked for its promotion at revision 3 under this rule.
fn waiting(rule: ApprovalRule) -> impl Iterator<Item = Step> {
    let demanded = registry_rule(demand(Production, Some(rule)));
    [demanded].into_iter().chain(staged("v1")).chain([bob(promote("v1", Production))])
}

fn rejected(request: u64) -> Event {
    Event::PromotionRejected { request: revision(request), comment: None }
}

fn withdrawn(request: u64) -> Event {
    Event::DecisionWithdrawn { request: revision(request) }
}

/// The promotion of v1, completed by these approvals of the request at revision 3.
fn completed(approvals: Vec<Decision>) -> Event {
    let cause = StageCause::Promotion { request: Some(revision(3)), approvals };
    moved_because("v1", Staging, Production, cause)
}

/// What goes on record of an approval of the request at revision 3 by somebody who may not.
fn refused(cause: RefusedCause) -> Event {
    Event::ApprovalRefused { request: revision(3), cause }
}

mod completion {
    use super::*;

    #[test]
    fn the_last_approval_needed_completes_the_promotion_in_the_same_commit() {
        let after = given(waiting(quorum(1)))
            .by("carol")
            .when(approve("v1"))
            .then([approved(3), completed(vec![yes("carol", 4)])]);
        assert_eq!(after.state.production, Some(v("v1")));
        assert!(after.state.requests.is_empty());
    }

    #[test]
    fn meaning_and_comment_are_kept_with_the_move() {
        let (meaning, comment) = (Some(text("validation")), Some(text("fine")));
        let decision = Decision { meaning: meaning.clone(), comment: comment.clone(), ..yes("carol", 4) };
        given(waiting(quorum(1)))
            .by("carol")
            .when(Command::Approve {
                version: v("v1"),
                to: Some(Production),
                meaning: meaning.clone(),
                comment: comment.clone(),
            })
            .then([
                Event::PromotionApproved { request: revision(3), meaning, comment },
                completed(vec![decision]),
            ]);
    }

    #[test]
    fn it_supersedes_like_any_promotion() {
        let steps = live("v0.9").into_iter().chain(
            [registry_rule(demand(Production, Some(quorum(1))))]
                .into_iter()
                .chain(staged("v1"))
                .chain([bob(promote("v1", Production))]),
        );
        let cause = StageCause::Promotion { request: Some(revision(6)), approvals: vec![yes("carol", 7)] };
        let [archived, entered] = superseding("v1", "v0.9", cause);
        given(steps).by("carol").when(approve("v1")).then([approved(6), archived, entered]);
    }

    #[test]
    fn a_quorum_counts_different_people() {
        let steps = || waiting(quorum(2));
        given(steps()).by("carol").when(approve("v1")).then([approved(3)]);
        let one = || steps().chain([carol(approve("v1"))]);
        given(one()).by("carol").when(approve("v1")).then_nothing();
        given(one())
            .by("dave")
            .when(approve("v1"))
            .then([approved(3), completed(vec![yes("carol", 4), yes("dave", 5)])]);
    }

    #[test]
    fn an_approval_can_be_taken_back_before_it_is_enough() {
        let steps = || waiting(quorum(2)).chain([carol(approve("v1"))]);
        let after = given(steps()).by("carol").when(withdraw("v1")).then([withdrawn(3)]);
        after.by("dave").when(approve("v1")).then([approved(3)]);
    }
}

mod people {
    use super::*;

    #[test]
    fn only_approvers_that_are_named_may_approve_or_object() {
        let rule = ApprovalRule::one_of([name("dave"), name("carol")]);
        let expected =
            || Rejection::NotAnApprover { actor: name("erin"), approvers: vec![name("carol"), name("dave")] };
        let approvers = [name("carol"), name("dave")].into();
        given(waiting(rule.clone()))
            .by("erin")
            .when(approve("v1"))
            .then_err_on_record(expected(), refused(RefusedCause::NotAnApprover { approvers }));
        given(waiting(rule.clone())).by("erin").when(reject("v1")).then_err(expected());
        given(waiting(rule.clone())).by("dave").when(reject("v1")).then([rejected(3)]);
        given(waiting(rule)).by("carol").when(approve("v1")).done();
    }

    #[test]
    fn the_registrant_is_excluded_unless_allowed() {
        let expected = Rejection::SelfApproval { actor: name("alice"), role: "registered the version" };
        given(waiting(quorum(1)))
            .by("alice")
            .when(approve("v1"))
            .then_err_on_record(expected.clone(), refused(RefusedCause::Registrant));
        let switched = ApprovalRule { registrant_may_approve: true, ..quorum(1) };
        given(waiting(switched)).by("alice").when(approve("v1")).done();
        // The other switch is not the one.
        let switched = ApprovalRule { requester_may_approve: true, ..quorum(1) };
        given(waiting(switched))
            .by("alice")
            .when(approve("v1"))
            .then_err_on_record(expected, refused(RefusedCause::Registrant));
    }

    #[test]
    fn the_requester_is_excluded_unless_allowed() {
        let expected = Rejection::SelfApproval { actor: name("bob"), role: "asked for the promotion" };
        given(waiting(quorum(1)))
            .by("bob")
            .when(approve("v1"))
            .then_err_on_record(expected.clone(), refused(RefusedCause::Requester));
        let switched = ApprovalRule { requester_may_approve: true, ..quorum(1) };
        given(waiting(switched)).by("bob").when(approve("v1")).done();
        let switched = ApprovalRule { registrant_may_approve: true, ..quorum(1) };
        given(waiting(switched))
            .by("bob")
            .when(approve("v1"))
            .then_err_on_record(expected, refused(RefusedCause::Requester));
    }

    #[test]
    fn whoever_was_refused_is_refused_again_and_others_may_go_on() {
        let refusal = || Rejection::SelfApproval { actor: name("alice"), role: "registered the version" };
        let noted = || refused(RefusedCause::Registrant);
        let once = given(waiting(quorum(1))).by("alice").when(approve("v1"));
        let twice = once.then_err_on_record(refusal(), noted()).by("alice").when(approve("v1"));
        let after = twice.then_err_on_record(refusal(), noted());
        after.by("carol").when(approve("v1")).then([approved(3), completed(vec![yes("carol", 6)])]);
    }

    #[test]
    fn being_named_does_not_make_up_for_being_excluded() {
        let rule = ApprovalRule::one_of([name("alice"), name("bob")]);
        let refused = |actor: &str| given(waiting(rule.clone())).by(actor).when(approve("v1")).result;
        assert!(matches!(refused("alice"), Err(Rejection::SelfApproval { .. })));
        assert!(matches!(refused("bob"), Err(Rejection::SelfApproval { .. })));
    }

    #[test]
    fn the_excluded_may_object() {
        given(waiting(quorum(1))).by("alice").when(reject("v1")).then([rejected(3)]);
        given(waiting(quorum(1))).by("bob").when(reject("v1")).then([rejected(3)]);
    }
}

mod objections {
    use super::*;

    #[test]
    fn one_blocks_however_many_approve() {
        let steps = waiting(quorum(1)).chain([carol(reject("v1"))]);
        let after = given(steps).by("dave").when(approve("v1")).then([approved(3)]);
        let after = after.by("erin").when(approve("v1")).then([approved(3)]);
        assert_eq!(after.version("v1").stage, Staging);
    }

    #[test]
    fn the_withdrawal_of_the_last_one_completes() {
        let steps = || waiting(quorum(1)).chain([carol(reject("v1")), asked("dave", approve("v1"))]);
        given(steps()).by("carol").when(withdraw("v1")).then([withdrawn(3), completed(vec![yes("dave", 5)])]);
        let two = steps().chain([asked("erin", reject("v1"))]);
        given(two).by("carol").when(withdraw("v1")).then([withdrawn(3)]);
    }

    #[test]
    fn without_enough_approvals_a_withdrawal_completes_nothing() {
        let steps = waiting(quorum(2)).chain([carol(reject("v1")), asked("dave", approve("v1"))]);
        given(steps).by("carol").when(withdraw("v1")).then([withdrawn(3)]);
    }

    #[test]
    fn whoever_objected_may_change_their_mind_and_the_other_way_round() {
        let steps = waiting(quorum(1)).chain([carol(reject("v1"))]);
        given(steps).by("carol").when(approve("v1")).then([approved(3), completed(vec![yes("carol", 5)])]);
        let steps = waiting(quorum(2)).chain([carol(approve("v1"))]);
        let after = given(steps).by("carol").when(reject("v1")).then([rejected(3)]);
        let decisions = &after.state.requests.get(&revision(3)).unwrap().decisions;
        assert_eq!(decisions.iter().map(|d| d.approved).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn objecting_twice_is_nothing_new() {
        let steps = waiting(quorum(1)).chain([carol(reject("v1"))]);
        given(steps).by("carol").when(reject("v1")).then_nothing();
    }

    #[test]
    fn a_withdrawal_completes_nothing_that_may_no_longer_be() {
        let gone = |version| deprecate(version, Some(start()));
        let steps = || {
            waiting(quorum(1)).chain([carol(reject("v1")), asked("dave", approve("v1")), alice(gone("v1"))])
        };
        given(steps()).by("carol").when(withdraw("v1")).then([withdrawn(3)]);
        // Once it may be again, whoever approved can say so again, and that completes it.
        let lifted =
            steps().chain([carol(withdraw("v1")), alice(Command::LiftDeprecation { version: v("v1") })]);
        given(lifted).by("dave").when(approve("v1")).then([completed(vec![yes("dave", 5)])]);
    }
}

mod withdrawal {
    use super::*;

    #[test]
    fn the_requester_takes_back_the_request() {
        let after = given(waiting(quorum(1)))
            .by("bob")
            .when(withdraw("v1"))
            .then([closed(3, ClosedCause::Withdrawn)]);
        after.by("carol").when(approve("v1")).then_err(Rejection::NoOpenRequest { version: v("v1") });
    }

    #[test]
    fn a_requester_who_decided_takes_back_the_decision_first() {
        let rule = ApprovalRule { requester_may_approve: true, ..quorum(2) };
        let steps = waiting(rule).chain([bob(approve("v1"))]);
        let after = given(steps).by("bob").when(withdraw("v1")).then([withdrawn(3)]);
        after.when(withdraw("v1")).then([closed(3, ClosedCause::Withdrawn)]);
    }

    #[test]
    fn others_have_nothing_to_take_back() {
        let expected = Rejection::NothingToWithdraw { actor: name("carol"), version: v("v1") };
        given(waiting(quorum(1))).by("carol").when(withdraw("v1")).then_err(expected);
    }
}

mod which {
    use super::*;

    #[test]
    fn without_a_request_there_is_nothing_to_decide() {
        let expected = || Rejection::NoOpenRequest { version: v("v1") };
        for command in [approve("v1"), reject("v1"), withdraw("v1")] {
            given(staged("v1")).by("carol").when(command).then_err(expected());
        }
        let other = Command::Approve { version: v("v1"), to: Some(Archived), meaning: None, comment: None };
        given(waiting(quorum(1))).by("carol").when(other).then_err(expected());
    }

    #[test]
    fn of_two_requests_one_must_be_named() {
        let steps = || {
            [registry_rule(demand(Archived, Some(quorum(1))))]
                .into_iter()
                .chain(waiting(quorum(1)))
                .chain([bob(promote("v1", Archived))])
        };
        let expected =
            || Rejection::AmbiguousRequest { version: v("v1"), waiting: vec![Production, Archived] };
        for command in [approve("v1"), reject("v1"), withdraw("v1")] {
            given(steps()).by("carol").when(command).then_err(expected());
        }
        let named = Command::Approve { version: v("v1"), to: Some(Archived), meaning: None, comment: None };
        let cause = StageCause::Promotion { request: Some(revision(4)), approvals: vec![yes("carol", 5)] };
        given(steps()).by("carol").when(named).then([
            approved(4),
            closed(3, ClosedCause::Void),
            moved_because("v1", Staging, Archived, cause),
        ]);
    }

    #[test]
    fn requests_of_other_versions_are_left_alone() {
        let steps = waiting(quorum(1)).chain(staged("v2")).chain([bob(promote("v2", Production))]);
        let after = given(steps).by("carol").when(approve("v2")).done();
        assert_eq!(after.state.production, Some(v("v2")));
        assert_eq!(after.state.requests.keys().collect::<Vec<_>>(), [&revision(3)]);
    }
}

mod validity {
    use super::*;

    fn void() -> Rejection {
        Rejection::RequestVoid { version: v("v1"), to: Production }
    }

    #[test]
    fn a_request_lapses_after_its_last_instant() {
        let rule = ApprovalRule { expires_after_seconds: Some(60), ..quorum(1) };
        let later = |seconds| given(waiting(rule.clone()).chain([seconds_pass(seconds)])).by("carol");
        let expected = || Rejection::RequestExpired { version: v("v1"), expired_at: at(63) };
        later(59).when(approve("v1")).done();
        later(60).when(approve("v1")).then_err(expected());
        // An objection would hold up nothing; better to say so.
        later(60).when(reject("v1")).then_err(expected());
        // What was said and asked can still be taken back.
        later(60).by("bob").when(withdraw("v1")).then([closed(3, ClosedCause::Withdrawn)]);
    }

    #[test]
    fn an_objection_withdrawn_after_the_end_completes_nothing() {
        let rule = ApprovalRule { expires_after_seconds: Some(60), ..quorum(1) };
        let steps =
            waiting(rule).chain([carol(reject("v1")), asked("dave", approve("v1")), seconds_pass(60)]);
        given(steps).by("carol").when(withdraw("v1")).then([withdrawn(3)]);
    }

    #[test]
    fn another_rule_voids_what_was_said_under_the_old_one() {
        let changes = [
            demand(Production, Some(quorum(2))),
            demand(Production, Some(ApprovalRule::one_of([name("carol")]))),
            demand(Production, Some(ApprovalRule { expires_after_seconds: Some(9), ..quorum(1) })),
            demand(Production, Some(ApprovalRule { registrant_may_approve: true, ..quorum(1) })),
            demand(Production, None),
        ];
        for change in changes {
            let steps = || waiting(quorum(1)).chain([registry_rule(change.clone())]);
            given(steps()).by("carol").when(approve("v1")).then_err(void());
            given(steps()).by("carol").when(reject("v1")).then_err(void());
        }
        // The model's own rule counts before the registry's.
        let own = change_policy(demand(Production, Some(quorum(2))));
        given(waiting(quorum(1)).chain([alice(own)])).by("carol").when(approve("v1")).then_err(void());
    }

    #[test]
    fn a_rule_for_another_stage_voids_nothing() {
        let steps = waiting(quorum(1)).chain([registry_rule(demand(Staging, Some(quorum(3))))]);
        given(steps).by("carol").when(approve("v1")).done();
    }

    #[test]
    fn a_rule_that_changes_and_changes_back_is_the_same_rule() {
        let steps = waiting(quorum(1)).chain([
            registry_rule(demand(Production, Some(quorum(2)))),
            registry_rule(demand(Production, Some(quorum(1)))),
        ]);
        given(steps).by("carol").when(approve("v1")).done();
    }

    #[test]
    fn a_table_that_forbids_the_move_meanwhile_stops_it() {
        let table = only([(Staging, Archived), (Development, Staging)]);
        let steps = waiting(quorum(1)).chain([registry_rule(table)]);
        given(steps).by("carol").when(approve("v1")).then_err(Rejection::TransitionNotAllowed {
            version: v("v1"),
            from: Staging,
            to: Production,
            allowed: vec![Archived],
        });
    }

    #[test]
    fn a_version_that_moved_takes_its_request_along() {
        for to in [Archived, Development] {
            let steps = waiting(quorum(1)).chain([alice(promote("v1", to)), alice(promote("v1", Staging))]);
            let expected = Rejection::NoOpenRequest { version: v("v1") };
            given(steps).by("carol").when(approve("v1")).then_err(expected);
        }
    }

    #[test]
    fn an_approval_is_bound_to_content_and_place() {
        // The rules never let these come about; a log written by others may hold them all the same.
        let request = |edit: fn(&mut PromotionRequested)| {
            let mut request = PromotionRequested { by_choice: true, ..requested("v1", quorum(1)) };
            edit(&mut request);
            staged("v1").into_iter().chain([happened(Event::PromotionRequested(Box::new(request)))])
        };
        given(request(|_| {})).by("carol").when(approve("v1")).done();
        given(request(|r| r.digest = Digest::of(b"other"))).by("carol").when(approve("v1")).then_err(void());
        given(request(|r| r.from = Development)).by("carol").when(approve("v1")).then_err(void());
    }

    #[test]
    fn an_amendment_leaves_the_content_and_the_approval_as_they_are() {
        let amend = Command::Amend {
            version: v("v1"),
            metadata: Box::default(),
            metrics: [("auc".parse().unwrap(), crate::content::Metric::new(0.5).unwrap())].into(),
            deployment: Box::default(),
            links: Vec::new(),
        };
        given(waiting(quorum(1)).chain([alice(amend)])).by("carol").when(approve("v1")).done();
    }

    #[test]
    fn what_bars_a_version_bars_it_at_the_last_approval_too() {
        let steps = waiting(quorum(1)).chain([alice(deprecate("v1", Some(start())))]);
        let expected = Rejection::PastEndOfLife { version: v("v1"), end_of_life: start() };
        given(steps).by("carol").when(approve("v1")).then_err(expected);
        let steps = waiting(quorum(1)).chain([happened(Event::Quarantined { version: v("v1") })]);
        let expected = Rejection::IsQuarantined { version: v("v1"), since: at(4) };
        given(steps).by("carol").when(approve("v1")).then_err(expected);
    }

    #[test]
    fn a_request_by_choice_outlives_everything_but_a_rule() {
        let choice = Command::Promote {
            version: v("v1"),
            from: None,
            to: Production,
            require_approval: true,
            emergency: false,
        };
        let steps = || staged("v1").into_iter().chain([bob(choice.clone())]);
        given(steps()).by("carol").when(approve("v1")).then([approved(3), completed(vec![yes("carol", 4)])]);
        let same = steps().chain([registry_rule(demand(Production, Some(ApprovalRule::default())))]);
        given(same).by("carol").when(approve("v1")).done();
        let other = steps().chain([registry_rule(demand(Production, Some(quorum(2))))]);
        given(other).by("carol").when(approve("v1")).then_err(void());
    }
}
