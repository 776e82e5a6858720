use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::command::By;
use crate::content::Content;
use crate::error::Error;
use crate::ext::{Amendment, PromoteOptions, Registration, RegistryExt as _};
use crate::features::{Feature, FeatureSchema};
use crate::invalid::Invalid;
use crate::memory::in_memory;
use crate::name::ModelName;
use crate::registry::Registry;
use crate::rejection::Rejection;
use crate::selector::Selector;
use crate::stage::Stage;

fn by() -> By {
    By::new("ana".parse().unwrap())
}

fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn version(text: &str) -> ModelVersion {
    text.parse().unwrap()
}

async fn registered<R: Registry>(registry: &R, of: &str, content: Content) {
    let of = version(of);
    registry.register(&by(), &of.model, Registration::new(of.version, content), &[]).await.unwrap();
}

async fn linked<R: Registry>(registry: &R, of: &str, links: Vec<Link>) -> Result<crate::Receipt, Error> {
    let of = version(of);
    registry.amend(&by(), &of.model, &of.version, Amendment { links, ..Amendment::default() }).await
}

async fn promoted<R: Registry>(registry: &R, of: &str) {
    let of = version(of);
    for stage in [Stage::Staging, Stage::Production] {
        let options = PromoteOptions::default();
        registry.promote(&by(), &of.model, &of.version, stage, options).await.unwrap();
    }
}

fn derived(parent: &str) -> Content {
    let mut content = Content::default();
    content.metadata.parent_model = Some(parent.parse().unwrap());
    content
}

fn made_with(data: &str, engineering: &str, experiment: &str) -> Content {
    let mut content = Content::default();
    content.metadata.training_data_version = Some(data.parse().unwrap());
    content.metadata.feature_engineering_version = Some(engineering.parse().unwrap());
    content.metadata.experiment = Some(experiment.parse().unwrap());
    content
}

fn with_features(mut content: Content, set: &str, of: &str, features: &[&str]) -> Content {
    let features = features.iter().map(|name| Feature::new(*name)).collect();
    content.features = Some(FeatureSchema::new(Some(set.into()), Some(of.into()), features).unwrap());
    content
}

async fn lineage_of<R: Registry>(registry: &R, of: &str) -> Lineage {
    let of = version(of);
    registry.lineage(&of.model, &Selector::Version(of.version), None).await.unwrap()
}

fn names<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<String> {
    nodes.into_iter().map(ToString::to_string).collect()
}

/// The versions that are affected, in the order of their names.
fn affected(impact: &Impact) -> Vec<String> {
    let json = serde_json::to_value(impact).unwrap();
    let rows = json["affected"].as_array().unwrap();
    rows.iter().map(|row| row["version"].as_str().unwrap().to_owned()).collect()
}

/// A family of five versions in three models.
async fn family() -> impl Registry {
    let registry = in_memory();
    let mut first = made_with("v2023-12", "v1", "exp-001");
    first.metadata.parent_model = Some(version("base@v1.0.0"));
    registered(&registry, "fraud-detection@v3.0.0", first).await;
    let mut second = with_features(
        made_with("v2024-01", "v1", "exp-003-xgboost"),
        "card",
        "7",
        &["amount", "merchant_risk_score"],
    );
    second.metadata.parent_model = Some(version("fraud-detection@v3.0.0"));
    second.links = vec![
        serde_json::from_value(json!({"link": "input", "kind": "code", "id": "train.py", "version": "4f2a"}))
            .unwrap(),
        serde_json::from_value(
            json!({"link": "evaluation", "id": "holdout", "attributes": {"auc": 0.92, "rows": 5000}}),
        )
        .unwrap(),
    ];
    registered(&registry, "fraud-detection@v3.1.0", second).await;
    promoted(&registry, "fraud-detection@v3.1.0").await;
    let links =
        vec![Link::DerivedFrom { model: version("fraud-detection@v3.1.0"), how: Derivation::Quantised }];
    registered(&registry, "fraud-mobile@v1.0.0", Content { links, ..Content::default() }).await;
    promoted(&registry, "fraud-mobile@v1.0.0").await;
    registered(&registry, "fraud-mobile@v1.1.0", derived("fraud-mobile@v1.0.0")).await;
    let other = with_features(made_with("v2024-01", "v2", "exp-9"), "card", "8", &["amount"]);
    registered(&registry, "scoring@v1.0.0", other).await;
    registry
}

#[tokio::test]
async fn from_the_data_to_the_deployment_and_beyond() {
    let registry = family().await;
    insta::assert_snapshot!(lineage_of(&registry, "fraud-detection@v3.1.0").await.to_text(), @r"
    data:v2024-01
      └─> feature-engineering:v1
            └─> feature-set:card:7
                  └─> experiment:exp-003-xgboost
                        └─> model:fraud-detection@v3.1.0
                              └─> deployment:production

    Made with: code:train.py:4f2a

    Evaluated by: holdout (auc 0.92, rows 5000)

    Derived from fraud-detection@v3.0.0:

    data:v2023-12
      └─> feature-engineering:v1
            └─> experiment:exp-001
                  └─> model:fraud-detection@v3.0.0

    Derived from base@v1.0.0, which is not on record here.

    Made out of it:

      fraud-mobile@v1.0.0 (quantised, in production)
      fraud-mobile@v1.1.0 (derived)
    ");
}

#[tokio::test]
async fn what_was_used_is_listed_by_kind_the_nearest_first() {
    let registry = family().await;
    let lineage = lineage_of(&registry, "fraud-mobile@v1.0.0").await;
    let mut data = names(lineage.sources(NodeKind::Data));
    data.sort(); // Both are five steps away.
    assert_eq!(data, ["data:v2023-12", "data:v2024-01"]);
    let experiments = ["experiment:exp-003-xgboost", "experiment:exp-001"];
    assert_eq!(names(lineage.sources(NodeKind::Experiment)), experiments);
}

#[tokio::test]
async fn changing_a_feature_reaches_what_was_made_out_of_its_users() {
    let registry = family().await;
    let impact = registry.impact(&name("feature:merchant_risk_score"), None).await.unwrap();
    insta::assert_snapshot!(impact.to_text(), @"
    feature:merchant_risk_score has an influence on 3 versions of 2 models; 2 are in production.

    Deployed:

      fraud-detection@v3.1.0 (production)
        feature:merchant_risk_score -> feature-set:card:7 -> experiment:exp-003-xgboost -> model:fraud-detection@v3.1.0
      fraud-mobile@v1.0.0 (production)
        feature:merchant_risk_score -> feature-set:card:7 -> experiment:exp-003-xgboost -> model:fraud-detection@v3.1.0 -> model:fraud-mobile@v1.0.0

    Not deployed:

      fraud-mobile@v1.1.0
        feature:merchant_risk_score -> feature-set:card:7 -> experiment:exp-003-xgboost -> model:fraud-detection@v3.1.0 -> model:fraud-mobile@v1.0.0 -> model:fraud-mobile@v1.1.0
    ");
    let json = serde_json::to_value(&impact).unwrap();
    assert_eq!(json["of"], "feature:merchant_risk_score");
    assert_eq!(json["affected"][0]["version"], "fraud-detection@v3.1.0");
    assert_eq!(json["affected"][0]["deployment"], "production");
    assert_eq!(json["affected"][0]["path"][1], "feature-set:card:7");
    assert_eq!(json["is_cut"], false);
}

#[tokio::test]
async fn a_set_is_meant_in_one_version_or_in_all() {
    let registry = family().await;
    let affected = async |of: &str| affected(&registry.impact(&name(of), None).await.unwrap());
    let mobile = ["fraud-mobile@v1.0.0", "fraud-mobile@v1.1.0"];
    let seven = ["fraud-detection@v3.1.0", mobile[0], mobile[1]];
    assert_eq!(affected("feature-set:card:7").await, seven);
    assert_eq!(affected("feature-set:card:8").await, ["scoring@v1.0.0"]);
    assert_eq!(affected("feature-set:card").await, [seven[0], seven[1], seven[2], "scoring@v1.0.0"]);
    assert_eq!(affected("data:v2024-01").await.len(), 4);
    assert_eq!(affected("data:v2024").await, [""; 0]);
    assert_eq!(affected("code:train.py").await, seven);
    assert_eq!(affected("code:train.py:4f2a").await, seven);
    assert_eq!(affected("model:fraud-detection@3.1").await, mobile);
    assert_eq!(affected("model:fraud-detection").await, mobile);
    assert_eq!(affected("experiment:exp-9").await, ["scoring@v1.0.0"]);
}

#[tokio::test]
async fn what_is_asked_for_must_make_sense() {
    let registry = family().await;
    for (of, says) in [
        ("model:nobody", "there is no model `nobody`"),
        ("model:fraud-mobile@v9", "`fraud-mobile` has nothing that `v9.0.0` names"),
        ("deployment:production", "no version is made with it"),
        ("evaluation:holdout", "no version is made with it"),
    ] {
        let error = registry.impact(&name(of), None).await.unwrap_err();
        assert!(error.to_string().contains(says), "{of}: {error}");
    }
    for (text, says) in [
        ("amount", "expected `<kind>:<name>`"),
        ("thing:amount", "expected one of data,"),
        ("data:", "the name is empty"),
        ("model:a/b", "not allowed"),
    ] {
        let error: Invalid = text.parse::<NodeName>().unwrap_err();
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    assert_eq!(name("feature_set:card"), name("feature-set:card"));
    assert_eq!(name("model:team@eu").text(), "team@eu", "the name of a model may hold an @");
}

#[tokio::test]
async fn equal_names_do_not_join_what_was_made_of_different_things() {
    let registry = in_memory();
    registered(&registry, "a@v1.0.0", made_with("d1", "v1", "x")).await;
    registered(&registry, "b@v1.0.0", made_with("d2", "v1", "x")).await;
    registered(&registry, "c@v1.0.0", made_with("d2", "v1", "x")).await;
    let graph = registry.lineage_of_all(None).await.unwrap();
    assert_eq!(graph.path(&name("data:d1"), &name("model:b")), None);
    let way = graph.path(&name("data:d2"), &name("model:c")).unwrap();
    assert_eq!(names(way), ["data:d2", "feature-engineering:v1", "experiment:x", "model:c@v1.0.0"]);
    assert_eq!(graph.impact(&name("feature-engineering:v1")).len(), 3);
    assert_eq!(
        names(graph.upstream(&name("model:b"))),
        ["experiment:x", "feature-engineering:v1", "data:d2"]
    );
    let common = graph.common_ancestors(&name("model:a"), &name("model:b"));
    assert_eq!(
        names(common),
        ["experiment:x", "feature-engineering:v1"],
        "by name, whatever they were made of"
    );
    assert_eq!(graph.node_count(), 9, "b and c hang on one chain");
}

#[tokio::test]
async fn common_ancestors_are_found_the_nearest_first() {
    let registry = family().await;
    let graph = registry.lineage_of_all(None).await.unwrap();
    let common = |one: &str, other: &str| names(graph.common_ancestors(&name(one), &name(other)));
    assert_eq!(common("model:scoring", "model:fraud-mobile@v1.1.0"), ["feature:amount", "data:v2024-01"]);
    assert_eq!(
        common("model:fraud-mobile@v1.1.0", "model:fraud-detection@v3.1.0")[0],
        "model:fraud-detection@v3.1.0"
    );
    assert_eq!(common("model:scoring", "model:nobody"), [""; 0]);
}

#[tokio::test]
async fn as_of_an_instant_nothing_later_is_known() {
    let clock = std::sync::Arc::new(crate::time::ManualClock::new(crate::time::Timestamp::EPOCH));
    let registry = in_memory().with_clock(clock.clone());
    registered(&registry, "m@v1.0.0", made_with("d1", "v1", "x")).await;
    promoted(&registry, "m@v1.0.0").await;
    clock.advance(Duration::from_secs(60));
    let then = crate::time::Clock::now(&*clock);
    clock.advance(Duration::from_secs(60));
    registered(&registry, "m@v2.0.0", derived("m@v1.0.0")).await;
    promoted(&registry, "m@v2.0.0").await;
    let evaluation = Link::Evaluation { id: "late".parse().unwrap(), attributes: BTreeMap::new() };
    linked(&registry, "m@v1.0.0", vec![evaluation]).await.unwrap();

    let before = registry.lineage(&model("m"), &Selector::PRODUCTION, Some(then)).await.unwrap();
    assert_eq!(before.of, version("m@v1.0.0"));
    assert!(before.to_text().ends_with("└─> deployment:production\n"), "{}", before.to_text());
    let now = lineage_of(&registry, "m@v1.0.0").await.to_text();
    assert!(now.contains("Evaluated by: late") && now.contains("m@v2.0.0 (derived, in production)"), "{now}");
    assert!(!now.contains("deployment:"), "{now}");
    let impact = async |instant| registry.impact(&name("data:d1"), instant).await.unwrap().influence().len();
    assert_eq!((impact(Some(then)).await, impact(None).await), (1, 2));
    let beginning = registry
        .lineage(&model("m"), &Selector::Newest, Some(crate::time::Timestamp::from_microseconds(-1).unwrap()))
        .await;
    assert!(matches!(beginning, Err(Error::Rejected(Rejection::ModelNotFound { .. }))), "{beginning:?}");
}

#[tokio::test]
async fn a_version_that_says_nothing_has_itself_for_a_lineage() {
    let registry = in_memory();
    registered(&registry, "fraud@v1.0.0", Content::default()).await;
    assert_eq!(lineage_of(&registry, "fraud@v1.0.0").await.to_text(), "model:fraud@v1.0.0\n");
    let missing = registry.lineage(&model("other"), &Selector::Newest, None).await;
    assert!(matches!(missing, Err(Error::Rejected(Rejection::ModelNotFound { .. }))), "{missing:?}");
}

#[tokio::test]
async fn features_of_no_set_belong_to_the_version() {
    let registry = in_memory();
    let mut content = made_with("d", "v1", "x");
    let features = vec![Feature::new("a"), Feature::new("b")];
    content.features = Some(FeatureSchema::new(None, None, features.clone()).unwrap());
    registered(&registry, "m@v1.0.0", content).await;
    let features = Some(FeatureSchema::new(None, None, features).unwrap());
    registered(&registry, "n@v1.0.0", Content { features, ..Content::default() }).await;
    let text = lineage_of(&registry, "m@v1.0.0").await.to_text();
    assert!(text.contains("└─> model:m@v1.0.0") && text.ends_with("\nFeatures: a, b\n"), "{text}");
    let text = lineage_of(&registry, "n@v1.0.0").await.to_text();
    assert_eq!(text, "model:n@v1.0.0\n\nFeatures: a, b\n");
    assert_eq!(registry.impact(&name("feature:b"), None).await.unwrap().influence().len(), 2);
}

#[tokio::test]
async fn a_version_is_found_by_each_of_very_many_features() {
    let registry = in_memory();
    let features = (0..1_500).map(|number| Feature::new(format!("f{number}"))).collect();
    let features = Some(FeatureSchema::new(None, None, features).unwrap());
    registered(&registry, "wide@v1.0.0", Content { features, ..Content::default() }).await;
    for feature in ["feature:f0", "feature:f1499"] {
        assert_eq!(registry.impact(&name(feature), None).await.unwrap().influence().len(), 1, "{feature}");
    }
    assert_eq!(registry.impact(&name("feature:f1500"), None).await.unwrap().influence().len(), 0);
}

#[tokio::test]
async fn a_circle_is_refused_when_it_would_be_closed() {
    let registry = in_memory();
    let refused = async |of: &str, content: Content| {
        let of = version(of);
        let made = registry.register(&by(), &of.model, Registration::new(of.version, content), &[]).await;
        match made {
            Err(Error::Rejected(Rejection::LineageCircle { through, .. })) => {
                through.iter().map(ToString::to_string).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("self@v1.0.0", derived("self@v1.0.0")).await, [""; 0]);
    registered(&registry, "a@v1.0.0", derived("b@v1.0.0")).await;
    assert_eq!(refused("b@v1.0.0", derived("a@v1.0.0")).await, ["a@v1.0.0"]);
    registered(&registry, "a@v2.0.0", derived("a@v1.0.0")).await;
    registered(&registry, "c@v1.0.0", derived("a@v2.0.0")).await;
    let through = ["c@v1.0.0", "a@v2.0.0", "a@v1.0.0"];
    assert_eq!(refused("b@v1.0.0", derived("c@v1.0.0")).await, through);
    assert!(registry.lineage(&model("b"), &Selector::Newest, None).await.is_err(), "nothing was registered");
    registered(&registry, "b@v1.0.0", Content::default()).await;
    // A link that is added later closes none either.
    let link = |parent: &str| vec![Link::DerivedFrom { model: version(parent), how: Derivation::Distilled }];
    let error = linked(&registry, "b@v1.0.0", link("c@v1.0.0")).await.unwrap_err();
    insta::assert_snapshot!(error.to_string(), @"b@v1.0.0 cannot have been made out of c@v1.0.0; c@v1.0.0 was made out of a@v2.0.0, and that out of a@v1.0.0, and that out of b@v1.0.0");
    linked(&registry, "b@v1.0.0", link("elsewhere@v1.0.0")).await.unwrap();
    assert!(!registry.lineage_of_all(None).await.unwrap().has_circle());
}

#[tokio::test]
async fn circles_that_are_on_record_all_the_same_end() {
    // As it can come from another system, or from two registrations at once in two models.
    let circular = |of: &str, parent: &str| {
        let of = version(of);
        let mut state = crate::state::ModelState::new();
        let registered = crate::event::VersionRegistered {
            version: of.version.clone(),
            digest: Content::default().digest(),
            content: derived(parent),
            numbering: Default::default(),
            origins: Vec::new(),
        };
        let event = crate::event::Event::VersionRegistered(Box::new(registered));
        state = state.overlaid(&[event], crate::time::Timestamp::EPOCH, &"ana".parse().unwrap());
        (of.model, state.version(&of.version).unwrap().clone())
    };
    let mut graph = Graph::new();
    let mut records = BTreeMap::new();
    for (of, parent) in [("a@v1.0.0", "b@v1.0.0"), ("b@v1.0.0", "a@v1.0.0"), ("s@v1.0.0", "s@v1.0.0")] {
        let (model, state) = circular(of, parent);
        graph.add(&model, &state);
        records.insert(version(of), state);
    }
    assert!(graph.has_circle());
    assert_eq!(names(graph.upstream(&name("model:a"))), ["model:b@v1.0.0"]);
    assert_eq!(names(graph.downstream(&name("model:s"))), [""; 0]);
    let lineage = Lineage { of: version("a@v1.0.0"), as_of: None, graph, records, is_cut: false };
    insta::assert_snapshot!(lineage.to_text(), @r"
    model:a@v1.0.0

    Derived from b@v1.0.0:

    model:b@v1.0.0

    Derived from a@v1.0.0, which is above.

    Made out of it:

      b@v1.0.0 (derived)
    ");
}

#[tokio::test]
async fn links_only_grow() {
    let registry = in_memory();
    registered(&registry, "m@v1.0.0", Content::default()).await;
    let data = |id: &str| Link::Input {
        kind: InputKind::Data,
        id: id.parse().unwrap(),
        version: None,
        digest: None,
        attributes: BTreeMap::new(),
    };
    let link = async |links: Vec<Link>| linked(&registry, "m@v1.0.0", links).await;
    assert_eq!(link(vec![data("one"), data("two")]).await.unwrap().events().len(), 1);
    assert_eq!(link(vec![data("two"), data("one")]).await.unwrap().events().len(), 0, "both are there");
    let added = link(vec![data("two"), data("three")]).await.unwrap();
    let crate::event::Event::Amended(amended) = &added.events()[0] else { panic!("{added:?}") };
    assert_eq!(amended.links, [data("three")], "only what is new is recorded");
    let found = registry.get(&model("m"), &Selector::Newest).await.unwrap();
    assert_eq!(found.content.links, [data("one"), data("two"), data("three")]);
    let many = (0..LINKS_MAX).map(|number| data(&number.to_string())).collect();
    let error = link(many).await.unwrap_err();
    assert!(error.to_string().contains("a version has at most 1000"), "{error}");
}

#[tokio::test]
async fn what_was_deleted_is_still_where_something_came_from() {
    let registry = in_memory();
    registered(&registry, "m@v1.0.0", made_with("d", "v1", "x")).await;
    registered(&registry, "m@v2.0.0", derived("m@v1.0.0")).await;
    registry.delete(&by(), &model("m"), &"v1".parse().unwrap()).await.unwrap();
    let lineage = lineage_of(&registry, "m@v2.0.0").await;
    assert_eq!(names(lineage.sources(NodeKind::Data)), ["data:d"]);
}

#[tokio::test]
async fn a_long_line_is_followed_to_its_beginning() {
    let registry = in_memory();
    registered(&registry, "m@v1.0.0", made_with("d", "v1", "x")).await;
    for number in 2..=300 {
        registered(&registry, &format!("m@v{number}.0.0"), derived(&format!("m@v{}.0.0", number - 1))).await;
    }
    let lineage = lineage_of(&registry, "m@v300.0.0").await;
    assert_eq!(names(lineage.sources(NodeKind::Data)), ["data:d"]);
    assert_eq!(lineage.records.len(), 300);
    let impact = registry.impact(&name("data:d"), None).await.unwrap();
    assert_eq!(impact.influence().len(), 300);
    let json = serde_json::to_value(&impact).unwrap();
    let last = json["affected"].as_array().unwrap().last().unwrap();
    let path = last["path"].as_array().unwrap();
    assert_eq!(
        (last["version"].as_str(), path.len()),
        (Some("m@v300.0.0"), 25),
        "a long way is cut in the middle"
    );
    assert_eq!((path[0].as_str(), path[12].as_str()), (Some("data:d"), Some("(279 more)")));
    assert_eq!(path[24], "model:m@v300.0.0");
}

#[tokio::test]
async fn pictures() {
    let registry = family().await;
    let lineage = lineage_of(&registry, "fraud-mobile@v1.0.0").await;
    insta::assert_snapshot!("dot", lineage.graph.to_dot());
    insta::assert_snapshot!("mermaid", lineage.graph.to_mermaid());
    insta::assert_snapshot!("graph", serde_json::to_string_pretty(&lineage).unwrap());
}

#[tokio::test]
async fn names_cannot_break_out_of_a_picture() {
    let registry = in_memory();
    registered(&registry, "m@v1.0.0", made_with("a\"]; x [label=\"", "b\\", "`<script>&#35;")).await;
    let graph = registry.lineage_of_all(None).await.unwrap();
    insta::assert_snapshot!(graph.to_dot(), @r#"
    digraph lineage {
      rankdir=LR;
      node [fontname="sans-serif"];
      n0 [label="m@v1.0.0", shape=box];
      n1 [label="data:a\"]; x [label=\"", shape=cylinder];
      n2 [label="feature-engineering:b\\", shape=ellipse];
      n3 [label="experiment:`<script>&#35;", shape=ellipse];
      n1 -> n2;
      n2 -> n3;
      n3 -> n0;
    }
    "#);
    insta::assert_snapshot!(graph.to_mermaid(), @r#"
    flowchart LR
      n0["m@v1.0.0"]
      n1[("data:a#34;]; x [label=#34;")]
      n2(["feature-engineering:b\"])
      n3(["experiment:#96;#60;script#62;#38;#35;35;"])
      n1 --> n2
      n2 --> n3
      n3 --> n0
    "#);
}

#[tokio::test]
async fn events_for_others_who_collect_lineage() {
    let clock = std::sync::Arc::new(crate::time::ManualClock::new("2024-01-15T10:30:00Z".parse().unwrap()));
    let registry = in_memory().with_clock(clock);
    let mut content = made_with("s3://lake/cards/2024", "v1", "exp-003-xgboost");
    content.metadata.owner = Some("ana".parse().unwrap());
    content.metadata.training_seconds = Some(2_700.0.try_into().unwrap());
    content.metadata.parent_model = Some(version("base@v1.0.0"));
    content.description = Some("finds fraud".parse().unwrap());
    registered(&registry, "fraud@v3.1.0", content).await;
    promoted(&registry, "fraud@v3.1.0").await;
    let events = lineage_of(&registry, "fraud@v3.1.0").await.to_openlineage("models.example.com");
    insta::assert_snapshot!("openlineage", serde_json::to_string_pretty(&events).unwrap());
    let again = lineage_of(&registry, "fraud@v3.1.0").await.to_openlineage("models.example.com");
    assert_eq!(events, again, "whoever sends them twice sends the same runs");
    let elsewhere = lineage_of(&registry, "fraud@v3.1.0").await.to_openlineage("other.example.com");
    assert_ne!(events[0]["run"], elsewhere[0]["run"]);
}

/// What a version has on record, for the reference.
#[derive(Debug, Clone)]
struct Made {
    data: Option<u8>,
    engineering: Option<u8>,
    set: Option<u8>,
    experiment: Option<u8>,
    input: Option<u8>,
    parents: BTreeSet<usize>,
}

fn made(number: usize) -> impl Strategy<Value = Made> {
    let few = || proptest::option::of(0..3_u8);
    let parents = proptest::collection::btree_set(0..number.max(1), 0..3);
    (few(), few(), few(), few(), few(), parents).prop_map(
        move |(data, engineering, set, experiment, input, parents)| Made {
            data,
            engineering,
            set,
            experiment,
            input,
            parents: if number == 0 { BTreeSet::new() } else { parents },
        },
    )
}

fn world() -> impl Strategy<Value = Vec<Made>> {
    (1..14_usize).prop_flat_map(|count| (0..count).map(made).collect::<Vec<_>>())
}

/// The name of a version: three models, so that parents are in the same model and in others.
fn called(number: usize) -> ModelVersion {
    version(&format!("m{}@v{}.0.0", number % 3, number + 1))
}

impl Made {
    /// The names of what it was made with, features included.
    fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        names.extend(self.data.map(|data| format!("data:d{data}")));
        names.extend(self.engineering.map(|code| format!("feature-engineering:e{code}")));
        names.extend(self.experiment.map(|run| format!("experiment:x{run}")));
        names.extend(self.input.map(|data| format!("data:i{data}")));
        if let Some(set) = self.set {
            names.insert(format!("feature-set:s:{set}"));
            names.extend((0..=set).map(|feature| format!("feature:f{feature}")));
        }
        names
    }

    fn content(&self) -> Content {
        let mut content = Content::default();
        let text = |prefix: &str, number: Option<u8>| {
            number.map(|number| format!("{prefix}{number}").parse().unwrap())
        };
        content.metadata.training_data_version = text("d", self.data);
        content.metadata.feature_engineering_version = text("e", self.engineering);
        content.metadata.experiment = text("x", self.experiment);
        if let Some(set) = self.set {
            let features = (0..=set).map(|feature| Feature::new(format!("f{feature}"))).collect();
            content.features =
                Some(FeatureSchema::new(Some("s".into()), Some(set.to_string()), features).unwrap());
        }
        if let Some(id) = text("i", self.input) {
            let (version, digest, attributes) = (None, None, BTreeMap::new());
            content.links.push(Link::Input { kind: InputKind::Data, id, version, digest, attributes });
        }
        for parent in &self.parents {
            content.links.push(Link::DerivedFrom { model: called(*parent), how: Derivation::Merged });
        }
        content
    }
}

/// The versions that a version goes back to, itself included.
fn ancestors(world: &[Made], of: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([of]);
    for parent in &world[of].parents {
        found.extend(ancestors(world, *parent));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every answer is that of somebody who knows nothing of graphs and looks through all records.
    #[test]
    fn answers_are_those_of_the_records(world in world()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let registry = in_memory();
            for (number, made) in world.iter().enumerate() {
                registered(&registry, &called(number).to_string(), made.content()).await;
            }
            let whole = registry.lineage_of_all(None).await.unwrap();
            let all: Vec<BTreeSet<usize>> = (0..world.len()).map(|number| ancestors(&world, number)).collect();
            let mut things: BTreeSet<String> = world.iter().flat_map(Made::names).collect();
            things.insert("feature-set:s".into());
            things.insert("data:nothing".into());
            for thing in &things {
                let thing_name = name(thing);
                let uses = |number: &usize| {
                    let names = world[*number].names();
                    names.contains(thing) || (thing == "feature-set:s" && world[*number].set.is_some())
                };
                let expected: BTreeSet<ModelVersion> = (0..world.len())
                    .filter(|number| all[*number].iter().any(uses))
                    .map(called)
                    .collect();
                let impact = registry.impact(&thing_name, None).await.unwrap();
                for influence in [impact.influence(), whole.impact(&thing_name)] {
                    let found: BTreeSet<ModelVersion> =
                        influence.versions().map(|one| one.node().model_version().unwrap()).collect();
                    assert_eq!(found, expected, "{thing}");
                    assert_eq!(found.len(), influence.len(), "each once");
                    for one in influence.versions() {
                        let path = influence.path(&one);
                        assert!(path[0].to_string().starts_with(thing.as_str()), "{path:?}");
                        assert_eq!(path.last(), Some(&one.node()));
                    }
                }
            }
            for number in 0..world.len() {
                let of = called(number);
                let expected: BTreeSet<String> = all[number]
                    .iter()
                    .flat_map(|ancestor| world[*ancestor].names())
                    .chain(all[number].iter().filter(|one| **one != number).map(|one| format!("model:{}", called(*one))))
                    .collect();
                let lineage = lineage_of(&registry, &of.to_string()).await;
                let upstream = names(lineage.graph.upstream(&NodeName::from(&of)));
                assert_eq!(upstream.iter().cloned().collect::<BTreeSet<_>>(), expected);
                assert_eq!(upstream.len(), expected.len(), "each once");
                let whole_upstream = names(whole.upstream(&NodeName::from(&of)));
                assert_eq!(whole_upstream.into_iter().collect::<BTreeSet<_>>(), expected);
                let offspring: BTreeSet<String> = (0..world.len())
                    .filter(|one| *one != number && all[*one].contains(&number))
                    .map(|one| format!("model:{}", called(one)))
                    .collect();
                let downstream = names(lineage.graph.downstream(&NodeName::from(&of)));
                assert_eq!(downstream.into_iter().collect::<BTreeSet<_>>(), offspring);
                for other in 0..world.len() {
                    let reaches = all[number].contains(&other);
                    let path = whole.path(&NodeName::from(&called(other)), &NodeName::from(&of));
                    assert_eq!(path.is_some(), reaches, "{other} to {number}");
                    let common: BTreeSet<String> = {
                        let of_all = |one: usize| -> BTreeSet<String> {
                            all[one].iter().flat_map(|ancestor| {
                                let itself = format!("model:{}", called(*ancestor));
                                world[*ancestor].names().into_iter().chain([itself])
                            }).collect()
                        };
                        of_all(number).intersection(&of_all(other)).cloned().collect()
                    };
                    let found = names(whole.common_ancestors(&NodeName::from(&of), &NodeName::from(&called(other))));
                    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), common);
                }
            }
        });
    }
}
