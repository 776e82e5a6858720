//! Why this exists: what stands behind a version that never met the registry lies in several places of MLflow:
//! its run, with MLflow 3 a logged model in between, and the file `MLmodel` among its files.

use std::sync::{Arc, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _};
use registry_core::ModelName;
use registry_core::storage::StorageError;

use super::foreign::Evidence;
use super::shown::ShownVersion;
use super::{EvidenceOf, MlflowMirror, failed};
use crate::rest::Run;

/// How many versions are looked into at once. A server has few workers.
const AT_ONCE: usize = 8;
/// The tag of a run that says whose it is.
const USER: &str = "mlflow.user";
/// What begins the address of a file behind the server's proxy.
const PROXY: &str = "mlflow-artifacts:/";

/// The path below the proxy's root, if the files are behind it.
pub(super) fn proxied(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix(PROXY)?;
    // `mlflow-artifacts://host/path` names a server; the one that we talk to is meant.
    let path = match rest.strip_prefix('/') {
        Some(with_host) => with_host.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    let path = path.trim_matches('/');
    let safe = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    safe.then(|| path.to_owned())
}

impl MlflowMirror {
    /// The evidence of these versions.
    pub(super) async fn evidence_of(
        &self,
        model: &ModelName,
        versions: Vec<ShownVersion>,
    ) -> Result<EvidenceOf, StorageError> {
        futures_util::stream::iter(versions)
            .map(|version| async move {
                let key = (model.clone(), version.number);
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

    async fn find_evidence(
        &self,
        model: &ModelName,
        version: &ShownVersion,
    ) -> Result<Evidence, StorageError> {
        let doing = "looking for what is behind a version";
        let mut evidence = Evidence::default();
        let mut run_id = version.run_id.clone().filter(|id| !id.is_empty());
        let mut folder = proxied(&version.source);
        if let Some(id) = version.source.strip_prefix("models:/").filter(|id| id.starts_with("m-"))
            && let Some(logged) = self.server.logged_model(id).await.map_err(failed(doing))?
        {
            run_id = run_id.or(Some(logged.source_run_id).filter(|id| !id.is_empty()));
            folder = proxied(&logged.artifact_uri);
        }
        let run = match &run_id {
            Some(id) => self.server.run(id).await.map_err(failed(doing))?,
            None => None,
        };
        if let Some(run) = &run {
            take_run(run, &mut evidence);
            if let Some(path) = runs_path(&version.source, &run.info.run_id) {
                folder = proxied(&format!("{}/{path}", run.info.artifact_uri));
            }
        }
        if folder.is_none() && version.source.starts_with("models:/") {
            // An address that the server resolves, if it can: the version may have been copied from another.
            let uri = self.server.download_uri(&self.name(model), version.number).await;
            folder = uri.ok().as_deref().and_then(proxied);
        }
        if let Some(folder) = folder {
            let file = self.server.small_artifact(&format!("{folder}/MLmodel")).await;
            let bytes = file.map_err(failed(doing))?;
            evidence.mlmodel = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(evidence)
    }
}

/// The path in `runs:/<run>/<path>`.
fn runs_path<'a>(source: &'a str, run: &str) -> Option<&'a str> {
    source.strip_prefix("runs:/")?.strip_prefix(run)?.strip_prefix('/')
}

fn take_run(run: &Run, evidence: &mut Evidence) {
    evidence.params.extend(run.data.params.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
    let numbers =
        run.data.metrics.iter().filter_map(|metric| Some((metric.key.clone(), metric.value.as_f64()?)));
    evidence.metrics.extend(numbers);
    evidence.user = run.tag(USER).map(str::to_owned);
    evidence.experiment = Some(run.info.experiment_id.clone()).filter(|id| !id.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_behind_the_proxy_are_told_from_others_and_never_leave_it() {
        assert_eq!(
            proxied("mlflow-artifacts:/1/ab/artifacts/model").as_deref(),
            Some("1/ab/artifacts/model")
        );
        assert_eq!(proxied("mlflow-artifacts://host:5000/1/ab").as_deref(), Some("1/ab"));
        for other in ["s3://b/k", "/tmp/x", "mlflow-artifacts:/", "mlflow-artifacts:/1/../2", "models:/m-1"] {
            assert_eq!(proxied(other), None, "{other}");
        }
    }

    #[test]
    fn the_path_in_a_run_is_found() {
        assert_eq!(runs_path("runs:/ab12/model/x", "ab12"), Some("model/x"));
        assert_eq!(runs_path("runs:/ab12/model", "ab"), None);
        assert_eq!(runs_path("mlflow-artifacts:/1/ab12/model", "ab12"), None);
    }
}
