//! Why this exists: "what was this made of, what was it derived from, and where does it run?" The answer is
//! what the versions themselves have on record: data, features, experiment, parent, stage. Each version keeps
//! its own facts: two versions that were made by the `v1` of some code need not have used the same data, so
//! nothing is concluded from equal names.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::compat::render::one_line;
use crate::digest::Digest;
use crate::error::Error;
use crate::ext::RegistryExt as _;
use crate::features::FeatureSchema;
use crate::name::{ModelName, ModelVersion};
use crate::registry::Registry;
use crate::rejection::Rejection;
use crate::selector::Selector;
use crate::stage::Stage;
use crate::state::VersionState;

/// How many versions are looked up for one answer, the first included.
pub const GENERATIONS_MAX: usize = 100;

/// Where a version comes from: see [`RegistryExt::lineage`](crate::RegistryExt::lineage).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Lineage {
    /// The version that was asked for, then the version it was derived from, then the one that that one was
    /// derived from, and so on.
    pub generations: Vec<Origin>,
    /// Why there are no more.
    pub end: End,
}

/// What one version was made of, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Origin {
    /// The version.
    pub model: ModelVersion,
    /// The identity of its content.
    pub digest: Digest,
    /// The version of the training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The feature set, with its version after a colon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_set: Option<String>,
    /// The version of the feature engineering code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_engineering: Option<String>,
    /// The experiment or run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The version it was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ModelVersion>,
    /// The stage it is deployed in: `staging` or `production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Stage>,
}

/// Why a lineage has no more generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", content = "version", rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// The last one was derived from no other version.
    Beginning,
    /// The last one was derived from a version that is not on record here.
    NotOnRecord(ModelVersion),
    /// The last one claims to be derived from a version that was itself derived from it.
    Circle(ModelVersion),
    /// There are more than [`GENERATIONS_MAX`]; the lineage of this version has the rest.
    More(ModelVersion),
}

impl Origin {
    /// What a version has on record.
    pub fn of(model: &ModelName, version: &VersionState) -> Origin {
        let content = &version.content;
        let metadata = &content.metadata;
        let deployed =
            version.deleted.is_none() && matches!(version.stage, Stage::Staging | Stage::Production);
        Origin {
            model: ModelVersion { model: model.clone(), version: version.version.clone() },
            digest: version.digest,
            data: metadata.training_data_version.as_ref().map(ToString::to_string),
            feature_set: content.features.as_ref().and_then(FeatureSchema::versioned_set),
            feature_engineering: metadata.feature_engineering_version.as_ref().map(ToString::to_string),
            experiment: metadata.experiment.as_ref().map(ToString::to_string),
            parent: metadata.parent_model.clone(),
            deployment: deployed.then_some(version.stage),
        }
    }

    /// The chain from the data to the deployment, one fact a step and those that are known.
    fn chain(&self) -> impl Iterator<Item = String> {
        let model = format!("{}-{}", self.model.model, self.model.version);
        let steps = [
            ("data", self.data.clone()),
            ("feature-set", self.feature_set.clone()),
            ("feature-engineering", self.feature_engineering.clone()),
            ("experiment", self.experiment.clone()),
            ("model", Some(model)),
            ("deployment", self.deployment.map(|stage| stage.to_string())),
        ];
        steps.into_iter().filter_map(|(kind, what)| Some(format!("{kind}:{}", one_line(&what?))))
    }
}

impl Lineage {
    /// For people: a tree for each generation.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (number, origin) in self.generations.iter().enumerate() {
            if 0 < number {
                text.push_str(&format!("\nDerived from {}:\n\n", origin.model));
            }
            for (depth, step) in origin.chain().enumerate() {
                if let Some(outer) = depth.checked_sub(1) {
                    text.push_str(&format!("  {}└─> ", " ".repeat(outer.saturating_mul(6))));
                }
                text.push_str(&step);
                text.push('\n');
            }
        }
        let ending = match &self.end {
            End::Beginning => return text,
            End::NotOnRecord(parent) => format!("Derived from {parent}, which is not on record here."),
            End::Circle(parent) => {
                format!("Derived from {parent}, which is above: one of the records is wrong.")
            }
            End::More(parent) => format!("Derived from {parent}, whose lineage has the rest."),
        };
        text.push_str(&format!("\n{ending}\n"));
        text
    }
}

/// Follows a version to what it was derived from, and so on.
pub(crate) async fn trace<R: Registry + ?Sized>(
    registry: &R,
    model: &ModelName,
    selector: &Selector,
) -> Result<Lineage, Error> {
    let found = registry.get(model, selector).await?;
    let mut origin = Origin::of(&found.model, &found);
    let mut seen = BTreeSet::from([origin.model.clone()]);
    let mut generations = Vec::new();
    let end = loop {
        let parent = origin.parent.clone();
        generations.push(origin);
        let Some(parent) = parent else { break End::Beginning };
        if !seen.insert(parent.clone()) {
            break End::Circle(parent);
        }
        if GENERATIONS_MAX <= generations.len() {
            break End::More(parent);
        }
        match registry.get(&parent.model, &Selector::Version(parent.version.clone())).await {
            Ok(found) => origin = Origin::of(&found.model, &found),
            Err(Error::Rejected(Rejection::ModelNotFound { .. } | Rejection::NoMatch { .. })) => {
                break End::NotOnRecord(parent);
            }
            Err(error) => return Err(error),
        }
    };
    Ok(Lineage { generations, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::By;
    use crate::content::Content;
    use crate::ext::{PromoteOptions, Registration};
    use crate::features::Feature;
    use crate::memory::in_memory;
    use crate::version::Version;

    fn model(name: &str) -> ModelName {
        name.parse().unwrap()
    }

    async fn registered<R: Registry>(registry: &R, name: &str, version: &str, content: Content) {
        let by = By::new("ana".parse().unwrap());
        let version: Version = version.parse().unwrap();
        registry.register(&by, &model(name), Registration::new(version, content), &[]).await.unwrap();
    }

    fn derived(parent: &str) -> Content {
        let mut content = Content::default();
        content.metadata.parent_model = Some(parent.parse().unwrap());
        content
    }

    async fn lineage_of<R: Registry>(registry: &R, name: &str) -> Lineage {
        registry.lineage(&model(name), &Selector::Newest).await.unwrap()
    }

    #[tokio::test]
    async fn from_the_data_to_the_deployment_generation_by_generation() {
        let registry = in_memory();
        let mut first = derived("base@v1.0.0");
        first.metadata.training_data_version = Some("v2023-12".parse().unwrap());
        registered(&registry, "fraud-detection", "v3.0.0", first).await;
        let mut content = derived("fraud-detection@v3.0.0");
        content.metadata.training_data_version = Some("v2024-01".parse().unwrap());
        content.metadata.feature_engineering_version = Some("v1".parse().unwrap());
        content.metadata.experiment = Some("exp-003-xgboost".parse().unwrap());
        let features = vec![Feature::new("amount")];
        content.features = Some(FeatureSchema::new(Some("card".into()), Some("7".into()), features).unwrap());
        registered(&registry, "fraud-detection", "v3.1.0", content).await;
        let (by, new) = (By::new("ana".parse().unwrap()), "v3.1.0".parse().unwrap());
        for stage in [Stage::Staging, Stage::Production] {
            let options = PromoteOptions::default();
            registry.promote(&by, &model("fraud-detection"), &new, stage, options).await.unwrap();
        }
        let found = lineage_of(&registry, "fraud-detection").await;
        insta::assert_snapshot!(found.to_text(), @r"
        data:v2024-01
          └─> feature-set:card:7
                └─> feature-engineering:v1
                      └─> experiment:exp-003-xgboost
                            └─> model:fraud-detection-v3.1.0
                                  └─> deployment:production

        Derived from fraud-detection@v3.0.0:

        data:v2023-12
          └─> model:fraud-detection-v3.0.0

        Derived from base@v1.0.0, which is not on record here.
        ");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["generations"][0]["data"], "v2024-01");
        assert_eq!(json["generations"][0]["deployment"], "production");
        assert_eq!(json["end"], serde_json::json!({"why": "not_on_record", "version": "base@v1.0.0"}));
    }

    #[tokio::test]
    async fn a_version_that_says_nothing_has_itself_for_a_lineage() {
        let registry = in_memory();
        registered(&registry, "fraud", "v1", Content::default()).await;
        let found = lineage_of(&registry, "fraud").await;
        assert_eq!(found.to_text(), "model:fraud-v1.0.0\n");
        assert_eq!(serde_json::to_value(found.end).unwrap(), serde_json::json!({"why": "beginning"}));
        let missing = registry.lineage(&model("other"), &Selector::Newest).await;
        assert!(matches!(missing, Err(Error::Rejected(Rejection::ModelNotFound { .. }))), "{missing:?}");
    }

    #[tokio::test]
    async fn circles_end() {
        let registry = in_memory();
        registered(&registry, "a", "v1", derived("b@v1.0.0")).await;
        registered(&registry, "b", "v1", derived("a@v1.0.0")).await;
        let found = lineage_of(&registry, "a").await;
        assert_eq!(found.generations.len(), 2);
        assert_eq!(found.end, End::Circle("a@v1.0.0".parse().unwrap()));
        assert!(found.to_text().ends_with("which is above: one of the records is wrong.\n"));
        registered(&registry, "self", "v1", derived("self@v1.0.0")).await;
        assert_eq!(lineage_of(&registry, "self").await.generations.len(), 1);
    }

    #[tokio::test]
    async fn a_long_line_goes_on_where_it_stopped() {
        let registry = in_memory();
        registered(&registry, "m", "v1", Content::default()).await;
        for number in 2..=GENERATIONS_MAX + 1 {
            let parent = derived(&format!("m@v{}.0.0", number - 1));
            registered(&registry, "m", &format!("v{number}"), parent).await;
        }
        let found = lineage_of(&registry, "m").await;
        assert_eq!(found.generations.len(), GENERATIONS_MAX);
        let End::More(rest) = found.end else { panic!("{:?}", found.end) };
        let rest = registry.lineage(&rest.model, &Selector::Version(rest.version)).await.unwrap();
        assert_eq!((rest.generations.len(), rest.end), (1, End::Beginning));
    }

    #[tokio::test]
    async fn what_was_deleted_is_still_where_something_came_from() {
        let registry = in_memory();
        registered(&registry, "m", "v1", Content::default()).await;
        registered(&registry, "m", "v2", derived("m@v1.0.0")).await;
        let by = By::new("ana".parse().unwrap());
        registry.delete(&by, &model("m"), &"v1".parse().unwrap()).await.unwrap();
        let found = lineage_of(&registry, "m").await;
        assert_eq!((found.generations.len(), found.end), (2, End::Beginning));
    }
}
