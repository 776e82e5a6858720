//! Why this exists: MLflow lets anybody delete the run of a version that is in production, shows the version as
//! ready all the same, and removes its files when its operator next collects garbage. So the runs of the versions
//! that people use are looked at, and one that was deleted is a change of others like any.

use futures_util::future::try_join_all;
use registry_core::mirror::{Foreign, ForeignChange};
use registry_core::storage::StorageError;
use registry_core::{Metadata, ModelState, Stage, VersionState};
use serde_json::Value;

use super::numbers::Numbers;
use super::shown::ShownModel;
use super::{MlflowMirror, failed};

/// The key, among a version's further metadata, that says that its run was deleted.
pub(super) const RUN_DELETED: &str = "mlflow.run_deleted";

fn is_live(version: &VersionState) -> bool {
    matches!(version.stage, Stage::Staging | Stage::Production) && version.deleted.is_none()
}

impl MlflowMirror {
    /// The runs that were deleted, or restored, behind versions in staging and production.
    pub(super) async fn changed_runs(
        &self,
        state: &ModelState,
        shown: &ShownModel,
        numbers: &Numbers,
    ) -> Result<Vec<Foreign>, StorageError> {
        let live = state.versions().filter(|version| is_live(version)).filter_map(|version| {
            let number = numbers.known.get(&version.version)?;
            let run = shown.versions.get(number)?.run_id.as_deref().filter(|id| !id.is_empty())?;
            Some((version, run))
        });
        let looked = try_join_all(live.map(|(version, run)| async move {
            let found = self.server.run(run).await.map_err(failed("looking for the run of a version"))?;
            Ok::<_, StorageError>((version, found.is_none_or(|found| found.is_deleted())))
        }));
        let changed = looked.await?.into_iter().filter(|(version, is_deleted)| {
            let noted = version.content.metadata.extra.get(RUN_DELETED).and_then(Value::as_bool);
            noted.unwrap_or(false) != *is_deleted
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
}
