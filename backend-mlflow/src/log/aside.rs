//! Why this exists: what is kept beside a log for those who show it to MLflow's users: notes on the head run,
//! which anybody may write over, and claims, which are written once: which number a version has, which
//! run.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry_core::Stream;
use registry_core::storage::StorageError;

use super::MlflowLog;
use super::place::{Place, Role};
use crate::rest::{Kind, Pair, Server};

/// How often a claim is tried when the database says that another writer is in the way.
const CONFLICTS_MAX: u32 = 8;

impl MlflowLog {
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The tags of a log's head; none if there is no log.
    pub(crate) async fn notes(
        &self,
        stream: &Stream,
    ) -> Result<Option<BTreeMap<String, String>>, StorageError> {
        let Some(place) = self.find(stream).await? else { return Ok(None) };
        let head = self.head(stream, &place).await?;
        Ok(Some(head.data.tags.into_iter().map(|pair| (pair.key, pair.value)).collect()))
    }

    /// Writes notes over what they were.
    pub(crate) async fn note(&self, stream: &Stream, notes: &[Pair]) -> Result<(), StorageError> {
        let Some(place) = self.find(stream).await? else { return Ok(()) };
        let written = self.server.log_batch(&place.head, &[], notes).await;
        written.map_err(|error| error.failed(format_args!("noting what is shown of {stream}")))
    }

    /// Takes notes away.
    pub(crate) async fn forget_notes(&self, stream: &Stream, keys: &[String]) -> Result<(), StorageError> {
        let Some(place) = self.find(stream).await? else { return Ok(()) };
        for key in keys {
            let removed = self.server.delete_tag(&place.head, key).await;
            removed.map_err(|error| error.failed(format_args!("tidying the notes of {stream}")))?;
        }
        Ok(())
    }

    /// The experiment of a stream.
    pub(crate) async fn experiment_id(&self, stream: &Stream) -> Result<Option<String>, StorageError> {
        let found = self.server.experiment(&self.names.stream(stream)).await;
        let found = found.map_err(|error| error.failed(format_args!("looking for the log of {stream}")))?;
        Ok(found.map(|experiment| experiment.experiment_id))
    }

    /// The address below which the registry's own files are. None if there is no registry on the server yet and
    /// none is wanted.
    pub(crate) async fn location(&self, make: bool) -> Result<Option<String>, StorageError> {
        if self.runs_experiment(make).await?.is_none() {
            return Ok(None);
        }
        let found = self.server.experiment(self.names.runs()).await;
        let found = found.map_err(|error| error.failed("looking for where the registry's files are"))?;
        Ok(found.map(|experiment| experiment.artifact_location))
    }

    async fn claims_run(&self, stream: &Stream, place: &Arc<Place>) -> Result<String, StorageError> {
        self.child(stream, place, Role::Claims, 0).await
    }

    /// All claims of a stream.
    pub(crate) async fn claims(&self, stream: &Stream) -> Result<BTreeMap<String, String>, StorageError> {
        let Some(place) = self.find(stream).await? else { return Ok(BTreeMap::new()) };
        // Where nothing was claimed there is no run for it, and to look makes none.
        let Some(id) = self.found_child(stream, &place, Role::Claims, 0).await? else {
            return Ok(BTreeMap::new());
        };
        let run = self.log_run(stream, &format!("{} 0", Role::Claims.as_str()), &id).await?;
        Ok(run.data.params.into_iter().map(|pair| (pair.key, pair.value)).collect())
    }

    /// Claims a key for a value, and gives the value that stands: this one, or that of whoever was first.
    pub(crate) async fn claim(
        &self,
        stream: &Stream,
        key: &str,
        value: &str,
    ) -> Result<String, StorageError> {
        let failed = || {
            StorageError::new(
                registry_core::storage::StorageErrorKind::NotDone,
                format!("claiming `{key}` for {stream} failed: others were in the way"),
            )
        };
        let Some(place) = self.find(stream).await? else { return Err(failed()) };
        let run = self.claims_run(stream, &place).await?;
        for _ in 0..CONFLICTS_MAX {
            match self.server.log_parameter(&run, key, value).await {
                Ok(()) => return Ok(value.to_owned()),
                Err(error) if error.kind == Kind::Conflict => {}
                Err(error) if error.kind == Kind::Taken => {
                    if let Some(standing) = self.claims(stream).await?.remove(key) {
                        return Ok(standing);
                    }
                }
                Err(error) => return Err(error.failed(format_args!("claiming `{key}` for {stream}"))),
            }
        }
        Err(failed())
    }
}
