//! What comes with a version from another registry, and what is noted of where it went.

use super::*;
use crate::event::{Copied, Origin};

fn origin(environment: &str) -> Origin {
    Origin {
        environment: environment.parse().unwrap(),
        model: "fraud".parse().unwrap(),
        version: v("v1"),
        revision: Revision::new(4).unwrap(),
        commit: Digest::of(environment.as_bytes()),
        registered_by: name("ada"),
        approved: Vec::new(),
    }
}

fn arriving(origins: Vec<Origin>) -> Command {
    let content = Box::new(weights("v1"));
    Command::Register { version: v("v1").into(), content, stage: Stage::Development, origins }
}

fn copy_to(to: &str, revision: u64) -> Copied {
    let revision = Revision::new(revision).unwrap();
    Copied { version: v("v1"), to: to.parse().unwrap(), revision, commit: Digest::of(b"there") }
}

fn noted(to: &str, revision: u64) -> Command {
    Command::NoteCopy(copy_to(to, revision))
}

#[test]
fn origins_are_kept_with_the_version() {
    let origins = vec![origin("staging"), origin("dev")];
    let after = given([]).when(arriving(origins.clone())).done();
    assert_eq!(*after.version("v1").origins, origins);
    let after = given([]).when(register("v1")).done();
    assert!(after.version("v1").origins.is_empty());
}

#[test]
fn the_same_content_from_elsewhere_changes_nothing() {
    given([alice(register("v1"))]).when(arriving(vec![origin("dev")])).then_nothing();
    given([alice(arriving(vec![origin("dev")]))]).when(arriving(vec![origin("staging")])).then_nothing();
}

#[test]
fn a_way_that_is_too_long_is_refused() {
    let way = |registries: usize| (0..registries).map(|number| origin(&format!("r{number}"))).collect();
    given([]).when(arriving(way(16))).done();
    let refused = given([]).when(arriving(way(17))).result.unwrap_err();
    assert!(refused.to_string().contains("came through 17 registries; at most 16"), "{refused}");
}

#[test]
fn a_copy_is_noted_once() {
    let there = || alice(register("v1"));
    given([there()]).when(noted("staging", 1)).then([Event::Copied(copy_to("staging", 1))]);
    given([there(), alice(noted("staging", 1))]).when(noted("staging", 1)).then_nothing();
    // The registry there was begun anew.
    given([there(), alice(noted("staging", 5))])
        .when(noted("staging", 1))
        .then([Event::Copied(copy_to("staging", 1))]);
    let after = given([there(), alice(noted("staging", 5)), alice(noted("live", 2))])
        .when(noted("staging", 1))
        .done();
    let copies: Vec<_> = after.version("v1").copies.values().cloned().collect();
    assert_eq!(copies, [copy_to("live", 2), copy_to("staging", 1)]);
}

#[test]
fn a_copy_is_noted_whatever_became_of_the_version_meanwhile() {
    let delete = Command::Delete { version: v("v1") };
    given([alice(register("v1")), alice(delete)])
        .when(noted("staging", 1))
        .then([Event::Copied(copy_to("staging", 1))]);
}

#[test]
fn a_copy_of_what_was_never_there_is_refused() {
    let refused = given([alice(register("v2"))]).when(noted("staging", 1)).result.unwrap_err();
    assert!(matches!(refused, Rejection::VersionNotFound { .. }), "{refused:?}");
    let refused = given([]).when(noted("staging", 1)).result.unwrap_err();
    assert!(matches!(refused, Rejection::ModelNotFound { .. }), "{refused:?}");
}

#[test]
fn copies_to_endlessly_many_registries_are_refused() {
    let copies = (0..256).map(|number| alice(noted(&format!("r{number}"), 1)));
    let full = || given([alice(register("v1"))].into_iter().chain(copies.clone()));
    let refused = full().when(noted("one-more", 1)).result.unwrap_err();
    assert!(refused.to_string().contains("256 registries"), "{refused}");
    full().when(noted("r7", 2)).then([Event::Copied(copy_to("r7", 2))]);
}
