//! What is said about a version without moving it, and the rules about rules.

use super::*;
use crate::content::{Deployment, Finite, Metadata, Metric, Tags};
use crate::event::Amended;
use crate::name::{AliasName, Key};
use Stage::{Production, Staging};

fn key(key: &str) -> Key {
    key.parse().unwrap()
}

mod deprecation {
    use super::*;

    fn deprecated(superseded_by: Option<&str>, end_of_life: Option<Timestamp>) -> Event {
        Event::Deprecated { version: v("v1"), superseded_by: superseded_by.map(v), end_of_life }
    }

    #[test]
    fn it_names_a_successor_and_an_end() {
        let steps = live("v1").into_iter().chain([alice(register("v2"))]);
        let command = Command::Deprecate {
            version: v("v1"),
            superseded_by: Some(v("v2")),
            end_of_life: Some(at(1_000)),
        };
        let after =
            given(steps).because("older data").when(command).then([deprecated(Some("v2"), Some(at(1_000)))]);
        let deprecation = after.version("v1").deprecated.as_ref().unwrap();
        assert_eq!(deprecation.since.reason, Some(text("older data")));
        assert_eq!(after.state.production, Some(v("v1")), "it goes on serving");
    }

    #[test]
    fn the_successor_must_be_there_and_be_another() {
        let superseded =
            |by: &str| Command::Deprecate { version: v("v1"), superseded_by: Some(v(by)), end_of_life: None };
        let world = || given([alice(register("v1")), alice(register("v2")), alice(delete("v2"))]);
        let expected = Rejection::VersionNotFound { version: v("v3"), nearest: vec![v("v1")] };
        world().when(superseded("v3")).then_err(expected);
        world().when(superseded("v2")).then_err(Rejection::IsDeleted { version: v("v2") });
        world().when(superseded("v1")).then_invalid("successor");
    }

    #[test]
    fn saying_the_same_again_is_nothing_new_and_saying_more_is() {
        let world = || given([alice(register("v1")), alice(deprecate("v1", None))]);
        world().because("given").when(deprecate("v1", None)).then_nothing();
        world().because("another reason").when(deprecate("v1", None)).then([deprecated(None, None)]);
        world().because("given").when(deprecate("v1", Some(at(9)))).then([deprecated(None, Some(at(9)))]);
    }

    #[test]
    fn it_can_be_lifted() {
        let lift = || Command::LiftDeprecation { version: v("v1") };
        let after = given([alice(register("v1")), alice(deprecate("v1", None))])
            .when(lift())
            .then([Event::DeprecationLifted { version: v("v1") }]);
        after.when(lift()).then_nothing();
    }
}

mod deletion {
    use super::*;

    #[test]
    fn a_version_in_production_is_refused() {
        given(live("v1")).when(delete("v1")).then_err(Rejection::InProduction { version: v("v1") });
        let steps = live("v1").into_iter().chain([alice(promote("v1", Stage::Archived))]);
        given(steps).when(delete("v1")).then([Event::VersionDeleted { version: v("v1") }]);
    }

    #[test]
    fn it_takes_aliases_and_requests_along() {
        let alias =
            |name: &str, version| Command::SetAlias { alias: name.parse().unwrap(), version: v(version) };
        let steps = [registry_rule(demand(Production, Some(ApprovalRule::default())))]
            .into_iter()
            .chain(staged("v1"))
            .chain([
                bob(promote("v1", Production)),
                alice(register("v2")),
                alice(alias("champion", "v1")),
                alice(alias("challenger", "v2")),
                alice(alias("best", "v1")),
            ]);
        let removed = |name: &str| Event::AliasRemoved { alias: name.parse().unwrap(), previous: v("v1") };
        let after = given(steps).when(delete("v1")).then([
            closed(3, ClosedCause::Void),
            removed("best"),
            removed("champion"),
            Event::VersionDeleted { version: v("v1") },
        ]);
        assert_eq!(after.state.aliases.len(), 1);
        assert!(after.state.requests.is_empty());
    }

    #[test]
    fn deleting_and_undeleting_again_is_nothing_new() {
        let undelete = || Command::Undelete { version: v("v1") };
        given([alice(register("v1"))]).when(undelete()).then_nothing();
        let after = given([alice(register("v1")), alice(delete("v1"))])
            .when(undelete())
            .then([Event::VersionRestored { version: v("v1") }]);
        assert!(after.version("v1").deleted.is_none());
        given([alice(register("v1")), alice(delete("v1"))]).when(delete("v1")).then_nothing();
    }

    #[test]
    fn an_undeleted_version_stands_where_it_stood() {
        let steps = staged("v1").into_iter().chain([alice(delete("v1"))]);
        let after = given(steps).when(Command::Undelete { version: v("v1") }).done();
        assert_eq!(after.version("v1").stage, Staging);
        after.when(promote("v1", Production)).done();
    }
}

mod aliases {
    use super::*;

    fn champion() -> AliasName {
        "champion".parse().unwrap()
    }

    fn set(version: &str) -> Command {
        Command::SetAlias { alias: champion(), version: v(version) }
    }

    fn remove() -> Command {
        Command::RemoveAlias { alias: champion() }
    }

    #[test]
    fn an_alias_is_set_moved_and_removed_with_what_it_was() {
        let pointed = |version: &str, previous: Option<&str>| Event::AliasSet {
            alias: champion(),
            version: v(version),
            previous: previous.map(v),
        };
        let after =
            given([alice(register("v1")), alice(register("v2"))]).when(set("v1")).then([pointed("v1", None)]);
        let after = after.when(set("v2")).then([pointed("v2", Some("v1"))]);
        let after = after.when(remove()).then([Event::AliasRemoved { alias: champion(), previous: v("v2") }]);
        after.when(remove()).then_err(Rejection::AliasNotFound { alias: champion() });
    }

    #[test]
    fn setting_it_where_it_points_is_nothing_new() {
        given([alice(register("v1")), alice(set("v1"))]).when(set("v1")).then_nothing();
    }
}

mod tags {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect()
    }

    fn change(version: Option<&str>, set: &[(&str, &str)], remove: &[&str]) -> Command {
        Command::ChangeTags {
            version: version.map(v),
            set: tags(set),
            remove: remove.iter().map(|name| key(name)).collect(),
        }
    }

    #[test]
    fn only_what_differs_is_recorded() {
        let steps = |version| [alice(register("v1")), alice(change(version, &[("a", "1"), ("b", "2")], &[]))];
        for version in [None, Some("v1")] {
            given(steps(version)).when(change(version, &[("a", "1")], &["z"])).then_nothing();
            let after = given(steps(version))
                .when(change(version, &[("a", "1"), ("c", "3")], &["b", "b", "z"]))
                .then([Event::TagsChanged {
                    version: version.map(v),
                    set: tags(&[("c", "3")]),
                    removed: vec![key("b")],
                }]);
            let found = version.map_or(&after.state.tags, |version| &after.version(version).content.tags);
            assert_eq!(*found, tags(&[("a", "1"), ("c", "3")]));
        }
    }

    #[test]
    fn the_tags_of_model_and_version_are_apart() {
        let steps = [alice(register("v1")), alice(change(None, &[("a", "1")], &[]))];
        given(steps).when(change(Some("v1"), &[("a", "1")], &[])).done();
    }

    #[test]
    fn bad_tags_are_refused() {
        let world = || given([alice(register("v1"))]);
        world().when(change(None, &[("a", "1")], &["a"])).then_invalid("tag");
        world().when(change(None, &[("a", "\0")], &[])).then_invalid("tag value");
        world().when(change(None, &[("a", &"x".repeat(100_000))], &[])).then_invalid("tag value");
    }

    #[test]
    fn a_full_set_of_tags_can_be_changed_but_not_grow() {
        let many = |range: std::ops::Range<u32>| Command::ChangeTags {
            version: None,
            set: range.map(|i| (key(&format!("k{i}")), String::new())).collect(),
            remove: Vec::new(),
        };
        given([alice(register("v1"))]).when(many(0..1_001)).then_invalid("tags");
        let full = || given([alice(register("v1")), alice(many(0..1_000))]);
        full().when(change(None, &[("one more", "")], &[])).then_invalid("tags");
        full().when(change(None, &[("k0", "another value")], &[])).done();
        full().when(change(None, &[("one more", "")], &["k0"])).done();
        full().when(change(None, &[], &["k0"])).done();
    }
}

mod descriptions {
    use super::*;

    fn describe(version: Option<&str>, description: Option<&str>) -> Command {
        Command::Describe { version: version.map(v), description: description.map(text) }
    }

    #[test]
    fn a_description_is_set_and_removed() {
        for version in [None, Some("v1")] {
            let changed = |description: Option<&str>| Event::DescriptionChanged {
                version: version.map(v),
                description: description.map(text),
            };
            let world = || given([alice(register("v1"))]);
            world().when(describe(version, None)).then_nothing();
            let after = world().when(describe(version, Some("new"))).then([changed(Some("new"))]);
            let after = after.when(describe(version, None)).then([changed(None)]);
            let after = after.when(describe(version, Some("new"))).done();
            after.when(describe(version, Some("new"))).then_nothing();
        }
    }
}

mod amendments {
    use super::*;

    fn amend(edit: impl FnOnce(&mut Amended)) -> (Command, Event) {
        let mut amended = Amended {
            version: v("v1"),
            metadata: Metadata::default(),
            metrics: BTreeMap::new(),
            deployment: Deployment::default(),
            links: Vec::new(),
        };
        edit(&mut amended);
        let command = Command::Amend {
            version: v("v1"),
            metadata: Box::new(amended.metadata.clone()),
            metrics: amended.metrics.clone(),
            deployment: Box::new(amended.deployment.clone()),
            links: amended.links.clone(),
        };
        (command, Event::Amended(Box::new(amended)))
    }

    #[test]
    fn what_is_given_replaces_and_the_rest_stays() {
        let (first, _) = amend(|a| {
            a.metadata.algorithm = Some(text("XGBoost"));
            a.metrics.insert(key("auc"), Metric::new(0.5).unwrap());
            a.metrics.insert(key("f1"), Metric::new(0.4).unwrap());
        });
        let (second, event) = amend(|a| {
            a.metadata.owner = Some(name("alice"));
            a.metrics.insert(key("auc"), Metric::new(0.6).unwrap());
            a.deployment.latency_p50_ms = Some(Finite::new(1.5).unwrap());
        });
        let digest = weights("v1").digest();
        let after = given([alice(register("v1")), alice(first)]).when(second.clone()).then([event]);
        let content = &after.version("v1").content;
        assert_eq!(content.metadata.algorithm, Some(text("XGBoost")));
        assert_eq!(content.metadata.owner, Some(name("alice")));
        assert_eq!(content.metrics[&key("auc")], Metric::new(0.6).unwrap());
        assert_eq!(content.metrics[&key("f1")], Metric::new(0.4).unwrap());
        assert_eq!(
            (after.version("v1").digest, content.digest()),
            (digest, digest),
            "it is the same version"
        );
        after.when(second).then_nothing();
    }

    #[test]
    fn nothing_given_is_nothing_new() {
        given([alice(register("v1"))]).when(amend(|_| {}).0).then_nothing();
    }

    #[test]
    fn values_nested_too_deep_are_refused() {
        let nested = (0..100).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
        let (command, _) = amend(|a| drop(a.metadata.extra.insert("x".to_owned(), nested)));
        given([alice(register("v1"))]).when(command).then_invalid("metadata value");
    }
}

mod policies {
    use super::*;

    #[test]
    fn a_change_is_recorded_once() {
        let change = || demand(Production, Some(ApprovalRule::default()));
        let after = given([alice(register("v1"))])
            .when(change_policy(change()))
            .then([Event::PolicyChanged { change: change() }]);
        let after = {
            let world = after;
            assert_eq!(world.state.policy.stages.len(), 1);
            world
        };
        after.when(change_policy(change())).then_nothing();
        given([alice(register("v1"))]).when(change_policy(demand(Production, None))).then_nothing();
        let table = PolicyChange::Transitions { table: None };
        given([alice(register("v1"))]).when(change_policy(table)).then_nothing();
    }

    #[test]
    fn a_rule_of_one_stage_leaves_the_others_alone() {
        let steps = [
            alice(register("v1")),
            alice(change_policy(demand(Production, Some(ApprovalRule::default())))),
            alice(change_policy(demand(Staging, Some(ApprovalRule::default())))),
            alice(change_policy(demand(Production, None))),
        ];
        let after = given(steps);
        assert_eq!(after.state.policy.stages.keys().collect::<Vec<_>>(), [&Staging]);
    }

    #[test]
    fn a_rule_that_nobody_can_fulfil_is_refused() {
        let refused = |rule: ApprovalRule| {
            let change = change_policy(demand(Production, Some(rule)));
            given([alice(register("v1"))]).when(change.clone()).then_invalid("approval rule");
            given([]).in_stream("registry").when(change).then_invalid("approval rule");
        };
        let two = ApprovalRule { quorum: 2.try_into().unwrap(), ..ApprovalRule::default() };
        refused(ApprovalRule { approvers: [name("carol")].into(), ..two.clone() });
        refused(ApprovalRule { expires_after_seconds: Some(0), ..ApprovalRule::default() });
        let fine = ApprovalRule { approvers: [name("carol"), name("dave")].into(), ..two.clone() };
        for rule in [two, fine] {
            given([alice(register("v1"))]).when(change_policy(demand(Production, Some(rule)))).done();
        }
    }
}
