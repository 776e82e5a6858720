//! Which number a new version may bear, and what happens if it is there already.

use super::*;
use crate::content::EnvironmentFile;
use crate::signature::{DataType, Field, Scalar, Schema};
use crate::version::Bump;

fn base(bytes: &str) -> Content {
    signed(bytes, &["amount"], &["score"])
}

/// One more output: callers of `base` go on working.
fn improved(bytes: &str) -> Content {
    signed(bytes, &["amount"], &["score", "reason"])
}

/// One more input that must be sent: callers of `base` break.
fn breaking(bytes: &str) -> Content {
    signed(bytes, &["amount", "country"], &["score"])
}

fn auto(content: Content) -> Command {
    registration(VersionChoice::Auto, content)
}

fn bump(bump: Bump, content: Content) -> Command {
    registration(bump, content)
}

fn smaller(version: &str, reason: &str, content: Content) -> Command {
    let choice = VersionChoice::Explicit { version: v(version), allow_smaller: Some(text(reason)) };
    registration(choice, content)
}

#[track_caller]
fn too_small(then: Then) -> (String, String, Bump, String, usize) {
    match then.result {
        Err(Rejection::VersionTooSmall { proposed, baseline, needed, smallest, findings }) => {
            (proposed.to_string(), baseline.to_string(), needed, smallest.to_string(), findings.len())
        }
        other => panic!("expected the number to be too small, not {other:?}"),
    }
}

mod first {
    use super::*;

    #[test]
    fn the_first_version_is_0_1_0_unless_it_is_said_to_be_major() {
        let none = Numbering::default();
        assert_eq!(given([]).when(auto(base("a"))).then_registered("v0.1.0"), none);
        assert_eq!(given([]).when(bump(Bump::Patch, base("a"))).then_registered("v0.1.0"), none);
        assert_eq!(given([]).when(bump(Bump::Minor, base("a"))).then_registered("v0.1.0"), none);
        assert_eq!(given([]).when(bump(Bump::Major, base("a"))).then_registered("v1.0.0"), none);
    }

    #[test]
    fn the_first_version_may_have_any_number() {
        for number in ["v0.0.0", "v7.3.1", "v2.0.0-rc.1", "v1.0.0+retrained"] {
            assert_eq!(given([]).when(register(number)).then_registered(number), Numbering::default());
        }
    }

    #[test]
    fn everything_that_was_registered_is_in_the_event() {
        let content = base("a");
        let after = given([]).by("alice").when(register_as("v1", content.clone())).done();
        let version = after.version("v1");
        assert_eq!(*version.content, content);
        assert_eq!(version.digest, content.digest());
        assert_eq!(version.stage, Stage::Development);
        assert_eq!((&version.registered.actor, version.registered.at), (&name("alice"), at(1)));
    }
}

mod automatic {
    use super::*;

    #[test]
    fn new_weights_are_a_patch_an_improvement_is_minor_a_break_is_major() {
        let world = || given(live_with("v1.4.2", base("a")));
        let numbering = world().when(auto(base("b"))).then_registered("v1.4.3");
        assert_eq!((numbering.baseline, numbering.required), (Some(v("1.4.2")), Some(Bump::Patch)));
        assert!(numbering.findings.is_empty());

        let numbering = world().when(auto(improved("b"))).then_registered("v1.5.0");
        assert_eq!(numbering.required, Some(Bump::Minor));
        assert_eq!(numbering.findings.len(), 1);

        let numbering = world().when(auto(breaking("b"))).then_registered("v2.0.0");
        assert_eq!(numbering.required, Some(Bump::Major));
        assert_eq!((numbering.findings.len(), numbering.overridden), (1, None));
    }

    #[test]
    fn below_one_a_break_raises_the_second_number_and_all_else_the_third() {
        let world = || given(live_with("v0.4.2", base("a")));
        world().when(auto(base("b"))).then_registered("v0.4.3");
        world().when(auto(improved("b"))).then_registered("v0.4.3");
        world().when(auto(breaking("b"))).then_registered("v0.5.0");
        let world = || given(live_with("v0.0.2", base("a")));
        world().when(auto(breaking("b"))).then_registered("v0.0.3");
    }

    #[test]
    fn a_bump_below_one_is_judged_by_the_number_it_raises() {
        let world = || given(live_with("v0.4.2", base("a")));
        // A patch raises the same number as the minor bump that is needed.
        world().when(bump(Bump::Patch, improved("b"))).then_registered("v0.4.3");
        world().when(bump(Bump::Major, breaking("b"))).then_registered("v0.5.0");
        let refused = too_small(world().when(bump(Bump::Minor, breaking("b"))));
        assert_eq!(refused, ("v0.4.3".into(), "v0.4.2".into(), Bump::Major, "v0.5.0".into(), 1));
        let world = || given(live_with("v0.0.2", base("a")));
        world().when(bump(Bump::Patch, breaking("b"))).then_registered("v0.0.3");
    }

    #[test]
    fn the_number_continues_the_line_that_the_bump_stays_in() {
        let world = || {
            given(live_with("v1.0.0", base("a")).into_iter().chain([
                alice(register_as("v1.0.1", base("b"))),
                alice(register_as("v1.3.0", base("c"))),
                alice(register_as("v3.0.0", base("d"))),
            ]))
        };
        let numbering = world().when(auto(base("e"))).then_registered("v1.0.2");
        assert_eq!(numbering.baseline, Some(v("1.0.0")), "compared with what is in production");
        world().when(auto(improved("e"))).then_registered("v1.4.0");
        world().when(auto(breaking("e"))).then_registered("v4.0.0");
    }

    #[test]
    fn a_pre_release_at_the_head_of_the_line_is_completed() {
        let steps = || {
            live_with("v1.0.0", base("a"))
                .into_iter()
                .chain([alice(register_as("v2.0.0-rc.1", breaking("b")))])
        };
        given(steps()).when(auto(breaking("c"))).then_registered("v2.0.0");
        given(steps()).when(auto(base("c"))).then_registered("v1.0.1");
    }

    #[test]
    fn without_a_signature_the_bump_must_be_said() {
        let world = || given(live_with("v1", base("a")));
        world().when(auto(weights("b"))).then_err(Rejection::BumpUnknown { baseline: v("v1") });
        let numbering = world().when(bump(Bump::Patch, weights("b"))).then_registered("v1.0.1");
        assert_eq!((numbering.baseline, numbering.required), (Some(v("v1")), None));
        given(live("v1")).when(auto(base("b"))).then_err(Rejection::BumpUnknown { baseline: v("v1") });
    }

    #[test]
    fn numbers_end() {
        let last = Version::new(u64::MAX, 0, 0);
        let steps = || {
            [alice(registration(last.clone(), base("a"))), alice(promote(&last.to_string(), Stage::Staging))]
        };
        let overflow = Rejection::VersionOverflow { baseline: last.clone() };
        given(steps()).when(auto(breaking("b"))).then_err(overflow.clone());
        given(steps()).when(bump(Bump::Major, base("b"))).then_err(overflow.clone());
        given(steps()).when(registration(Version::new(u64::MAX, 1, 0), breaking("b"))).then_err(overflow);
        // There is room below.
        given(steps()).when(auto(base("b"))).then_registered(&format!("v{}.0.1", u64::MAX));
    }
}

mod baseline {
    use super::*;

    /// What a version registered now would be compared with.
    fn baseline(steps: impl IntoIterator<Item = Step>) -> Option<String> {
        let result = given(steps).when(bump(Bump::Major, weights("new"))).result;
        match result.as_deref() {
            Ok([Event::VersionRegistered(registered)]) => {
                registered.numbering.baseline.as_ref().map(Version::to_string)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_the_version_in_production_however_high_others_are() {
        let steps = live("v1").into_iter().chain([alice(register("v2"))]);
        assert_eq!(baseline(steps).unwrap(), "v1.0.0");
    }

    #[test]
    fn it_is_the_last_one_in_production_when_there_is_none_now() {
        let steps = live("v2")
            .into_iter()
            .chain(live("v1"))
            .chain([alice(promote("v1", Stage::Archived)), alice(register("v3"))]);
        assert_eq!(baseline(steps).unwrap(), "v1.0.0");
    }

    #[test]
    fn it_is_the_latest_when_nothing_ever_was_in_production() {
        let steps = [
            alice(register("v2")),
            alice(register("v1")),
            alice(register("v3-rc.1")),
            alice(register("v2.1")),
            alice(deprecate("v2.1", None)),
        ];
        assert_eq!(baseline(steps).unwrap(), "v2.0.0");
    }

    #[test]
    fn it_is_the_highest_of_all_when_none_is_latest() {
        let steps = [alice(register("v3-rc.1")), alice(register("v3-rc.2"))];
        assert_eq!(baseline(steps).unwrap(), "v3.0.0-rc.2");
    }

    #[test]
    fn it_is_never_deleted() {
        let archived = |version| [alice(promote(version, Stage::Archived)), alice(delete(version))];
        let steps = live("v1").into_iter().chain(live("v2")).chain(archived("v2"));
        assert_eq!(baseline(steps).unwrap(), "v1.0.0", "passes over to the one before");
        let steps = [alice(register("v1")), alice(register("v2")), alice(delete("v2"))];
        assert_eq!(baseline(steps).unwrap(), "v1.0.0");
        assert_eq!(baseline([alice(register("v1")), alice(delete("v1"))]), None);
    }
}

mod explicit {
    use super::*;

    #[test]
    fn a_step_that_is_too_small_is_refused_with_what_is_needed() {
        let world = || given(live_with("v1.4.2", base("a")));
        let refused = too_small(world().when(register_as("v1.4.3", improved("b"))));
        assert_eq!(refused, ("v1.4.3".into(), "v1.4.2".into(), Bump::Minor, "v1.5.0".into(), 1));
        let refused = too_small(world().when(register_as("v1.5.0", breaking("b"))));
        assert_eq!(refused, ("v1.5.0".into(), "v1.4.2".into(), Bump::Major, "v2.0.0".into(), 1));
        let refused = too_small(world().when(bump(Bump::Patch, breaking("b"))));
        assert_eq!(refused, ("v1.4.3".into(), "v1.4.2".into(), Bump::Major, "v2.0.0".into(), 1));
        let refused =
            too_small(given(live_with("v0.4.2", base("a"))).when(register_as("v0.4.3", breaking("b"))));
        assert_eq!(refused, ("v0.4.3".into(), "v0.4.2".into(), Bump::Minor, "v0.5.0".into(), 1));
    }

    #[test]
    fn a_larger_step_is_fine() {
        let world = || given(live_with("v1.4.2", base("a")));
        world().when(register_as("v1.4.9", base("b"))).then_registered("v1.4.9");
        world().when(register_as("v9", base("b"))).then_registered("v9.0.0");
        world().when(bump(Bump::Major, base("b"))).then_registered("v2.0.0");
    }

    #[test]
    fn a_smaller_step_can_be_forced_and_the_reason_is_kept() {
        let world = || given(live_with("v1.4.2", base("a")));
        let forced = world().when(smaller("v1.4.3", "nobody calls it yet", breaking("b")));
        let numbering = forced.then_registered("v1.4.3");
        assert_eq!(numbering.overridden, Some(text("nobody calls it yet")));
        assert_eq!((numbering.required, numbering.findings.len()), (Some(Bump::Major), 1));
        // Where nothing had to be forced, nothing is said to have been.
        let numbering = world().when(smaller("v2", "just in case", breaking("b"))).then_registered("v2.0.0");
        assert_eq!(numbering.overridden, None);
    }

    #[test]
    fn a_hotfix_of_an_older_line_is_compared_with_the_version_below_it() {
        let steps = || {
            let lines = [alice(register_as("v1.4.1", base("a"))), alice(register_as("v1.4.2", base("b")))];
            lines.into_iter().chain(live_with("v2", breaking("c")))
        };
        let numbering = given(steps()).when(register_as("v1.4.3", base("d"))).then_registered("v1.4.3");
        assert_eq!((numbering.baseline, numbering.required), (Some(v("1.4.2")), Some(Bump::Patch)));
        let refused = too_small(given(steps()).when(register_as("v1.4.3", improved("d"))));
        assert_eq!(refused, ("v1.4.3".into(), "v1.4.2".into(), Bump::Minor, "v1.5.0".into(), 1));
        // A deleted version is no reference.
        let steps = steps().chain([alice(delete("v1.4.2"))]);
        let numbering = given(steps).when(register_as("v1.4.3", base("d"))).then_registered("v1.4.3");
        assert_eq!(numbering.baseline, Some(v("1.4.1")));
    }

    #[test]
    fn a_number_below_all_others_is_compared_with_nothing() {
        let numbering = given(live("v1")).when(register("v0.9")).then_registered("v0.9.0");
        assert_eq!(numbering, Numbering::default());
    }

    #[test]
    fn a_pre_release_is_judged_as_the_release_it_prepares() {
        let world = || given(live_with("v1.4.2", base("a")));
        world().when(register_as("v2.0.0-rc.1", breaking("b"))).then_registered("v2.0.0-rc.1");
        let refused = too_small(world().when(register_as("v1.5.0-rc.1", breaking("b"))));
        assert_eq!(refused.3, "v2.0.0");
        // It never becomes what later versions are compared with while there is a release.
        let steps = [alice(register_as("v1", base("a"))), alice(register_as("v2-rc.1", breaking("b")))];
        let numbering = given(steps).when(register_as("v2", breaking("c"))).then_registered("v2.0.0");
        assert_eq!(numbering.baseline, Some(v("v1")));
    }

    #[test]
    fn what_can_be_told_counts_where_a_signature_is_missing() {
        let framework = |mut content: Content, framework| {
            content.metadata.framework = Some(text(framework));
            content
        };
        let world = || given(live_with("v1", framework(weights("a"), "xgboost==1.7")));
        let other = || framework(weights("b"), "lightgbm==4");
        let numbering = world().when(register_as("v1.1", other())).then_registered("v1.1.0");
        assert_eq!(numbering.required, None, "what is unknown is not called known");
        let refused = too_small(world().when(register_as("v1.0.1", other())));
        assert_eq!((refused.2, refused.3.as_str()), (Bump::Minor, "v1.1.0"));
        let refused = too_small(world().when(bump(Bump::Patch, other())));
        assert_eq!((refused.2, refused.3.as_str()), (Bump::Minor, "v1.1.0"));
    }
}

mod again {
    use super::*;

    #[test]
    fn the_same_number_with_the_same_content_is_nothing_new() {
        given(live("v1")).by("bob").when(register("v1")).then_nothing();
        // Statements are no part of the content.
        let mut content = weights("v1");
        content.description = Some(text("another description"));
        given(live("v1")).when(register_as("v1", content)).then_nothing();
    }

    #[test]
    fn the_same_number_with_other_content_is_refused() {
        let expected = Rejection::VersionExists {
            version: v("v1"),
            existing: weights("v1").digest(),
            offered: weights("b").digest(),
        };
        given(live("v1")).when(register_as("v1", weights("b"))).then_err(expected.clone());
        given(live("v1")).when(smaller("v1", "please", weights("b"))).then_err(expected);
    }

    #[test]
    fn versions_that_differ_only_in_build_metadata_clash() {
        let clash = |existing: &str, offered: &str| {
            let steps = [alice(register_as(existing, weights("a")))];
            let result = given(steps).when(register_as(offered, weights("a"))).result;
            let named = |version: &Version| version.to_string();
            match result {
                Err(Rejection::BuildMetadataOnly { existing, offered }) => {
                    (named(&existing), named(&offered))
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(clash("v1+a", "v1+b"), ("v1.0.0+a".into(), "v1.0.0+b".into()));
        assert_eq!(clash("v1", "v1+b"), ("v1.0.0".into(), "v1.0.0+b".into()));
        assert_eq!(clash("v1+a", "v1"), ("v1.0.0+a".into(), "v1.0.0".into()));
        let steps = [alice(register_as("v1+a", weights("a")))];
        given(steps).when(register_as("v1+a", weights("a"))).then_nothing();
    }

    #[test]
    fn content_that_is_registered_gets_no_second_number_by_itself() {
        given(live_with("v1", base("a"))).when(auto(base("a"))).then_nothing();
        // Also where it is not what the new version would be compared with.
        let steps = || live_with("v1", base("a")).into_iter().chain([alice(auto(base("b")))]);
        given(steps()).when(auto(base("b"))).then_nothing();
        // Not if it was deleted: nobody could be given that one.
        let steps = steps().chain([alice(delete("v1.0.1"))]);
        given(steps).when(auto(base("b"))).then_registered("v1.0.2");
    }

    #[test]
    fn whoever_names_a_number_or_a_bump_gets_it_for_the_same_content_too() {
        let world = || given(live_with("v1", base("a")));
        world().when(bump(Bump::Minor, base("a"))).then_registered("v1.1.0");
        world().when(register_as("v1.0.1", base("a"))).then_registered("v1.0.1");
    }

    #[test]
    fn versions_without_files_are_not_taken_for_the_same() {
        let bare = || Content { signature: Some(signature(&["a"], &["b"])), ..Content::default() };
        given([alice(register_as("v1", bare()))]).when(auto(bare())).then_registered("v1.0.1");
    }
}

mod deleted {
    use super::*;

    #[test]
    fn its_number_is_never_used_again() {
        let steps = || [alice(register("v1")), alice(delete("v1"))];
        let expected = || Rejection::VersionDeleted { version: v("v1") };
        given(steps()).when(register("v1")).then_err(expected());
        given(steps()).when(register_as("v1", weights("b"))).then_err(expected());
        given(steps()).when(register_as("v1+b", weights("b"))).then_err(expected());
    }

    #[test]
    fn automatic_numbers_pass_over_it() {
        let steps = || {
            live_with("v1", base("a")).into_iter().chain([
                alice(register_as("v1.0.1", base("b"))),
                alice(delete("v1.0.1")),
                alice(register_as("v2", breaking("c"))),
                alice(delete("v2")),
            ])
        };
        given(steps()).when(auto(base("d"))).then_registered("v1.0.2");
        given(steps()).when(auto(breaking("d"))).then_registered("v3.0.0");
    }

    #[test]
    fn numbers_go_on_after_all_were_deleted() {
        let steps = |number| [alice(register_as(number, base("a"))), alice(delete(number))];
        let numbering = given(steps("v0.1.0")).when(auto(base("b"))).then_registered("v0.1.1");
        assert_eq!(numbering, Numbering::default(), "there is nothing to compare with");
        given(steps("v0.1.0")).when(auto(base("a"))).then_registered("v0.1.1");
        given(steps("v1.0.0")).when(bump(Bump::Major, base("b"))).then_registered("v2.0.0");
        given(steps("v1.2.3")).when(auto(base("b"))).then_registered("v1.3.0");
        let last = format!("v{}.{}.0", u64::MAX, u64::MAX);
        let overflow = Rejection::VersionOverflow { baseline: v(&last) };
        given(steps(&last)).when(auto(base("b"))).then_err(overflow);
    }
}

mod stage {
    use super::*;

    fn in_stage(version: &str, stage: Stage) -> Command {
        registration_in(v(version), weights(version), stage)
    }

    #[test]
    fn a_version_may_start_where_the_table_allows_from_development() {
        let after = given([]).when(in_stage("v1", Stage::Staging)).done();
        assert_eq!(after.version("v1").stage, Stage::Staging);
        let after = given([]).when(in_stage("v1", Stage::Archived)).done();
        assert_eq!(after.version("v1").stage, Stage::Archived);
        given([]).when(in_stage("v1", Stage::Production)).then_err(Rejection::TransitionNotAllowed {
            version: v("v1"),
            from: Stage::Development,
            to: Stage::Production,
            allowed: vec![Stage::Staging, Stage::Archived],
        });
    }

    #[test]
    fn a_version_that_starts_in_production_supersedes_as_any_other() {
        let table = only([(Stage::Development, Stage::Production)]);
        let steps =
            [alice(register("v1")), alice(change_policy(table)), alice(promote("v1", Stage::Production))];
        let after = given(steps).when(in_stage("v2", Stage::Production)).done();
        assert_eq!(after.state.production, Some(v("v2")));
        assert_eq!(after.version("v1").stage, Stage::Archived);
        assert_eq!(after.version("v2").rollback_safety.as_ref().unwrap().to, v("v1"));
    }

    #[test]
    fn a_stage_that_demands_approval_is_no_start() {
        let rule = demand(Stage::Staging, Some(ApprovalRule::default()));
        let expected = Rejection::StageDemandsApproval { stage: Stage::Staging };
        given([registry_rule(rule.clone())]).when(in_stage("v1", Stage::Staging)).then_err(expected.clone());
        let steps = [alice(register("v1")), alice(change_policy(rule))];
        given(steps).when(in_stage("v2", Stage::Staging)).then_err(expected);
    }

    #[test]
    fn registering_again_moves_nothing() {
        given([alice(register("v1"))]).when(in_stage("v1", Stage::Staging)).then_nothing();
    }
}

mod content {
    use super::*;

    fn with(edit: impl FnOnce(&mut Content)) -> Command {
        let mut content = weights("a");
        edit(&mut content);
        register_as("v1", content)
    }

    #[test]
    fn tags_that_no_backend_could_keep_are_refused() {
        let tag = |value: String| with(|c| drop(c.tags.insert("team".parse().unwrap(), value)));
        given([]).when(tag("a\0b".to_owned())).then_invalid("tag value");
        given([]).when(tag("x".repeat(100_000))).then_invalid("tag value");
        given([]).when(tag("fraud".to_owned())).then_registered("v1.0.0");
    }

    #[test]
    fn a_version_has_a_thousand_tags_at_most() {
        let tags = |count: usize| {
            with(|c| c.tags.extend((0..count).map(|i| (format!("k{i}").parse().unwrap(), String::new()))))
        };
        given([]).when(tags(1_000)).then_registered("v1.0.0");
        given([]).when(tags(1_001)).then_invalid("tags");
    }

    #[test]
    fn an_environment_file_is_given_once() {
        let file = |name: &str| EnvironmentFile::new(name.parse().unwrap(), "x".to_owned()).unwrap();
        let two = with(|c| c.environment = vec![file("requirements.txt"), file("requirements.txt")]);
        given([]).when(two).then_invalid("environment file");
        let two = with(|c| c.environment = vec![file("requirements.txt"), file("conda.yaml")]);
        given([]).when(two).then_registered("v1.0.0");
    }

    #[test]
    fn values_nested_too_deep_to_be_read_again_are_refused() {
        let nested = |levels: usize| {
            (1..levels).fold(serde_json::json!(1), |inner, level| match level % 2 {
                0 => serde_json::json!([inner]),
                _ => serde_json::json!({ "a": inner }),
            })
        };
        let extra = |levels| with(|c| drop(c.metadata.extra.insert("x".to_owned(), nested(levels))));
        let hyper =
            |levels| with(|c| drop(c.metadata.hyperparameters.insert("x".to_owned(), nested(levels))));
        // `done` reads the commit back.
        given([]).when(extra(64)).done();
        given([]).when(hyper(64)).done();
        given([]).when(extra(65)).then_invalid("metadata value");
        given([]).when(hyper(65)).then_invalid("metadata value");
        given([]).when(extra(2_000)).then_invalid("metadata value");
        // Four levels lie above the default of a field.
        let default = |levels: usize| {
            let field = Field::new("a[\"{", DataType::Any).default_value(nested(levels + 1));
            let inputs = Some(Schema::new(vec![field]).unwrap());
            with(|c| c.signature = Some(Signature::new(inputs, None, Vec::new()).unwrap()))
        };
        given([]).when(default(92)).done();
        given([]).when(default(93)).then_invalid("signature");
        given([]).when(default(500)).then_invalid("signature");
    }

    #[test]
    fn a_signature_as_deep_as_types_may_be_can_be_read_again() {
        let mut data_type = DataType::Scalar(Scalar::Double);
        for _ in 1..Schema::DEPTH_MAX {
            data_type = DataType::Object(vec![Field::new("a", data_type)]);
        }
        let inputs = Some(Schema::new(vec![Field::new("a", data_type)]).unwrap());
        let signature = Signature::new(inputs, None, Vec::new()).unwrap();
        given([]).when(with(|c| c.signature = Some(signature))).done();
    }
}
