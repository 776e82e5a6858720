//! Nothing is made out of itself.

use super::*;
use crate::lineage::{Derivation, Link};

fn made_out_of(version: &str, parents: &[&str]) -> Command {
    let mut content = weights(version);
    content.links = parents
        .iter()
        .map(|parent| Link::DerivedFrom { model: parent.parse().unwrap(), how: Derivation::FineTuned })
        .collect();
    register_as(version, content)
}

fn parent_amended(version: &str, parent: &str) -> Command {
    let parent_model = Some(parent.parse().unwrap());
    let metadata = crate::content::Metadata { parent_model, ..Default::default() };
    Command::Amend {
        version: v(version),
        metadata: Box::new(metadata),
        metrics: Default::default(),
        deployment: Box::default(),
        links: Vec::new(),
    }
}

fn circle(version: &str, through: &[&str]) -> Rejection {
    Rejection::LineageCircle {
        version: version.parse().unwrap(),
        through: through.iter().map(|between| between.parse().unwrap()).collect(),
    }
}

#[test]
fn a_version_is_not_made_out_of_itself() {
    given([]).when(made_out_of("v1", &["fraud@v1.0.0"])).then_err(circle("fraud@v1.0.0", &[]));
    given([alice(register("v1"))])
        .when(parent_amended("v1", "fraud@v1.0.0"))
        .then_err(circle("fraud@v1.0.0", &[]));
}

#[test]
fn nor_out_of_what_was_made_out_of_it() {
    given([alice(register("v1")), alice(made_out_of("v2", &["fraud@v1.0.0"]))])
        .when(parent_amended("v1", "fraud@v2.0.0"))
        .then_err(circle("fraud@v1.0.0", &["fraud@v2.0.0"]));
}

#[test]
fn also_where_the_way_leads_through_other_models() {
    let world = || {
        [
            alice(register("v1")),
            elsewhere("mobile@v1.0.0", &["tiny@v1.0.0", "base@v1.0.0"]),
            elsewhere("tiny@v1.0.0", &["fraud@v1.0.0"]),
        ]
    };
    given(world())
        .when(parent_amended("v1", "mobile@v1.0.0"))
        .then_err(circle("fraud@v1.0.0", &["mobile@v1.0.0", "tiny@v1.0.0"]));
    given(world()).when(made_out_of("v2", &["mobile@v1.0.0"])).then_registered("v2.0.0");
}

#[test]
fn a_number_that_is_found_by_rule_counts_as_well() {
    // The next number is v2.0.0, which v1.0.0 claims to have been made out of.
    let mut content = weights("new");
    content.metadata.parent_model = Some("fraud@v1.0.0".parse().unwrap());
    given([alice(made_out_of("v1", &["fraud@v2.0.0"]))])
        .when(registration(crate::version::Bump::Major, content))
        .then_err(circle("fraud@v2.0.0", &["fraud@v1.0.0"]));
}

#[test]
fn two_ways_to_one_ancestor_are_no_circle() {
    let world = [
        alice(register("v1")),
        alice(made_out_of("v2", &["fraud@v1.0.0"])),
        alice(made_out_of("v3", &["fraud@v1.0.0"])),
    ];
    given(world).when(made_out_of("v4", &["fraud@v2.0.0", "fraud@v3.0.0"])).then_registered("v4.0.0");
}
