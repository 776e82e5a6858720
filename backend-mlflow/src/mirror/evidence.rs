//! Why this exists: what stands behind a version that never met the registry lies in several places of MLflow:
//! its run, with MLflow 3 a logged model in between, and the file `MLmodel` among its files.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use registry_core::ModelName;
use registry_core::storage::{StorageError, StorageErrorKind};

use super::foreign::{Evidence, MlModel};
use super::shown::ShownVersion;
use super::{EvidenceOf, MlflowMirror, failed};
use crate::files::Folder;
use crate::rest::{DatasetInput, Kind, RestError, Run};

/// How many versions are looked into at once. A server has few workers.
const AT_ONCE: usize = 8;
/// The tag of a run that says whose it is.
const USER: &str = "mlflow.user";
/// The tag of a dataset that says what a run read it for.
const CONTEXT: &str = "mlflow.data.context";
/// The file that says what a model is, and how much of it is read.
const MLMODEL: &str = "MLmodel";
const MLMODEL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a version came from, as MLflow says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) number: u64,
    pub(crate) source: String,
    pub(crate) run_id: Option<String>,
}

impl From<&ShownVersion> for Origin {
    fn from(shown: &ShownVersion) -> Self {
        let ShownVersion { number, source, run_id, .. } = shown;
        Origin { number: *number, source: source.clone(), run_id: run_id.clone() }
    }
}

impl MlflowMirror {
    /// The evidence of these versions.
    pub(super) async fn evidence_of(
        &self,
        model: &ModelName,
        versions: Vec<Origin>,
    ) -> Result<EvidenceOf, StorageError> {
        futures_util::stream::iter(versions)
            .map(|version| async move {
                // The same number may be another version, where a model was deleted as a whole.
                let key = (model.clone(), version.clone());
                let known = {
                    let mut kept = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.get(&key).cloned()
                };
                if let Some(known) = known {
                    return Ok((version.number, (*known).clone()));
                }
                let found = self.find_evidence(model, &version).await?;
                let mut kept = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(key, Arc::new(found.clone()));
                Ok((version.number, found))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn find_evidence(&self, model: &ModelName, version: &Origin) -> Result<Evidence, StorageError> {
        let doing = "looking for what is behind a version";
        let mut evidence = Evidence::default();
        let mut run_id = version.run_id.clone().filter(|id| !id.is_empty());
        let mut folder = Some(version.source.clone()).filter(|source| !source.starts_with("models:/"));
        // What cannot be asked for, or is kept from us, is no evidence, and no reason to see nothing of the model.
        if let Some(id) = version.source.strip_prefix("models:/").filter(|id| is_logged_model(id))
            && let Some(logged) = allowed(self.server.logged_model(id).await).map_err(failed(doing))?
        {
            run_id = run_id.or(Some(logged.source_run_id).filter(|id| !id.is_empty()));
            folder = Some(logged.artifact_uri);
        }
        let run = match &run_id {
            Some(id) => allowed(self.server.run(id).await).map_err(failed(doing))?,
            None => None,
        };
        if let Some(run) = &run {
            take_run(run, &mut evidence);
            if let Some(path) = runs_path(&version.source, &run.info.run_id) {
                folder = Some(format!("{}/{path}", run.info.artifact_uri.trim_end_matches('/')));
            }
        }
        if folder.is_none() && version.source.starts_with("models:/") {
            // An address that the server resolves, if it can: the version may have been copied from another.
            let uri = self.server.download_uri(&self.name(model), version.number).await;
            folder = uri.ok();
        }
        evidence.folder = folder.filter(|folder| !folder.is_empty());
        if let Some(uri) = &evidence.folder
            && let Some(folder) = self.reach.folder(uri).await.ok()
        {
            evidence.model = MlModel::read(small_file(&folder, MLMODEL).await?.as_deref());
        }
        Ok(evidence)
    }
}

/// A small file of text; none if it is not there, or is kept from us.
async fn small_file(folder: &Folder, name: &str) -> Result<Option<String>, StorageError> {
    let read = async {
        let pieces = folder.files.read(&folder.path(name), Some(0..MLMODEL_BYTES_MAX)).await?;
        pieces.try_collect::<Vec<Bytes>>().await
    };
    match read.await {
        Ok(pieces) => Ok(Some(String::from_utf8_lossy(&pieces.concat()).into_owned())),
        Err(error)
            if matches!(error.kind, StorageErrorKind::Missing | StorageErrorKind::PermissionDenied) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What we may not see, or what the server does not understand, is not there for us.
fn allowed<T>(answer: Result<Option<T>, RestError>) -> Result<Option<T>, RestError> {
    match answer {
        Err(error) if matches!(error.kind, Kind::Denied | Kind::Invalid | Kind::FeatureMissing) => Ok(None),
        answer => answer,
    }
}

/// The form of the ids of logged models, which become a part of a path.
fn is_logged_model(id: &str) -> bool {
    id.strip_prefix("m-")
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The path in `runs:/<run>/<path>`.
fn runs_path<'a>(source: &'a str, run: &str) -> Option<&'a str> {
    source.strip_prefix("runs:/")?.strip_prefix(run)?.strip_prefix('/')
}

/// The data that a run was trained on, each dataset as `name@digest`: what was logged as training data, or
/// everything if nothing was.
fn training_data(inputs: &[DatasetInput]) -> Option<String> {
    let is_training = |input: &&DatasetInput| {
        input.tag(CONTEXT).is_some_and(|context| context.to_lowercase().starts_with("train"))
    };
    let names = |inputs: &mut dyn Iterator<Item = &DatasetInput>| -> BTreeSet<String> {
        inputs.map(|input| format!("{}@{}", input.dataset.name, input.dataset.digest)).collect()
    };
    let mut data = names(&mut inputs.iter().filter(is_training));
    if data.is_empty() {
        data = names(&mut inputs.iter());
    }
    (!data.is_empty()).then(|| data.into_iter().collect::<Vec<_>>().join(", "))
}

fn take_run(run: &Run, evidence: &mut Evidence) {
    evidence.params.extend(run.data.params.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
    let numbers =
        run.data.metrics.iter().filter_map(|metric| Some((metric.key.clone(), metric.value.as_f64()?)));
    evidence.metrics.extend(numbers);
    evidence.user = run.tag(USER).map(str::to_owned);
    evidence.data = training_data(&run.inputs.dataset_inputs);
    evidence.experiment = Some(run.info.experiment_id.clone()).filter(|id| !id.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_was_trained_on_is_told_from_what_else_it_read() {
        let read = |inputs: serde_json::Value| {
            training_data(&serde_json::from_value::<Vec<DatasetInput>>(inputs).unwrap())
        };
        let input = |name: &str, context: Option<&str>| {
            let tags: Vec<_> =
                context.map(|c| serde_json::json!({"key": CONTEXT, "value": c})).into_iter().collect();
            serde_json::json!({"tags": tags, "dataset": {"name": name, "digest": "d1", "source": "s"}})
        };
        assert_eq!(read(serde_json::json!([])), None);
        let of = |inputs: &[serde_json::Value]| read(serde_json::Value::from(inputs.to_vec()));
        let all = [input("test", Some("eval")), input("b", Some("training")), input("a", Some("Train"))];
        assert_eq!(of(&all).as_deref(), Some("a@d1, b@d1"));
        assert_eq!(of(&[input("b", None), input("a", Some("eval"))]).as_deref(), Some("a@d1, b@d1"));
    }

    #[test]
    fn the_path_in_a_run_is_found() {
        assert_eq!(runs_path("runs:/ab12/model/x", "ab12"), Some("model/x"));
        assert_eq!(runs_path("runs:/ab12/model", "ab"), None);
        assert_eq!(runs_path("mlflow-artifacts:/1/ab12/model", "ab12"), None);
    }
}
