//! A server that others use too: what they did before the registry came, what they do past it, and what they
//! see of it. Others are plain requests here, the same that MLflow's own client sends.

use backend_mlflow::MlflowRegistry;
use futures_util::future::join_all;
use registry_core::lineage::NodeKind;
use registry_core::storage::CommitLog as _;
use registry_core::{
    Amendment, By, Content, Event, Key, Metric, ModelName, PolicyChange, PromoteOptions, Registration,
    Registry, RegistryExt as _, Revision, Scope, Selector, Stage, StreamKind, Transitions, Version,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

use crate::common::OnMlflow;
use crate::wire::Counted;

/// A registry that shares a server, and those it shares it with.
struct World {
    on: OnMlflow,
    client: reqwest::Client,
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

fn alice() -> By {
    By::new("alice".parse().unwrap())
}

impl World {
    fn new(variable: &'static str) -> Self {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        World { on: OnMlflow::new(variable), client }
    }

    /// The model's name as others know it.
    fn name(&self) -> String {
        format!("{}fraud", self.on.prefix())
    }

    /// As another process would open it.
    fn open(&self) -> MlflowRegistry {
        self.on.options().open().unwrap()
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}/api/2.0/mlflow/{path}", self.on.address);
        let request = self.client.request(method.clone(), url).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send(reqwest::Method::POST, path, body).await
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("{}/api/2.0/mlflow/{path}", self.on.address);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        serde_json::from_str(&self.client.get(url).send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// Somebody logs a run and registers a version of it, as they always did.
    async fn they_register(&self, accuracy: f64) -> u64 {
        let experiment = format!("{}-training", self.on.registry);
        let found = self.get("experiments/get-by-name", &[("experiment_name", &experiment)]).await;
        let id = match found["experiment"]["experiment_id"].as_str() {
            Some(id) => id.to_owned(),
            None => {
                let made = self.post("experiments/create", json!({"name": experiment})).await;
                let known = self.get("registered-models/get", &[("name", &self.name())]).await;
                if known["registered_model"].is_null() {
                    self.post("registered-models/create", json!({"name": self.name()})).await;
                }
                made["experiment_id"].as_str().unwrap().to_owned()
            }
        };
        let tags = json!([{"key": "mlflow.user", "value": "pat"}]);
        let run = self.post("runs/create", json!({"experiment_id": id, "start_time": 1, "tags": tags})).await;
        let (run_id, uri) =
            (run["run"]["info"]["run_id"].clone(), run["run"]["info"]["artifact_uri"].clone());
        let metrics = json!([{"key": "accuracy", "value": accuracy, "timestamp": 1, "step": 0}]);
        let params = json!([{"key": "max_depth", "value": "6"}]);
        self.post("runs/log-batch", json!({"run_id": run_id, "metrics": metrics, "params": params})).await;
        let dataset =
            json!({"name": "transactions", "digest": "2024-01", "source_type": "local", "source": "x"});
        let training = json!([{"key": "mlflow.data.context", "value": "training"}]);
        let datasets = json!([{"tags": training, "dataset": dataset}]);
        self.post("runs/log-inputs", json!({"run_id": run_id, "datasets": datasets})).await;
        let source = format!("{}/model", uri.as_str().unwrap());
        let body = json!({"name": self.name(), "source": source, "run_id": run_id});
        let made = self.post("model-versions/create", body).await;
        made["model_version"]["version"].as_str().unwrap().parse().unwrap()
    }

    async fn they_point(&self, alias: &str, number: u64) {
        let body = json!({"name": self.name(), "alias": alias, "version": number.to_string()});
        self.post("registered-models/alias", body).await;
    }

    async fn they_stage(&self, number: u64, stage: &str) {
        let body = json!({
            "name": self.name(), "version": number.to_string(), "stage": stage,
            "archive_existing_versions": false,
        });
        self.post("model-versions/transition-stage", body).await;
    }

    async fn delete(&self, number: u64) {
        let body = json!({"name": self.name(), "version": number.to_string()});
        self.send(reqwest::Method::DELETE, "model-versions/delete", body).await;
    }

    /// What MLflow shows to be in production: the number under the alias, and the numbers in the native stage.
    async fn shown_in_production(&self) -> (Option<u64>, Vec<u64>) {
        let model = self.get("registered-models/get", &[("name", &self.name())]).await;
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let none = Vec::new();
        let aliases = model["registered_model"]["aliases"].as_array().unwrap_or(&none);
        let alias = aliases.iter().find(|alias| alias["alias"] == "production");
        let filter = format!("name='{}'", self.name());
        let versions = self.get("model-versions/search", &[("filter", &filter)]).await;
        let versions = versions["model_versions"].as_array().cloned().unwrap_or_default();
        let native = versions.iter().filter(|version| version["current_stage"] == "Production");
        (
            alias.map(|alias| number(&alias["version"])),
            native.map(|version| number(&version["version"])).collect(),
        )
    }
}

/// The number of a version in MLflow.
async fn number(world: &World, version: &str) -> u64 {
    let filter = format!("name='{}'", world.name());
    let versions = world.get("model-versions/search", &[("filter", &filter)]).await;
    let tagged = |found: &&Value| {
        let tags = found["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().any(|tag| tag["key"] == "model-registry.version" && tag["value"] == version)
    };
    let found = versions["model_versions"].as_array().unwrap().iter().find(tagged).unwrap().clone();
    found["version"].as_str().unwrap().parse().unwrap()
}

async fn strangers_are_shown(variable: &'static str) {
    let world = World::new(variable);
    for accuracy in [0.8, 0.9, 0.85] {
        world.they_register(accuracy).await;
    }
    world.they_point("production", 2).await;
    world.they_point("champion", 3).await;
    let registry = world.open();
    assert_eq!(registry.models(None, 10).await.unwrap(), [fraud()]);
    let found = registry.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    assert_eq!(found.version, v("2.0.0"));
    let accuracy: Key = "accuracy".parse().unwrap();
    assert_eq!(found.content.metrics[&accuracy], Metric::new(0.9).unwrap());
    assert_eq!(found.content.metadata.hyperparameters["max_depth"], 6);
    assert_eq!(found.content.metadata.owner.as_ref().unwrap().as_str(), "pat");
    assert_eq!(found.registered.actor.as_str(), "pat");
    let champion = registry.get(&fraud(), &"champion".parse().unwrap()).await.unwrap();
    assert_eq!(champion.version, v("3.0.0"));
    let state = registry.model(&fraud()).await.unwrap();
    assert_eq!(state.versions().count(), 3);
    assert_eq!(state.production, Some(v("2.0.0")));
    let (model, one, two) = (fraud(), "v1.0.0".parse().unwrap(), "v2.0.0".parse().unwrap());
    let compared = registry.compare((&model, &one), (&model, &two), &Default::default()).await.unwrap();
    assert_eq!(compared.metrics[0].relative.map(|change| (change * 1e6).round()), Some(125_000.0));
    let lineage = registry.lineage(&model, &Selector::PRODUCTION, None).await.unwrap();
    let sources = |kind| lineage.sources(kind).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(sources(NodeKind::Data), ["data:transactions@2024-01"]);
    assert_eq!(sources(NodeKind::Experiment).len(), 1);
    assert!(lineage.to_text().contains("deployment:production"));
    let impact = registry.impact(&"data:transactions@2024-01".parse().unwrap(), None).await.unwrap();
    // All three versions came out of the run that logged the data.
    assert_eq!(impact.influence().len(), 3, "{}", impact.to_text());
    assert!(registry.log(&fraud(), Revision::FIRST, 10).await.unwrap().is_empty(), "no history yet");
    // Nothing of ours is on the server.
    assert!(world.on.log().streams(StreamKind::Model, None, None, 10).await.unwrap().is_empty());

    // The first governed write adopts what is there.
    registry
        .promote(&alice(), &fraud(), &v("3.0.0"), Stage::Staging, PromoteOptions::default())
        .await
        .unwrap();
    registry
        .promote(&alice(), &fraud(), &v("3.0.0"), Stage::Production, PromoteOptions::default())
        .await
        .unwrap();
    assert_eq!(world.shown_in_production().await, (Some(3), vec![3]));
    let rolled_back = registry.rollback(&alice(), &fraud(), None, true).await.unwrap();
    assert_eq!(rolled_back.to, v("2.0.0"));
    assert_eq!(world.shown_in_production().await, (Some(2), vec![2]));
    let log = registry.log(&fraud(), Revision::FIRST, 100).await.unwrap();
    assert_eq!(log[0].commit.actor.as_str(), "mlflow");
    assert!(registry.verify(&fraud(), Default::default()).await.unwrap().is_sound());
}

/// MLflow's users may say two things at once: an alias says that one version is in production, and the native stage
/// that another is. One of them is taken, the other is not a change that came later.
async fn what_others_said_in_two_ways_is_adopted_once(variable: &'static str) {
    let world = World::new(variable);
    for _ in 0..4 {
        world.they_register(0.8).await;
    }
    // By its alias alone, while the native stages say otherwise.
    world.they_point("production", 1).await;
    world.they_stage(2, "Production").await;
    world.they_stage(1, "Staging").await;
    world.they_point("staging", 3).await;
    world.they_stage(4, "Staging").await;
    let registry = world.open();
    let text = Some("hello".parse().unwrap());
    registry.describe(&alice(), &fraud(), None, text).await.unwrap();
    let drift = registry.drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty() && drift.unfinished().is_empty(), "{drift:?}");
    let state = world.open().model(&fraud()).await.unwrap();
    assert_eq!(state.production, Some(v("1.0.0")));
    assert_eq!(state.staging().collect::<Vec<_>>(), [&v("3.0.0"), &v("4.0.0")]);
    assert_eq!(world.shown_in_production().await, (Some(1), vec![1]));
    let log = registry.log(&fraud(), Revision::FIRST, 100).await.unwrap();
    assert_eq!(log.len(), 2, "one adoption, one description");
}

/// A version that others deleted in MLflow can be brought back, and is shown there again under another number.
async fn what_others_deleted_can_be_brought_back(variable: &'static str) {
    let world = World::new(variable);
    world.they_register(0.8).await;
    let registry = world.open();
    let registration = Registration::new(v("1.5.0"), Content::default());
    registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
    let options = PromoteOptions::default();
    registry.promote(&alice(), &fraud(), &v("1.5.0"), Stage::Staging, options).await.unwrap();
    let delete = |number: u64| world.delete(number);
    for (version, number) in [("1.0.0", 1), ("1.5.0", 2)] {
        delete(number).await;
        // Once adopted by a write of its own, and once only seen.
        if version == "1.0.0" {
            registry.reconcile(&alice(), &fraud()).await.unwrap().unwrap();
        }
        let state = registry.model(&fraud()).await.unwrap();
        assert!(state.version(&v(version)).unwrap().deleted.is_some(), "{version}");
        assert_eq!(state.staging().count(), usize::from(version == "1.0.0"));
        registry.undelete(&alice(), &fraud(), &v(version)).await.unwrap();
        let drift = world.open().drift(&fraud()).await.unwrap().unwrap();
        assert!(drift.changes().is_empty() && drift.unfinished().is_empty(), "{version}: {drift:?}");
        let state = world.open().model(&fraud()).await.unwrap();
        assert!(state.version(&v(version)).unwrap().deleted.is_none(), "{version}");
        assert!(2 < self::number(&world, &format!("v{version}")).await, "{version}");
    }
    // All of it at once.
    world.send(reqwest::Method::DELETE, "registered-models/delete", json!({"name": world.name()})).await;
    registry.reconcile(&alice(), &fraud()).await.unwrap().unwrap();
    assert!(registry.model(&fraud()).await.unwrap().versions().all(|found| found.deleted.is_some()));
    registry.undelete(&alice(), &fraud(), &v("1.5.0")).await.unwrap();
    let drift = world.open().drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty() && drift.unfinished().is_empty(), "{drift:?}");
    assert_eq!(number(&world, "v1.5.0").await, 1, "numbers begin anew with the model");

    // Somebody takes our tag from it: it is the same version all the same, and gets its tag back.
    let tag = json!({"name": world.name(), "version": "1", "key": "model-registry.version"});
    world.send(reqwest::Method::DELETE, "model-versions/delete-tag", tag).await;
    let drift = world.open().drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty(), "{drift:?}");
    let text = Some("hello".parse().unwrap());
    registry.describe(&alice(), &fraud(), None, text).await.unwrap();
    assert_eq!(number(&world, "v1.5.0").await, 1);
}

async fn promote(registry: &MlflowRegistry, version: &str, stage: Stage) {
    let options = PromoteOptions::default();
    registry.promote(&alice(), &fraud(), &v(version), stage, options).await.unwrap();
}

async fn register(registry: &MlflowRegistry, versions: &[&str]) {
    for version in versions {
        let registration = Registration::new(v(version), Content::default());
        registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
    }
}

/// What a number says of itself others may change and copy, as MLflow's own `copy_model_version` does. Which version
/// it is does not depend on that.
async fn what_numbers_say_can_be_changed_and_copied(variable: &'static str) {
    let world = World::new(variable);
    let registry = world.open();
    register(&registry, &["1.0.0", "2.0.0"]).await;
    promote(&registry, "2.0.0", Stage::Staging).await;
    promote(&registry, "2.0.0", Stage::Production).await;
    // Each says that it is the other.
    for (number, says) in [("1", "v2.0.0"), ("2", "v1.0.0")] {
        let tag = json!({
            "name": world.name(), "version": number, "key": "model-registry.version", "value": says,
        });
        world.post("model-versions/set-tag", tag).await;
    }
    let drift = world.open().drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty(), "{drift:?}");
    assert_eq!(drift.unfinished().len(), 2, "the tags are to be put right: {drift:?}");
    registry.describe(&alice(), &fraud(), None, Some("hello".parse().unwrap())).await.unwrap();
    assert_eq!((number(&world, "v1.0.0").await, number(&world, "v2.0.0").await), (1, 2));

    // A copy with the run and all tags, and aliases on it: a version of its own.
    let filter = format!("name='{}'", world.name());
    let shown = world.get("model-versions/search", &[("filter", &filter)]).await;
    let original = shown["model_versions"].as_array().unwrap().iter().find(|found| found["version"] == "1");
    let original = original.unwrap();
    let body = json!({
        "name": world.name(), "source": original["source"], "run_id": original["run_id"],
        "tags": original["tags"],
    });
    world.post("model-versions/create", body).await;
    world.they_point("champion", 3).await;
    let champion = world.open().get(&fraud(), &"champion".parse().unwrap()).await.unwrap();
    assert_eq!(champion.version, v("3.0.0"), "a copy is not the original");
    registry.describe(&alice(), &fraud(), None, Some("again".parse().unwrap())).await.unwrap();
    let state = registry.model(&fraud()).await.unwrap();
    assert_eq!(state.version_count, 3);
    assert_eq!(state.aliases[&"champion".parse().unwrap()], v("3.0.0"));
    assert_eq!(state.production, Some(v("2.0.0")));
    assert_eq!(number(&world, "v3.0.0").await, 3, "it is there, and says what it is now");
    assert_eq!(world.shown_in_production().await, (Some(2), vec![2]));
}

/// Whoever uses a version in MLflow that is deleted here takes it back; what else they do to it is put right.
async fn a_version_deleted_here_and_used_there_is_used_again(variable: &'static str) {
    let world = World::new(variable);
    let registry = world.open();
    register(&registry, &["1.0.0", "2.0.0"]).await;
    promote(&registry, "2.0.0", Stage::Staging).await;
    promote(&registry, "2.0.0", Stage::Production).await;
    registry.delete(&alice(), &fraud(), &v("1.0.0")).await.unwrap();
    world.they_stage(1, "None").await;
    let drift = world.open().drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty() && drift.unfinished().len() == 1, "{drift:?}");
    world.they_stage(1, "Production").await;
    world.they_point("production", 1).await;
    registry.reconcile(&alice(), &fraud()).await.unwrap().unwrap();
    let state = registry.model(&fraud()).await.unwrap();
    assert_eq!(state.production, Some(v("1.0.0")));
    assert!(state.version(&v("1.0.0")).unwrap().deleted.is_none());
    assert_eq!(world.shown_in_production().await, (Some(1), vec![1]));
    assert!(registry.drift(&fraud()).await.unwrap().unwrap().changes().is_empty());
}

/// What a write has adopted is shown as adopted also where the write itself is refused: whoever then puts it back as it
/// was has changed something again.
async fn a_refused_write_shows_what_it_adopted(variable: &'static str) {
    let world = World::new(variable);
    let registry = world.open();
    register(&registry, &["1.0.0", "2.0.0"]).await;
    promote(&registry, "1.0.0", Stage::Staging).await;
    promote(&registry, "1.0.0", Stage::Production).await;
    world.they_point("production", 2).await;
    let refused = registry
        .promote(&alice(), &fraud(), &v("9.0.0"), Stage::Staging, PromoteOptions::default())
        .await
        .unwrap_err();
    assert!(refused.rejection().is_some(), "{refused}");
    assert_eq!(world.shown_in_production().await, (Some(2), vec![2]));
    world.they_point("production", 1).await;
    let found = world.open().get(&fraud(), &Selector::PRODUCTION).await.unwrap();
    assert_eq!(found.version, v("1.0.0"));
    registry.describe(&alice(), &fraud(), None, Some("hello".parse().unwrap())).await.unwrap();
    assert_eq!(registry.model(&fraud()).await.unwrap().production, Some(v("1.0.0")));
    assert_eq!(world.shown_in_production().await, (Some(1), vec![1]));
}

/// Of several versions in staging the alias points to one, and which one others may say, until another enters.
async fn the_alias_of_staging_is_left_to_others(variable: &'static str) {
    let world = World::new(variable);
    let registry = world.open();
    register(&registry, &["1.0.0", "2.0.0", "3.0.0"]).await;
    promote(&registry, "1.0.0", Stage::Staging).await;
    promote(&registry, "2.0.0", Stage::Staging).await;
    let staging = async || {
        let shown = world.get("registered-models/get", &[("name", &world.name())]).await;
        let aliases = shown["registered_model"]["aliases"].as_array().cloned().unwrap_or_default();
        aliases.iter().find(|alias| alias["alias"] == "staging").map(|alias| alias["version"].clone())
    };
    assert_eq!(staging().await, Some(json!("2")));
    world.they_point("staging", 1).await;
    let drift = world.open().drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty() && drift.unfinished().is_empty(), "{drift:?}");
    registry.describe(&alice(), &fraud(), None, Some("hello".parse().unwrap())).await.unwrap();
    assert_eq!(staging().await, Some(json!("1")));
    promote(&registry, "3.0.0", Stage::Staging).await;
    assert_eq!(staging().await, Some(json!("3")));
}

/// What cannot be asked for, held or reached of one version hides nothing else.
async fn odd_versions_of_others_hide_nothing(variable: &'static str) {
    let world = World::new(variable);
    world.they_register(0.8).await;
    let long = format!("line one\r\nline two {}", "x".repeat(4_900));
    let many: Vec<Value> =
        (0..1_001).map(|number| json!({"key": format!("t{number}"), "value": ""})).collect();
    for body in [
        json!({"run_id": "my-run-1", "source": "s3x://bucket/folder"}),
        json!({"source": "s3://bucket/folder?endpoint=http://127.0.0.1:9&allow_http=true"}),
        json!({"run_id": "", "source": "dbfs:/models/x"}),
        json!({"source": "s3x://b/k", "description": long}),
        json!({"source": "s3x://b/k", "tags": many}),
    ] {
        let mut body = body;
        body["name"] = world.name().into();
        world.post("model-versions/create", body).await;
    }
    let registry = world.on.options().with_files(std::sync::Arc::new(NoBuckets)).open().unwrap();
    let state = registry.model(&fraud()).await.unwrap();
    assert_eq!(state.version_count, 6);
    for version in ["2.0.0", "3.0.0"] {
        promote(&registry, version, Stage::Staging).await;
    }
    // What people say of it later is theirs to say.
    let experiment = Some("churn-2024".parse().unwrap());
    let metadata = registry_core::Metadata { experiment, ..Default::default() };
    let deployment = Default::default();
    let amendment = Amendment { metadata, deployment, ..Amendment::default() };
    registry.amend(&alice(), &fraud(), &v("2.0.0"), amendment).await.unwrap();
    let mut reserved = registry_core::Metadata::default();
    reserved.extra.insert("mlflow.version".to_owned(), 1.into());
    let content = Content { metadata: reserved, ..Content::default() };
    let refused = registry.register(&alice(), &fraud(), Registration::new(v("9.0.0"), content), &[]).await;
    assert!(refused.unwrap_err().to_string().contains("keys that begin with `mlflow.`"));
    let drift = registry.drift(&fraud()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty() && drift.unfinished().is_empty(), "{drift:?}");
    let shown = world.get("model-versions/get", &[("name", &world.name()), ("version", "5")]).await;
    assert_eq!(shown["model_version"]["description"], long, "what the registry cannot hold is left alone");
}

/// Opens nothing, and says so.
struct NoBuckets;

#[async_trait::async_trait]
impl registry_core::files::OpenFiles for NoBuckets {
    fn schemes(&self) -> &'static [&'static str] {
        &["s3"]
    }

    async fn open_files(
        &self,
        url: &str,
    ) -> Result<std::sync::Arc<dyn registry_core::files::Files>, registry_core::Error> {
        Err(registry_core::Error::Open { location: url.to_owned(), problem: "no credentials".to_owned() })
    }
}

/// Also where a look wants to know more than usual.
async fn a_read_only_registry_writes_nothing(variable: &'static str) {
    let world = World::new(variable);
    world.they_register(0.8).await;
    let registry = world.open();
    registry.describe(&alice(), &fraud(), None, Some("hello".parse().unwrap())).await.unwrap();
    world.they_register(0.9).await;
    let counted = Counted::before(&world.on.address).await;
    let options = backend_mlflow::Options::new(&counted.address).unwrap();
    let options = options.with_registry(&world.on.registry).with_prefix(world.on.prefix()).read_only();
    let read_only = options.open().unwrap();
    let drift = read_only.drift(&fraud()).await.unwrap().unwrap();
    assert_eq!(drift.changes().len(), 1, "{drift:?}");
    let text = Some("no".parse().unwrap());
    let refused = read_only.describe(&alice(), &fraud(), None, text).await.unwrap_err();
    assert!(matches!(refused, registry_core::Error::PermissionDenied(_)), "{refused}");
    let writes = ["create", "update", "set-tag", "delete", "log-batch", "log-parameter", "alias"];
    let asked = counted.take();
    assert!(!asked.iter().any(|path| writes.iter().any(|write| path.ends_with(write))), "{asked:?}");
}

/// Racers that promote different versions: one is in production, in the log, under the alias and in the
/// native stage, however the requests cross each other.
async fn racers_end_with_one_in_production(variable: &'static str, racers: usize, rounds: usize) {
    let world = World::new(variable);
    let registry = world.open();
    let versions: Vec<Version> = (1..=racers as u64).map(|major| Version::new(major, 0, 0)).collect();
    for version in &versions {
        let registration = Registration::new(version.clone(), Content::default());
        registry.register(&alice(), &fraud(), registration, &[]).await.unwrap();
        let options = PromoteOptions::default();
        registry.promote(&alice(), &fraud(), version, Stage::Staging, options).await.unwrap();
    }
    // Whoever was archived by another goes straight back, so that every promotion is one of the race.
    let moves = [(Stage::Staging, Stage::Production), (Stage::Archived, Stage::Production)];
    let change = PolicyChange::Transitions { table: Some(Transitions::new(moves)) };
    registry.change_policy(&alice(), &Scope::Model(fraud()), change).await.unwrap();
    let processes: Vec<MlflowRegistry> = versions.iter().map(|_| world.open()).collect();
    let mut winners = BTreeSet::new();
    for round in 0..rounds {
        let races = processes.iter().zip(&versions).map(|(process, version)| async move {
            let options = PromoteOptions::default();
            process.promote(&alice(), &fraud(), version, Stage::Production, options).await.unwrap();
        });
        join_all(races).await;
        let state = registry.model(&fraud()).await.unwrap();
        let production = state.production.clone().unwrap();
        let number = number(&world, &production.to_string()).await;
        assert_eq!(world.shown_in_production().await, (Some(number), vec![number]), "round {round}");
        let drift = registry.drift(&fraud()).await.unwrap().unwrap();
        assert!(drift.changes().is_empty(), "round {round}: {:?}", drift.changes());
        winners.insert(production);
    }
    let log = registry.log(&fraud(), Revision::FIRST, 10_000).await.unwrap();
    let foreign =
        log.iter().flat_map(|found| &found.commit.events).filter(|event| matches!(event, Event::Adopted(_)));
    assert_eq!(foreign.count(), 0, "what we wrote was taken for somebody else's");
}

macro_rules! shared {
    ($server:ident, $variable:literal) => {
        mod $server {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn strangers_are_shown_and_adopted_by_the_first_write() {
                super::strangers_are_shown($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_others_said_in_two_ways_is_adopted_once() {
                super::what_others_said_in_two_ways_is_adopted_once($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_others_deleted_can_be_brought_back() {
                super::what_others_deleted_can_be_brought_back($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_numbers_say_can_be_changed_and_copied() {
                super::what_numbers_say_can_be_changed_and_copied($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_version_deleted_here_and_used_there_is_used_again() {
                super::a_version_deleted_here_and_used_there_is_used_again($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_refused_write_shows_what_it_adopted() {
                super::a_refused_write_shows_what_it_adopted($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_alias_of_staging_is_left_to_others() {
                super::the_alias_of_staging_is_left_to_others($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn odd_versions_of_others_hide_nothing() {
                super::odd_versions_of_others_hide_nothing($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_read_only_registry_writes_nothing() {
                super::a_read_only_registry_writes_nothing($variable).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn racers_end_with_one_in_production() {
                super::racers_end_with_one_in_production($variable, 20, 20).await;
            }
        }
    };
}

shared!(mlflow_3_on_sqlite, "REGISTRY_TEST_MLFLOW_3");
shared!(mlflow_2_on_sqlite, "REGISTRY_TEST_MLFLOW_2");
shared!(mlflow_3_on_postgresql, "REGISTRY_TEST_MLFLOW_PG");
