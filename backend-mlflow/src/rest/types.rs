//! Why this exists: what is read of MLflow's answers, and no more. Fields that are not named here may come
//! and go with versions of the server. Lists that are empty are left out by it.

use serde::{Deserialize, Serialize};

/// A tag or a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

impl Pair {
    pub(crate) fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Pair { key: key.into(), value: value.into() }
    }
}

fn value<'a>(pairs: &'a [Pair], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

/// What MLflow calls the life of an experiment or a run.
const DELETED: &str = "deleted";

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Experiment {
    pub(crate) experiment_id: String,
    #[serde(default)]
    pub(crate) name: String,
    /// Where the files of its runs are.
    #[serde(default)]
    pub(crate) artifact_location: String,
    #[serde(default)]
    lifecycle_stage: String,
    #[serde(default)]
    tags: Vec<Pair>,
}

impl Experiment {
    pub(crate) fn is_deleted(&self) -> bool {
        self.lifecycle_stage == DELETED
    }

    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tags, key)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    pub(crate) info: RunInfo,
    #[serde(default)]
    pub(crate) data: RunData,
    #[serde(default)]
    pub(crate) inputs: RunInputs,
}

/// What a run says it read.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RunInputs {
    #[serde(default)]
    pub(crate) dataset_inputs: Vec<DatasetInput>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DatasetInput {
    #[serde(default)]
    tags: Vec<Pair>,
    #[serde(default)]
    pub(crate) dataset: Dataset,
}

impl DatasetInput {
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tags, key)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Dataset {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) digest: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunInfo {
    pub(crate) run_id: String,
    #[serde(default)]
    pub(crate) experiment_id: String,
    /// Where its files are.
    #[serde(default)]
    pub(crate) artifact_uri: String,
    #[serde(default)]
    lifecycle_stage: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RunData {
    #[serde(default)]
    pub(crate) params: Vec<Pair>,
    #[serde(default)]
    pub(crate) tags: Vec<Pair>,
    #[serde(default)]
    pub(crate) metrics: Vec<Measured>,
}

/// The last value of a metric. One that is no number is sent as text.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Measured {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: serde_json::Value,
}

impl Run {
    pub(crate) fn is_deleted(&self) -> bool {
        self.info.lifecycle_stage == DELETED
    }

    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        value(&self.data.tags, key)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExperimentAnswer {
    pub(crate) experiment: Experiment,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CreatedExperiment {
    pub(crate) experiment_id: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RunAnswer {
    pub(crate) run: Run,
}

/// A page of a search.
#[derive(Debug, Deserialize)]
pub(crate) struct ExperimentsPage {
    #[serde(default)]
    pub(crate) experiments: Vec<Experiment>,
    #[serde(default)]
    pub(crate) next_page_token: String,
}

/// A page of a search.
#[derive(Debug, Deserialize)]
pub(crate) struct RunsPage {
    #[serde(default)]
    pub(crate) runs: Vec<Run>,
    #[serde(default)]
    pub(crate) next_page_token: String,
}

/// An answer that says nothing but that it is done. A page of HTML is none.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {}
