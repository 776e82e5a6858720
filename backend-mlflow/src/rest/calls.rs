//! Why this exists: each endpoint that is used, once, with what it takes and what it gives. The path of an
//! endpoint stands nowhere else.

use std::collections::BTreeSet;

use serde_json::json;

use super::types::{
    CreatedExperiment, Done, Experiment, ExperimentAnswer, ExperimentsPage, Pair, Run, RunAnswer, RunInfo,
    RunsPage,
};
use super::{Kind, Repeat, RestError, Server};

/// How many are asked for at once.
const PAGE: u32 = 1_000;

/// An answer of "not there" is an answer.
pub(super) fn found<T>(answer: Result<T, RestError>) -> Result<Option<T>, RestError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Server {
    /// The experiment with that name, deleted or not.
    pub(crate) async fn experiment(&self, name: &str) -> Result<Option<Experiment>, RestError> {
        let answer = self.get("experiments/get-by-name", &[("experiment_name", name)]).await;
        Ok(found(answer)?.map(|answer: ExperimentAnswer| answer.experiment))
    }

    /// Makes an experiment with its tags at once. Of several who make the same name one succeeds.
    /// Its files are where the server chooses, if nothing is said of that.
    pub(crate) async fn create_experiment(
        &self,
        name: &str,
        location: Option<&str>,
        tags: &[Pair],
    ) -> Result<String, RestError> {
        let mut body = json!({"name": name, "tags": tags});
        if let (Some(location), Some(body)) = (location, body.as_object_mut()) {
            body.insert("artifact_location".to_owned(), location.into());
        }
        let made: CreatedExperiment = self.post("experiments/create", &body, Repeat::Never).await?;
        Ok(made.experiment_id)
    }

    /// A page of experiments, deleted ones too, and the token of the next page.
    pub(crate) async fn search_experiments(
        &self,
        filter: &str,
        token: Option<&str>,
    ) -> Result<(Vec<Experiment>, Option<String>), RestError> {
        let mut body = json!({
            "filter": filter, "max_results": PAGE, "view_type": "ALL", "order_by": ["creation_time ASC"],
        });
        if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
            body.insert("page_token".to_owned(), token.into());
        }
        let page: ExperimentsPage = self.post("experiments/search", &body, Repeat::Freely).await?;
        Ok((page.experiments, Some(page.next_page_token).filter(|token| !token.is_empty())))
    }

    /// Makes a run.
    pub(crate) async fn create_run(
        &self,
        experiment_id: &str,
        name: &str,
        start_time_ms: i64,
        tags: &[Pair],
    ) -> Result<RunInfo, RestError> {
        let body = json!({
            "experiment_id": experiment_id, "run_name": name, "start_time": start_time_ms, "tags": tags,
        });
        let made: RunAnswer = self.post("runs/create", &body, Repeat::Never).await?;
        Ok(made.run.info)
    }

    /// A run, deleted or not.
    pub(crate) async fn run(&self, run_id: &str) -> Result<Option<Run>, RestError> {
        let answer = self.get("runs/get", &[("run_id", run_id)]).await;
        Ok(found(answer)?.map(|answer: RunAnswer| answer.run))
    }

    /// Writes a parameter that was not written before, or had that very value. At most 6,000 characters; the
    /// server cuts off what is beyond without a word.
    pub(crate) async fn log_parameter(&self, run_id: &str, key: &str, value: &str) -> Result<(), RestError> {
        let body = json!({"run_id": run_id, "key": key, "value": value});
        self.post("runs/log-parameter", &body, Repeat::Freely).await.map(|Done {}| ())
    }

    /// Writes parameters, as above, and tags, over what they were. At most 100 of each.
    pub(crate) async fn log_batch(
        &self,
        run_id: &str,
        params: &[Pair],
        tags: &[Pair],
    ) -> Result<(), RestError> {
        let body = json!({"run_id": run_id, "params": params, "tags": tags});
        self.post("runs/log-batch", &body, Repeat::Freely).await.map(|Done {}| ())
    }

    /// Writes metrics as of a time, in milliseconds. At most 1,000.
    pub(crate) async fn log_metrics(
        &self,
        run_id: &str,
        metrics: &[(&str, f64)],
        at_ms: i64,
    ) -> Result<(), RestError> {
        let rows = metrics
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value, "timestamp": at_ms, "step": 0}));
        let body = json!({"run_id": run_id, "metrics": rows.collect::<Vec<_>>()});
        self.post("runs/log-batch", &body, Repeat::Freely).await.map(|Done {}| ())
    }

    /// Writes a tag, over what it was.
    pub(crate) async fn set_tag(&self, run_id: &str, key: &str, value: &str) -> Result<(), RestError> {
        let body = json!({"run_id": run_id, "key": key, "value": value});
        self.post("runs/set-tag", &body, Repeat::Freely).await.map(|Done {}| ())
    }

    /// Removes a tag; one that is not there is removed already.
    pub(crate) async fn delete_tag(&self, run_id: &str, key: &str) -> Result<(), RestError> {
        let body = json!({"run_id": run_id, "key": key});
        match self.post("runs/delete-tag", &body, Repeat::Freely).await.map(|Done {}| ()) {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Says that a run is over, so that nobody waits for it.
    pub(crate) async fn finish_run(&self, run_id: &str, end_time_ms: i64) -> Result<(), RestError> {
        let body = json!({"run_id": run_id, "status": "FINISHED", "end_time": end_time_ms});
        self.post("runs/update", &body, Repeat::Freely).await.map(|Done {}| ())
    }

    /// Deletes a run. It can be restored until the server's operator collects garbage.
    pub(crate) async fn delete_run(&self, run_id: &str) -> Result<(), RestError> {
        self.post("runs/delete", &json!({"run_id": run_id}), Repeat::Freely).await.map(|Done {}| ())
    }

    /// Those of these runs that are there and not deleted, at most 1,000 of them. Their ids have only letters and
    /// digits.
    pub(crate) async fn live_runs(
        &self,
        experiments: &BTreeSet<String>,
        runs: &[&str],
    ) -> Result<Vec<String>, RestError> {
        let list = runs.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let body = json!({
            "experiment_ids": experiments, "filter": format!("attributes.run_id IN ({list})"),
            "run_view_type": "ACTIVE_ONLY", "max_results": PAGE,
        });
        let page: RunsPage = self.post("runs/search", &body, Repeat::Freely).await?;
        Ok(page.runs.into_iter().map(|run| run.info.run_id).collect())
    }

    /// A page of the runs of an experiment, deleted ones too, and the token of the next page.
    pub(crate) async fn search_runs(
        &self,
        experiment_id: &str,
        filter: &str,
        token: Option<&str>,
    ) -> Result<(Vec<Run>, Option<String>), RestError> {
        let mut body = json!({
            "experiment_ids": [experiment_id], "filter": filter, "run_view_type": "ALL",
            "max_results": PAGE, "order_by": ["attributes.start_time ASC"],
        });
        if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
            body.insert("page_token".to_owned(), token.into());
        }
        let page: RunsPage = self.post("runs/search", &body, Repeat::Freely).await?;
        Ok((page.runs, Some(page.next_page_token).filter(|token| !token.is_empty())))
    }
}
