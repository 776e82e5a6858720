//! How a trial begins, is fed, looked at, concluded and ended, and what it opens.

use std::num::{NonZeroU32, NonZeroU64};

use super::*;
use crate::compare::Significance;
use crate::content::Direction;
use crate::event::{AbortCause, TrialStarted};
use crate::trial::{
    Arm, Arms, Counts, Goal, Judgement, Margin, Measure, MeasureKind, Moments, PlannedEnd, RUNNING_MAX,
    Route, Share, Tally, TrialPlan, TrialStage, Undecided, Verdict,
};
use Stage::{Archived, Development, Production, Staging};

/// An A/B test in staging with a tenth of its traffic, planned for 1,000 clicks and views in each arm.
fn plan() -> TrialPlan {
    TrialPlan {
        stage: TrialStage::Staging,
        share: Share::new(0.1).unwrap(),
        measure: Measure {
            name: "click rate".parse().unwrap(),
            kind: MeasureKind::Proportion,
            direction: Direction::Higher,
        },
        goal: Goal::Better,
        end: PlannedEnd::new(None, NonZeroU64::new(1_000)).unwrap(),
        significance: Significance::default(),
        looks: NonZeroU32::MIN,
    }
}

fn in_production(share: f64) -> TrialPlan {
    TrialPlan { stage: TrialStage::Production, share: Share::new(share).unwrap(), ..plan() }
}

fn start_with(treatment: &str, control: Option<&str>, plan: TrialPlan) -> Command {
    Command::StartTrial { treatment: v(treatment), control: control.map(v), plan: Box::new(plan) }
}

pub(super) fn start(treatment: &str) -> Command {
    start_with(treatment, None, plan())
}

fn counted(control: (u64, u64), treatment: (u64, u64)) -> Tally {
    let counts = |(successes, trials)| Counts::new(successes, trials).unwrap();
    Tally::Proportion(Arms { control: counts(control), treatment: counts(treatment) })
}

pub(super) fn observe(treatment: &str, control: (u64, u64), treated: (u64, u64)) -> Command {
    Command::ObserveTrial { treatment: v(treatment), observed: counted(control, treated) }
}

pub(super) fn conclude(treatment: &str) -> Command {
    Command::ConcludeTrial { treatment: v(treatment) }
}

pub(super) fn abort(treatment: &str) -> Command {
    Command::AbortTrial { treatment: v(treatment) }
}

fn arm(version: &str) -> Arm {
    Arm { version: v(version), digest: weights(version).digest() }
}

/// v1 is in production and v2 in staging: five commits.
fn two() -> Vec<Step> {
    live("v1").into_iter().chain(staged("v2")).collect()
}

/// And a trial of v2 runs since revision 6.
fn running(plan: TrialPlan) -> Vec<Step> {
    two().into_iter().chain([bob(start_with("v2", None, plan))]).collect()
}

fn displaced(trial: u64, version: &str) -> Event {
    Event::TrialAborted { trial: revision(trial), cause: AbortCause::Displaced { version: v(version) } }
}

/// How the one event of a command judges.
#[track_caller]
fn judged(then: &Then) -> (&'static str, &Judgement) {
    match then.result.as_deref() {
        Ok([event @ (Event::TrialLooked { judgement, .. } | Event::TrialConcluded { judgement, .. })]) => {
            (event.kind(), judgement)
        }
        other => panic!("{other:?}"),
    }
}

mod beginning {
    use super::*;

    #[test]
    fn a_trial_is_against_production_unless_another_control_is_named() {
        let started = |control: &str| {
            Event::TrialStarted(Box::new(TrialStarted {
                treatment: arm("v2"),
                control: arm(control),
                plan: plan(),
            }))
        };
        let after = given(two()).when(start("v2")).then([started("v1")]);
        let trial = &after.state.trials[&revision(6)];
        assert_eq!((trial.started.at, trial.looks_taken, trial.tally.is_empty()), (at(6), 0, true));
        let steps = || two().into_iter().chain([alice(register("v0.5"))]);
        given(steps()).when(start_with("v2", Some("v0.5"), plan())).then([started("v0.5")]);
        given(staged("v2")).when(start("v2")).then_err(Rejection::NothingInProduction);
    }

    #[test]
    fn asking_for_the_same_again_changes_nothing_and_for_another_is_refused() {
        given(running(plan())).when(start("v2")).then_nothing();
        let since = revision(6);
        given(running(plan()))
            .when(start_with("v2", None, TrialPlan { looks: NonZeroU32::new(2).unwrap(), ..plan() }))
            .then_err(Rejection::TrialRunning { treatment: v("v2"), since });
    }

    #[test]
    fn a_version_is_not_tried_against_itself() {
        given(two()).when(start_with("v2", Some("v2"), plan())).then_invalid("control");
    }

    #[test]
    fn a_trial_is_no_way_around_the_stages() {
        let wrong = |actual| Rejection::WrongStage { version: v("v2"), expected: Staging, actual };
        let steps = || live("v1").into_iter().chain([alice(register("v2"))]);
        given(steps()).when(start("v2")).then_err(wrong(Development));
        given(steps().chain([alice(promote("v2", Archived))])).when(start("v2")).then_err(wrong(Archived));
    }

    #[test]
    fn what_must_not_be_promoted_is_not_tried() {
        let back =
            || live("v1").into_iter().chain(live("v2")).chain(staged("v3")).chain([alice(roll_back())]);
        let quarantined = Rejection::IsQuarantined { version: v("v2"), since: at(9) };
        given(back()).when(start("v2")).then_err(quarantined.clone());
        given(back()).when(start_with("v3", Some("v2"), plan())).then_err(quarantined);
        let ended = two().into_iter().chain([alice(deprecate("v2", Some(at(6)))), seconds_pass(10)]);
        given(ended)
            .when(start("v2"))
            .then_err(Rejection::PastEndOfLife { version: v("v2"), end_of_life: at(6) });
        let deleted = two().into_iter().chain([alice(register("v3")), alice(delete("v3"))]);
        given(deleted)
            .when(start_with("v2", Some("v3"), plan()))
            .then_err(Rejection::IsDeleted { version: v("v3") });
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused() {
        let looks = NonZeroU32::new(101).unwrap();
        given(two()).when(start_with("v2", None, TrialPlan { looks, ..plan() })).then_invalid("looks");
        let goal = Goal::NotWorse { margin: Margin::new(1.0).unwrap() };
        given(two()).when(start_with("v2", None, TrialPlan { goal, ..plan() })).then_invalid("margin");
        // Of a score a margin of 1 is nothing unusual.
        let measure = Measure { kind: MeasureKind::Score, ..plan().measure };
        given(two()).when(start_with("v2", None, TrialPlan { goal, measure, ..plan() })).done();
    }
}

mod traffic {
    use super::*;

    fn steps(shares: &[(&str, TrialPlan)]) -> Vec<Step> {
        let mut steps: Vec<Step> = live("v1").into_iter().collect();
        for (version, plan) in shares {
            steps.extend(staged(version));
            steps.push(alice(start_with(version, None, plan.clone())));
        }
        steps.extend(staged("v9"));
        steps
    }

    fn shared(share: f64) -> TrialPlan {
        TrialPlan { share: Share::new(share).unwrap(), ..plan() }
    }

    #[test]
    fn shares_of_a_stage_add_up_to_no_more_than_all_of_it() {
        let steps = || steps(&[("v2", shared(0.6)), ("v3", shared(0.1))]);
        given(steps()).when(start_with("v9", None, shared(0.3))).done();
        let then = given(steps()).when(start_with("v9", None, shared(0.300_001)));
        let asked = Share::new(0.300_001).unwrap();
        let refused =
            Rejection::NoTrafficLeft { stage: TrialStage::Staging, asked, left_millionths: 300_000 };
        assert_eq!(
            refused.to_string(),
            "30.0001% of the traffic of staging cannot be given to the trial: 30% of it is left by other trials; \
             ask for less, or conclude one of them"
        );
        then.then_err(refused);
    }

    #[test]
    fn production_keeps_some_of_its_own() {
        let steps = || steps(&[("v2", in_production(0.6))]);
        given(steps()).when(start_with("v9", None, in_production(0.399_999))).done();
        given(steps()).when(start_with("v9", None, in_production(0.4))).then_err(Rejection::NoTrafficLeft {
            stage: TrialStage::Production,
            asked: Share::new(0.4).unwrap(),
            left_millionths: 400_000,
        });
        // The other stage has its own.
        given(steps()).when(start_with("v9", None, shared(0.9))).done();
    }

    #[test]
    fn trials_on_the_same_traffic_have_the_same_control() {
        given(steps(&[])).when(start_with("v9", Some("v9"), in_production(0.1))).then_invalid("control");
        let other = || steps(&[]).into_iter().chain([alice(register("v0.5"))]);
        given(other())
            .when(start_with("v9", Some("v0.5"), in_production(0.1)))
            .then_err(Rejection::ControlNotInProduction { control: v("v0.5"), production: v("v1") });
        let running = steps(&[("v2", shared(0.1))]).into_iter().chain([alice(register("v0.5"))]);
        given(running).when(start_with("v9", Some("v0.5"), shared(0.1))).then_err(Rejection::OtherControl {
            stage: TrialStage::Staging,
            control: v("v1"),
            offered: v("v0.5"),
        });
    }

    #[test]
    fn so_many_trials_and_no_more() {
        let mut steps: Vec<Step> = live("v1").into_iter().collect();
        for number in 0..RUNNING_MAX {
            let version = format!("v2.{number}");
            steps.extend(staged(&version));
            steps.push(alice(start_with(&version, None, shared(0.001))));
        }
        steps.extend(staged("v9"));
        given(steps)
            .when(start_with("v9", None, shared(0.001)))
            .then_err(Rejection::TooManyTrials { running: RUNNING_MAX });
    }

    #[test]
    fn a_router_reads_who_gets_what() {
        let route = |version: &str, share, trial: Option<u64>| Route {
            version: v(version),
            share,
            trial: trial.map(revision),
        };
        assert!(given(staged("v1")).state.traffic().stages.is_empty());
        let alone = given(two()).state.traffic();
        assert_eq!(alone.stages, [(Production, vec![route("v1", 1.0, None)])].into());
        let trials = [("v2", in_production(0.1)), ("v3", in_production(0.2)), ("v4", shared(0.5))];
        let shared = given(steps(&trials)).state.traffic();
        assert_eq!(
            shared.stages,
            [
                (Staging, vec![route("v1", 0.5, None), route("v4", 0.5, Some(12))]),
                (
                    Production,
                    vec![route("v1", 0.7, None), route("v2", 0.1, Some(6)), route("v3", 0.2, Some(9))]
                ),
            ]
            .into()
        );
        let json = serde_json::to_string(&shared).unwrap();
        assert_eq!(
            json,
            r#"{"revision":14,"stages":{"staging":[{"version":"v1.0.0","share":0.5},{"version":"v4.0.0","share":0.5,"trial":12}],"production":[{"version":"v1.0.0","share":0.7},{"version":"v2.0.0","share":0.1,"trial":6},{"version":"v3.0.0","share":0.2,"trial":9}]}}"#
        );
    }
}

mod observing {
    use super::*;

    #[test]
    fn batches_add_up_and_one_arm_may_come_alone() {
        let steps = running(plan())
            .into_iter()
            .chain([alice(observe("v2", (10, 100), (5, 50))), alice(observe("v2", (0, 0), (5, 50)))]);
        let after = given(steps).when(observe("v2", (1, 1), (0, 0))).done();
        assert_eq!(after.state.trials[&revision(6)].tally, counted((11, 101), (10, 100)));
    }

    #[test]
    fn what_is_nothing_or_something_else_is_refused() {
        given(running(plan())).when(observe("v2", (0, 0), (0, 0))).then_invalid("observation");
        let moments = Moments::new(2, 1.0, 0.5).unwrap();
        let observed = Tally::Score(Arms { control: moments, treatment: moments });
        given(running(plan()))
            .when(Command::ObserveTrial { treatment: v("v2"), observed })
            .then_invalid("observation");
        // More than can be counted.
        let many = || observe("v2", (0, 1 << 53), (0, 0));
        let full = running(plan()).into_iter().chain([alice(many())]);
        given(full).when(many()).then_invalid("observation");
    }

    #[test]
    fn only_what_runs_can_be_observed_concluded_or_aborted() {
        let none = || Rejection::NoTrial { treatment: v("v2") };
        given(two()).when(observe("v2", (1, 2), (1, 2))).then_err(none());
        given(two()).when(conclude("v2")).then_err(none());
        given(two()).when(abort("v2")).then_err(none());
        let over = running(plan()).into_iter().chain([alice(conclude("v2"))]);
        given(over).when(conclude("v2")).then_err(none());
        // It is known by the version that is tried, not by its control.
        given(running(plan())).when(abort("v1")).then_err(Rejection::NoTrial { treatment: v("v1") });
    }
}

mod concluding {
    use super::*;

    /// v2 is clicked half as often again as v1, with enough samples in both arms.
    fn better() -> Step {
        alice(observe("v2", (100, 1_000), (150, 1_000)))
    }

    /// The same with too few samples.
    fn better_so_far() -> Step {
        alice(observe("v2", (100, 1_000), (150, 999)))
    }

    fn looks(looks: u32) -> TrialPlan {
        TrialPlan { looks: NonZeroU32::new(looks).unwrap(), ..plan() }
    }

    #[test]
    fn at_its_planned_end_the_verdict_follows_from_the_numbers() {
        let steps = || running(plan()).into_iter().chain([better()]);
        let then = given(steps()).when(conclude("v2"));
        let (kind, judgement) = judged(&then);
        assert_eq!(
            (kind, judgement.verdict, judgement.undecided),
            ("trial_concluded", Verdict::Favourable, None)
        );
        assert!(judgement.at_planned_end && (judgement.look, judgement.looks) == (1, 1));
        let after = then.done();
        assert!(after.state.trials.is_empty());
        let concluded = after.state.concluded_trial(&v("v2")).unwrap();
        assert_eq!((concluded.concluded.at, concluded.trial.started.at), (at(8), at(6)));
        assert_eq!(concluded.trial.tally, counted((100, 1_000), (150, 1_000)));
        let worse = running(plan()).into_iter().chain([alice(observe("v2", (150, 1_000), (100, 1_000)))]);
        assert_eq!(judged(&given(worse).when(conclude("v2"))).1.verdict, Verdict::Unfavourable);
    }

    #[test]
    fn before_its_planned_end_it_is_stopped_and_never_favourable() {
        let steps = running(plan()).into_iter().chain([better_so_far()]);
        let then = given(steps).when(conclude("v2"));
        let (kind, judgement) = judged(&then);
        assert_eq!(kind, "trial_concluded");
        assert_eq!(
            (judgement.verdict, judgement.undecided),
            (Verdict::Inconclusive, Some(Undecided::StoppedEarly))
        );
        assert!(judgement.p.unwrap().get() < 0.001, "the number is told all the same");
    }

    #[test]
    fn a_duration_is_over_when_it_is_over_and_samples_count_in_the_arm_with_fewer() {
        let end = |seconds, samples| {
            let end = PlannedEnd::new(NonZeroU64::new(seconds), NonZeroU64::new(samples)).unwrap();
            TrialPlan { end, ..plan() }
        };
        let at_end = |plan: TrialPlan, seconds: u64| {
            // The observation is made a second after the start, and the conclusion another one later.
            let steps = running(plan).into_iter().chain([better_so_far(), seconds_pass(seconds - 2)]);
            let then = given(steps).when(conclude("v2"));
            judged(&then).1.at_planned_end
        };
        assert!(!at_end(end(3_600, 0), 3_599));
        assert!(at_end(end(3_600, 0), 3_600));
        assert!(at_end(end(0, 999), 2));
        assert!(!at_end(end(0, 1_000), 2));
        // Both, if both are planned.
        assert!(!at_end(end(3_600, 999), 3_599));
        assert!(!at_end(end(3_600, 1_000), 3_600));
        assert!(at_end(end(3_600, 999), 3_600));
    }

    #[test]
    fn a_planned_look_decides_or_lets_it_go_on() {
        let steps = || running(looks(3)).into_iter();
        let undecided = || alice(observe("v2", (50, 500), (51, 500)));
        let then = given(steps().chain([undecided()])).when(conclude("v2"));
        let (kind, judgement) = judged(&then);
        assert_eq!((kind, judgement.look, judgement.looks), ("trial_looked", 1, 3));
        assert_eq!(judgement.undecided, Some(Undecided::NotSignificant));
        assert!((judgement.threshold.get() - 0.05 / 3.0).abs() < 1e-12);
        let after = then.done();
        assert_eq!((after.state.trials[&revision(6)].looks_taken, after.state.trials.len()), (1, 1));
        // A look that finds enough ends it, before its end.
        let then = given(steps().chain([better_so_far()])).when(conclude("v2"));
        let (kind, judgement) = judged(&then);
        assert_eq!((kind, judgement.verdict), ("trial_concluded", Verdict::Favourable));
        assert!(!judgement.at_planned_end);
    }

    #[test]
    fn the_last_look_belongs_to_the_planned_end() {
        let looked = || {
            running(looks(3)).into_iter().chain([
                alice(observe("v2", (50, 500), (51, 500))),
                alice(conclude("v2")),
                alice(conclude("v2")),
            ])
        };
        // However good it looks by now: two looks are taken, and the third is for the end.
        let early = looked().chain([alice(observe("v2", (50, 499), (99, 499)))]);
        let then = given(early).when(conclude("v2"));
        assert_eq!(judged(&then).0, "trial_concluded");
        assert_eq!(judged(&then).1.undecided, Some(Undecided::StoppedEarly));
        let end = looked().chain([alice(observe("v2", (50, 500), (99, 500)))]);
        let then = given(end).when(conclude("v2"));
        let (_, judgement) = judged(&then);
        assert_eq!((judgement.verdict, judgement.look), (Verdict::Favourable, 3));
    }

    #[test]
    fn it_can_be_ended_without_a_verdict() {
        let trial = revision(6);
        let after = given(running(plan()))
            .when(abort("v2"))
            .then([Event::TrialAborted { trial, cause: AbortCause::Requested }]);
        assert!(after.state.trials.is_empty());
        assert_eq!(after.state.concluded_trial(&v("v2")), None);
        after.when(start("v2")).done();
    }

    #[test]
    fn the_last_verdict_of_a_version_counts_and_the_oldest_are_forgotten_first() {
        let mut steps: Vec<Step> = live("v1").into_iter().collect();
        for number in 0..=crate::trial::CONCLUDED_MAX {
            let version = format!("v2.{number}");
            steps.extend(staged(&version));
            steps.extend([alice(start(&version)), alice(conclude(&version))]);
        }
        let after = given(steps);
        assert_eq!(after.state.concluded_trials().count(), crate::trial::CONCLUDED_MAX);
        assert_eq!(after.state.concluded_trial(&v("v2.0")), None);
        assert!(after.state.concluded_trial(&v("v2.1")).is_some());
    }
}

mod displacing {
    use super::*;

    #[test]
    fn a_version_that_moves_ends_its_trials_in_the_same_commit() {
        let [archived, entered] = superseding("v2", "v1", plain());
        let after = given(running(plan())).when(promote("v2", Production)).then([
            displaced(6, "v2"),
            archived,
            entered,
        ]);
        assert!(after.state.trials.is_empty());
        given(running(plan()))
            .when(promote("v2", Archived))
            .then([displaced(6, "v2"), moved("v2", Staging, Archived)]);
        given(running(plan()))
            .when(promote("v1", Archived))
            .then([displaced(6, "v1"), moved("v1", Production, Archived)]);
    }

    #[test]
    fn a_control_that_is_superseded_ends_all_its_trials() {
        let steps = running(plan())
            .into_iter()
            .chain(staged("v3"))
            .chain([alice(start_with("v3", None, TrialPlan { share: Share::new(0.2).unwrap(), ..plan() }))])
            .chain(staged("v4"));
        let [archived, entered] = superseding("v4", "v1", plain());
        given(steps).when(promote("v4", Production)).then([
            displaced(6, "v1"),
            displaced(9, "v1"),
            archived,
            entered,
        ]);
    }

    #[test]
    fn so_do_a_rollback_and_a_deletion() {
        let steps = live("v1").into_iter().chain(live("v2")).chain(staged("v3")).chain([alice(start("v3"))]);
        let then = given(steps).when(roll_back());
        let events = then.result.as_deref().unwrap();
        assert!(events.contains(&displaced(9, "v2")), "{events:?}");
        assert!(then.done().state.trials.is_empty());
        given(running(plan()))
            .when(delete("v2"))
            .then([displaced(6, "v2"), Event::VersionDeleted { version: v("v2") }]);
    }

    #[test]
    fn other_moves_leave_it_alone() {
        let steps = running(plan()).into_iter().chain([alice(register("v3"))]);
        let after = given(steps).when(promote("v3", Staging)).then([moved("v3", Development, Staging)]);
        assert_eq!(after.state.trials.len(), 1);
    }
}

mod as_a_gate {
    use super::*;

    fn demanded(json: &str) -> Step {
        let gates = vec![serde_json::from_str(json).unwrap()];
        let rule = Some(StageRule { gates, ..StageRule::default() });
        registry_rule(PolicyChange::StageRule { stage: Production, rule })
    }

    const TRIAL: &str = r#"{"gate":"trial"}"#;

    /// v2 was tried against v1, and was better.
    fn tried() -> Vec<Step> {
        let mut steps = running(plan());
        steps.extend([alice(observe("v2", (100, 1_000), (150, 1_000))), alice(conclude("v2"))]);
        steps
    }

    /// What the gate finds of v2.
    fn found(gate: &str, steps: impl IntoIterator<Item = Step>) -> (bool, String) {
        let steps = steps.into_iter().chain([demanded(gate)]);
        let result = match given(steps).when(promote("v2", Production)).result {
            Ok(events) => match &events[..] {
                [.., Event::StageChanged(change)] => change.gates[0].clone(),
                other => panic!("{other:?}"),
            },
            Err(Rejection::GatesClosed { failed, .. }) => failed[0].clone(),
            Err(other) => panic!("{other}"),
        };
        (result.passed, result.checks[0].detail.clone())
    }

    #[track_caller]
    fn passes(gate: &str, steps: impl IntoIterator<Item = Step>, detail: &str) {
        assert_eq!(found(gate, steps), (true, detail.to_owned()));
    }

    #[track_caller]
    fn fails(gate: &str, steps: impl IntoIterator<Item = Step>, detail: &str) {
        assert_eq!(found(gate, steps), (false, detail.to_owned()));
    }

    #[test]
    fn a_favourable_trial_opens_it() {
        passes(TRIAL, tried(), "begun at revision 6 was favourable (p = 0.0007)");
        fails(TRIAL, two(), "of v2.0.0 is not on record; start one");
        fails(TRIAL, running(plan()), "of v2.0.0 runs since revision 6; conclude it");
        let mut early = running(plan());
        early.push(alice(conclude("v2")));
        fails(
            TRIAL,
            early,
            "begun at revision 6 was inconclusive: stopped before its planned end; start another",
        );
        passes(TRIAL, staged("v2"), "is empty, so there is nothing to compare with");
    }

    #[test]
    fn where_and_when_it_ran_may_be_demanded() {
        passes(
            r#"{"gate":"trial","stage":"staging"}"#,
            tried(),
            "begun at revision 6 was favourable (p = 0.0007)",
        );
        fails(
            r#"{"gate":"trial","stage":"production"}"#,
            tried(),
            "begun at revision 6 ran in staging, not in production; start another",
        );
        let hour = r#"{"gate":"trial","max_age_seconds":3600}"#;
        let later = |seconds| tried().into_iter().chain([seconds_pass(seconds)]);
        passes(hour, later(3_599), "begun at revision 6 was favourable (p = 0.0007)");
        fails(
            hour,
            later(3_600),
            "begun at revision 6 was concluded 3601 s ago, more than 3600 s; start another",
        );
    }

    #[test]
    fn it_is_about_this_version_and_what_is_in_production_now() {
        let overtaken = tried().into_iter().chain(live("v3"));
        fails(
            TRIAL,
            overtaken,
            "begun at revision 6 was against v1.0.0, which is not in production now; start another",
        );
        let files = weights("other files").artifacts;
        let content = Content { artifacts: files.clone(), ..weights("v2") };
        let found = crate::event::FilesFound { version: v("v2"), digest: content.digest(), artifacts: files };
        let other = tried().into_iter().chain([happened(Event::FilesFound(Box::new(found)))]);
        fails(TRIAL, other, "begun at revision 6 was of other content; start another");
    }

    #[test]
    fn a_later_trial_replaces_an_earlier_one() {
        let again = tried().into_iter().chain([
            alice(start("v2")),
            alice(observe("v2", (100, 1_000), (90, 1_000))),
            alice(conclude("v2")),
        ]);
        fails(
            TRIAL,
            again,
            "begun at revision 9 was inconclusive: the difference may be chance; start another",
        );
    }
}
