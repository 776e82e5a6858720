//! Why this exists: MLflow lets anybody delete the run of a version that is in production, shows the version as
//! ready all the same, and removes its files when its operator next collects garbage. So the runs of the versions
//! that people use are looked at, and one that was deleted is a change of others like any.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use registry_core::mirror::{Foreign, ForeignChange};
use registry_core::storage::StorageError;
use registry_core::{Metadata, ModelName, ModelState, Stage, Stream, VersionState};
use serde_json::Value;

use super::MlflowMirror;
use super::foreign::EXPERIMENT;
use super::numbers::{Numbers, adopted_from};
use super::shown::ShownModel;
use crate::rest::Kind;

/// The key, among a version's further metadata, that says that its run was deleted.
pub(super) const RUN_DELETED: &str = "mlflow.run_deleted";
/// How many runs are asked for at once.
const AT_ONCE: usize = 100;

fn is_live(version: &VersionState) -> bool {
    matches!(version.stage, Stage::Staging | Stage::Production) && version.deleted.is_none()
}

impl MlflowMirror {
    /// The runs that were deleted, or restored, behind versions in staging and production.
    pub(super) async fn changed_runs(
        &self,
        model: &ModelName,
        state: &ModelState,
        shown: &ShownModel,
        numbers: &Numbers,
    ) -> Result<Vec<Foreign>, StorageError> {
        let live: Vec<(&VersionState, &str)> = state
            .versions()
            .filter(|version| is_live(version))
            .filter_map(|version| {
                let number = numbers.known.get(&version.version)?;
                let run = shown.versions.get(number)?.run_id.as_deref()?;
                // Of a run that does not have the form of one nobody can be asked.
                let is_run = run.len() == 32 && run.chars().all(|c| c.is_ascii_alphanumeric());
                // The experiment of ours is known; that of others if it was when they were adopted.
                let is_placed = adopted_from(version).is_none()
                    || version.content.metadata.extra.contains_key(EXPERIMENT);
                (is_run && is_placed).then_some((version.as_ref(), run))
            })
            .collect();
        let mut found = BTreeSet::new();
        for some in live.chunks(AT_ONCE) {
            let mut experiments: BTreeSet<String> = some
                .iter()
                .filter_map(|(version, _)| version.content.metadata.extra.get(EXPERIMENT)?.as_str())
                .filter(|id| id.chars().all(|c| c.is_ascii_digit()))
                .map(str::to_owned)
                .collect();
            experiments.extend(self.experiment_of(model).await?);
            let ids: Vec<&str> = some.iter().map(|(_, run)| *run).collect();
            match self.server.live_runs(&experiments, &ids).await {
                Ok(alive) => found.extend(alive),
                // Of what is kept from us nothing is known.
                Err(error) if matches!(error.kind, Kind::Denied | Kind::Invalid) => {
                    found.extend(ids.into_iter().map(str::to_owned));
                }
                Err(error) => return Err(error.failed("looking for the runs of versions")),
            }
        }
        let changed = live.into_iter().filter_map(|(version, run)| {
            let noted = version.content.metadata.extra.get(RUN_DELETED).and_then(Value::as_bool);
            let is_deleted = !found.contains(run);
            (noted.unwrap_or(false) != is_deleted).then_some((version, is_deleted))
        });
        Ok(changed
            .map(|(version, is_deleted)| {
                let mut metadata = Box::<Metadata>::default();
                metadata.extra.insert(RUN_DELETED.to_owned(), is_deleted.into());
                let (version, metrics) = (version.version.clone(), Default::default());
                let change = ForeignChange::Amended { version, metadata, metrics };
                Foreign { by: None, at: None, change }
            })
            .collect())
    }

    /// The experiment that has the runs of the versions that were registered here. It never changes.
    pub(super) async fn experiment_of(&self, model: &ModelName) -> Result<Option<String>, StorageError> {
        let known = || self.experiments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known().get(model).cloned() {
            return Ok(Some(id));
        }
        let found = self.log.experiment_id(&Stream::from(model)).await?;
        if let Some(id) = &found {
            known().put(model.clone(), id.clone());
        }
        Ok(found)
    }
}
