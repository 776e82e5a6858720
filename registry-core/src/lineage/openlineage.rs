//! Why this exists: companies collect the lineage of all their data in one place, most often as events of
//! [OpenLineage](https://openlineage.io), and models belong there. What a version has on record becomes run events of
//! OpenLineage 2-0-2:
//!
//! | on record | becomes |
//! |---|---|
//! | the registration of a version | a run of the job `train/<experiment>`, or `train/<model>` where no experiment is named: a `START` and a `COMPLETE` |
//! | data, features, code | its input datasets; data whose name is a URL get the namespace of that URL |
//! | versions that it was made out of | input datasets, named like the models |
//! | the version | its output dataset, named like the model, with the facets `version`, `documentation` and `ownership` |
//! | the stage it is deployed in | a run of the job `deploy/<model>`, from the version to the dataset `<model>/production` |
//!
//! The ids of runs follow from the record: whoever sends the events twice sends the same runs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::name::ModelVersion;
use crate::state::VersionState;
use crate::time::Timestamp;

use super::Lineage;
use super::graph::deployment;
use super::link::{inputs as linked, parents, steps};
use super::node::{Node, NodeKind};

/// Who makes the events.
const PRODUCER: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/v", env!("CARGO_PKG_VERSION"));
const RUN_EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

impl Lineage {
    /// The events, in the order of time. `namespace` names this registry among all that are collected together, for
    /// example `models.example.com`.
    pub fn to_openlineage(&self, namespace: &str) -> Vec<Value> {
        let mut events: Vec<(Timestamp, Value)> = Vec::new();
        for (name, version) in &self.records {
            events.extend(run_events(namespace, name, version));
        }
        events.sort_by_key(|(time, _)| *time);
        events.into_iter().map(|(_, event)| event).collect()
    }
}

/// The events of one version, with the time of each.
fn run_events(namespace: &str, name: &ModelVersion, version: &VersionState) -> Vec<(Timestamp, Value)> {
    let metadata = &version.content.metadata;
    let model = output(namespace, name, version);
    let job = match &metadata.experiment {
        Some(experiment) => format!("train/{experiment}"),
        None => format!("train/{}", name.model),
    };
    let end = version.registered.at;
    let start = metadata
        .training_seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds.get()).ok())
        .and_then(|lasted| i64::try_from(lasted.as_micros()).ok())
        .and_then(|lasted| Timestamp::from_microseconds(end.microseconds().checked_sub(lasted)?).ok())
        .unwrap_or(end);
    let training = Run {
        id: run_id(&["train", namespace, &name.to_string(), &version.digest.to_string(), &end.to_string()]),
        job,
        start,
        end,
        inputs: inputs(namespace, version),
        outputs: vec![model.clone()],
    };
    let deployed = deployment(version).map(|stage| Run {
        id: run_id(&["deploy", namespace, &name.to_string(), stage.as_str(), &version.staged.at.to_string()]),
        job: format!("deploy/{}", name.model),
        start: version.staged.at,
        end: version.staged.at,
        inputs: vec![model],
        outputs: vec![json!({"namespace": namespace, "name": format!("{}/{stage}", name.model)})],
    });
    std::iter::once(training).chain(deployed).flat_map(|run| run.events(namespace)).collect()
}

struct Run {
    id: String,
    job: String,
    start: Timestamp,
    end: Timestamp,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Run {
    fn events(self, namespace: &str) -> [(Timestamp, Value); 2] {
        let event = |kind: &str, time: Timestamp| {
            let event = json!({
                "eventType": kind,
                "eventTime": time,
                "producer": PRODUCER,
                "schemaURL": RUN_EVENT,
                "run": {"runId": self.id},
                "job": {"namespace": namespace, "name": self.job},
                "inputs": self.inputs,
                "outputs": self.outputs,
            });
            (time, event)
        };
        [event("START", self.start), event("COMPLETE", self.end)]
    }
}

/// What a version was made with and made out of, as datasets.
fn inputs(namespace: &str, version: &VersionState) -> Vec<Value> {
    let content = &version.content;
    // The experiment that the metadata name is the job itself.
    let steps = steps(content).filter(|node| node.kind() != NodeKind::Experiment);
    let mut inputs: Vec<Value> = Vec::new();
    for node in steps.chain(linked(content)) {
        let dataset = input(namespace, &node);
        if !inputs.contains(&dataset) {
            inputs.push(dataset);
        }
    }
    inputs.extend(parents(content).into_keys().map(|parent| {
        let facets = json!({"version": version_facet(&parent.version.to_string())});
        json!({"namespace": namespace, "name": parent.model, "facets": facets})
    }));
    inputs
}

fn input(namespace: &str, node: &Node) -> Value {
    // Elsewhere, too, data at a URL is named by the place and the path in it.
    let place = node.id().split_once("://").and_then(|(scheme, rest)| {
        let (place, path) = rest.split_once('/')?;
        (node.kind() == NodeKind::Data && !path.is_empty()).then(|| (format!("{scheme}://{place}"), path))
    });
    let (namespace, name) = match place {
        Some((place, path)) => (place, path.to_owned()),
        None if node.kind() == NodeKind::Data => (namespace.to_owned(), node.id().to_owned()),
        None => (namespace.to_owned(), format!("{}:{}", node.kind(), node.id())),
    };
    let mut dataset = Map::new();
    dataset.insert("namespace".to_owned(), namespace.into());
    dataset.insert("name".to_owned(), name.into());
    if let Some(version) = node.version() {
        dataset.insert("facets".to_owned(), json!({"version": version_facet(version)}));
    }
    dataset.into()
}

fn output(namespace: &str, name: &ModelVersion, version: &VersionState) -> Value {
    let mut facets = Map::new();
    facets.insert("version".to_owned(), version_facet(&name.version.to_string()));
    if let Some(description) = &version.content.description {
        let fields = json!({"description": description});
        facets.insert("documentation".to_owned(), facet("1-1-0/DocumentationDatasetFacet", fields));
    }
    if let Some(owner) = &version.content.metadata.owner {
        let fields = json!({"owners": [{"name": owner}]});
        facets.insert("ownership".to_owned(), facet("1-0-1/OwnershipDatasetFacet", fields));
    }
    json!({"namespace": namespace, "name": name.model, "facets": facets})
}

fn version_facet(version: &str) -> Value {
    facet("1-0-1/DatasetVersionDatasetFacet", json!({"datasetVersion": version}))
}

/// A facet with what every facet must have.
fn facet(schema: &str, mut fields: Value) -> Value {
    let name = schema.rsplit('/').next().unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("_producer".to_owned(), PRODUCER.into());
        let url = format!("https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}");
        fields.insert("_schemaURL".to_owned(), url.into());
    }
    fields
}

/// An id that follows from what it is the id of: a UUID of version 8 (RFC 9562, 5.8), the rest of it from a SHA-256.
fn run_id(parts: &[&str]) -> String {
    let digest = Digest::of(&serde_json::to_vec(parts).unwrap_or_default());
    let mut number =
        digest.as_bytes().iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    number = number & !(0xf << 76) | 8 << 76; // The version.
    number = number & !(0x3 << 62) | 0x2 << 62; // The variant.
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
