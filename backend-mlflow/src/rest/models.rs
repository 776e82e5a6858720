//! Why this exists: the endpoints of MLflow's own model registry, and what is read of their answers, as in
//! `calls.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::calls::found;
use super::types::Pair;
use super::{Kind, Repeat, RestError, Server};

/// How many versions are asked for at once. The server allows 200,000; one answer of this many is some
/// megabytes.
pub(crate) const VERSIONS_PAGE: usize = 5_000;
/// How many models; the server allows no more.
const MODELS_PAGE: u32 = 1_000;

/// A registered model. Its aliases come only with `registered-models/get`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RegisteredModel {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) creation_timestamp: i64,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) tags: Vec<Pair>,
    #[serde(default)]
    pub(crate) aliases: Vec<Alias>,
    /// The newest version of each native stage.
    #[serde(default)]
    pub(crate) latest_versions: Vec<ModelVersion>,
}

/// Where an alias points.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Alias {
    pub(crate) alias: String,
    #[serde(deserialize_with = "number")]
    pub(crate) version: u64,
}

/// A version. `user_id` is never filled in by servers without an account of users.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ModelVersion {
    #[serde(deserialize_with = "number")]
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) creation_timestamp: i64,
    #[serde(default)]
    pub(crate) last_updated_timestamp: i64,
    #[serde(default)]
    pub(crate) current_stage: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) run_id: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<Pair>,
}

/// Numbers of versions are sent as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// What MLflow 3 keeps of a model beside its registry.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LoggedModel {
    #[serde(default)]
    pub(crate) source_run_id: String,
    #[serde(default)]
    pub(crate) artifact_uri: String,
}

#[derive(Deserialize)]
struct ModelAnswer {
    registered_model: RegisteredModel,
}

#[derive(Deserialize)]
struct VersionAnswer {
    model_version: ModelVersion,
}

#[derive(Deserialize)]
struct ModelsPage {
    #[serde(default)]
    registered_models: Vec<RegisteredModel>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
struct VersionsPage {
    #[serde(default)]
    model_versions: Vec<ModelVersion>,
    #[serde(default)]
    next_page_token: String,
}

/// The token of the page that follows. A server that gives the same one again would be asked for ever.
pub(crate) fn next_token(last: Option<String>, next: String) -> Result<String, RestError> {
    if last.as_ref() == Some(&next) {
        return Err(RestError::new(Kind::Server(200), "the server gives the same page again and again"));
    }
    Ok(next)
}

impl Server {
    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<(), RestError> {
        let body = Some(Bytes::from(body.to_string()));
        self.request::<Value>(method, path, &[], body, Repeat::Freely).await.map(drop)
    }

    /// A registered model with its aliases and the newest version of each stage. Its cost grows with the
    /// number of versions, by some 30 µs each.
    pub(crate) async fn registered_model(&self, name: &str) -> Result<Option<RegisteredModel>, RestError> {
        let answer = self.get("registered-models/get", &[("name", name)]).await;
        Ok(found(answer)?.map(|answer: ModelAnswer| answer.registered_model))
    }

    /// A page of registered models, without prompts, and the token of the next page.
    pub(crate) async fn registered_models(
        &self,
        token: Option<&str>,
    ) -> Result<(Vec<RegisteredModel>, Option<String>), RestError> {
        let most = MODELS_PAGE.to_string();
        let mut query = vec![("max_results", most.as_str()), ("order_by", "name ASC")];
        query.extend(token.map(|token| ("page_token", token)));
        let page: ModelsPage = self.get("registered-models/search", &query).await?;
        Ok((page.registered_models, Some(page.next_page_token).filter(|token| !token.is_empty())))
    }

    /// All versions of a model. Their aliases do not come with them.
    pub(crate) async fn model_versions(&self, name: &str) -> Result<Vec<ModelVersion>, RestError> {
        // A value in single quotes may hold double ones and the other way round, and not both.
        let quote = if name.contains('\'') { '"' } else { '\'' };
        let filter = format!("name={quote}{name}{quote}");
        let most = VERSIONS_PAGE.to_string();
        let mut versions: BTreeMap<u64, ModelVersion> = BTreeMap::new();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![
                ("filter", filter.as_str()),
                ("max_results", most.as_str()),
                ("order_by", "version_number ASC"),
            ];
            query.extend(token.as_deref().map(|token| ("page_token", token)));
            let page: VersionsPage = self.get("model-versions/search", &query).await?;
            // Pages are cut by counting, so what comes or goes meanwhile may show a version twice.
            versions.extend(page.model_versions.into_iter().map(|version| (version.version, version)));
            if page.next_page_token.is_empty() {
                return Ok(versions.into_values().collect());
            }
            token = Some(next_token(token, page.next_page_token)?);
        }
    }

    /// A logged model. Servers before MLflow 3 have none.
    pub(crate) async fn logged_model(&self, id: &str) -> Result<Option<LoggedModel>, RestError> {
        #[derive(Deserialize)]
        struct Model {
            info: LoggedModel,
        }
        #[derive(Deserialize)]
        struct Answer {
            model: Model,
        }
        let answer: Result<Answer, RestError> = self.get(&format!("logged-models/{id}"), &[]).await;
        match found(answer) {
            Err(error) if error.kind == Kind::FeatureMissing => Ok(None),
            answer => Ok(answer?.map(|answer| answer.model.info)),
        }
    }

    /// One version.
    pub(crate) async fn model_version(
        &self,
        name: &str,
        number: u64,
    ) -> Result<Option<ModelVersion>, RestError> {
        let number = number.to_string();
        let answer = self.get("model-versions/get", &[("name", name), ("version", &number)]).await;
        Ok(found(answer)?.map(|answer: VersionAnswer| answer.model_version))
    }

    /// Where the files of a version are, with MLflow's own schemes resolved as far as it does.
    pub(crate) async fn download_uri(&self, name: &str, number: u64) -> Result<String, RestError> {
        #[derive(Deserialize)]
        struct Answer {
            artifact_uri: String,
        }
        let number = number.to_string();
        let query = [("name", name), ("version", number.as_str())];
        let answer: Answer = self.get("model-versions/get-download-uri", &query).await?;
        Ok(answer.artifact_uri)
    }

    /// Makes a registered model, or finds it made.
    pub(crate) async fn create_registered_model(&self, name: &str) -> Result<(), RestError> {
        match self.send(Method::POST, "registered-models/create", &json!({"name": name})).await {
            Err(error) if error.kind == Kind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    /// Makes a version with its tags at once, and gives its number. There is no way to make it once only.
    pub(crate) async fn create_model_version(
        &self,
        name: &str,
        source: &str,
        run_id: &str,
        description: &str,
        tags: &[Pair],
    ) -> Result<u64, RestError> {
        let body = json!({
            "name": name, "source": source, "run_id": run_id, "description": description, "tags": tags,
        });
        let made: VersionAnswer = self.post("model-versions/create", &body, Repeat::Never).await?;
        Ok(made.model_version.version)
    }

    /// Deletes a version. There is no way back through the API, so this is for doubles of our own making.
    pub(crate) async fn delete_model_version(&self, name: &str, number: u64) -> Result<(), RestError> {
        let body = json!({"name": name, "version": number.to_string()});
        match self.send(Method::DELETE, "model-versions/delete", &body).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Describes a model.
    pub(crate) async fn describe_model(&self, name: &str, text: &str) -> Result<(), RestError> {
        let body = json!({"name": name, "description": text});
        self.send(Method::PATCH, "registered-models/update", &body).await
    }

    /// Describes a version.
    pub(crate) async fn describe_version(
        &self,
        name: &str,
        number: u64,
        text: &str,
    ) -> Result<(), RestError> {
        let body = json!({"name": name, "version": number.to_string(), "description": text});
        self.send(Method::PATCH, "model-versions/update", &body).await
    }

    /// Writes or removes a tag of a model.
    pub(crate) async fn tag_model(
        &self,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), RestError> {
        match value {
            Some(value) => {
                let body = json!({"name": name, "key": key, "value": value});
                self.send(Method::POST, "registered-models/set-tag", &body).await
            }
            None => {
                let body = json!({"name": name, "key": key});
                self.send(Method::DELETE, "registered-models/delete-tag", &body).await
            }
        }
    }

    /// Writes or removes a tag of a version.
    pub(crate) async fn tag_version(
        &self,
        name: &str,
        number: u64,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), RestError> {
        let number = number.to_string();
        match value {
            Some(value) => {
                let body = json!({"name": name, "version": number, "key": key, "value": value});
                self.send(Method::POST, "model-versions/set-tag", &body).await
            }
            None => {
                let body = json!({"name": name, "version": number, "key": key});
                self.send(Method::DELETE, "model-versions/delete-tag", &body).await
            }
        }
    }

    /// Points an alias to a version, or removes it.
    pub(crate) async fn set_model_alias(
        &self,
        name: &str,
        alias: &str,
        number: Option<u64>,
    ) -> Result<(), RestError> {
        match number {
            Some(number) => {
                let body = json!({"name": name, "alias": alias, "version": number.to_string()});
                self.send(Method::POST, "registered-models/alias", &body).await
            }
            None => {
                let body = json!({"name": name, "alias": alias});
                self.send(Method::DELETE, "registered-models/alias", &body).await
            }
        }
    }

    /// Moves a version to a native stage and no other version anywhere: MLflow's own way of archiving the
    /// others races.
    pub(crate) async fn set_native_stage(
        &self,
        name: &str,
        number: u64,
        stage: &str,
    ) -> Result<(), RestError> {
        let body = json!({
            "name": name, "version": number.to_string(), "stage": stage, "archive_existing_versions": false,
        });
        self.send(Method::POST, "model-versions/transition-stage", &body).await
    }
}
