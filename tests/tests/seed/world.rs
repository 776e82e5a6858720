//! What the chapters have in common: a registry of their own, and a model for the detection of fraud.

use std::sync::Arc;

use bytes::Bytes;
use registry_core::signature::{Field, Scalar, Schema, Signature};
use registry_core::{
    By, Content, Finite, Metric, ModelName, PromoteOptions, Registration, Registry, RegistryExt as _, Stage,
    Upload, Version, VersionState,
};

/// A registry that nobody else uses.
pub(crate) struct World {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) model: ModelName,
    pub(crate) ana: By,
    pub(crate) url: String,
    /// Where files may be written, and SQLite's are.
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    async fn at(url: String, folder: tempfile::TempDir) -> World {
        World {
            registry: registry_tests::open(&url).await.unwrap(),
            model: "fraud-detection-model".parse().unwrap(),
            ana: by("ana@example.com"),
            url,
            folder,
        }
    }

    pub(crate) async fn on_sqlite() -> World {
        let folder = tempfile::tempdir().unwrap();
        World::at(format!("sqlite:{}", folder.path().join("registry").display()), folder).await
    }

    #[cfg(feature = "servers")]
    pub(crate) async fn in_a_bucket() -> World {
        let server = registry_tests::s3_server().unwrap();
        World::at(registry_tests::s3_url(server, &name()), tempfile::tempdir().unwrap()).await
    }

    #[cfg(feature = "servers")]
    pub(crate) async fn on_mlflow() -> World {
        let server = registry_tests::mlflow_server("REGISTRY_TEST_MLFLOW_3").unwrap();
        World::at(registry_tests::mlflow_url(server, &name()), tempfile::tempdir().unwrap()).await
    }

    /// Registers a version with one file, `model.pkl`.
    pub(crate) async fn register(&self, version: &str, content: Content) -> Arc<VersionState> {
        let bytes = Bytes::from(format!("the weights of {version}"));
        let upload = Upload { path: "model.pkl".parse().unwrap(), source: &bytes };
        let registration = Registration::new(number(version), content);
        self.registry.register(&self.ana, &self.model, registration, &[upload]).await.unwrap().version
    }

    pub(crate) async fn promote(&self, version: &str, to: Stage) {
        let version = number(version);
        let options = PromoteOptions::default();
        let done = self.registry.promote(&self.ana, &self.model, &version, to, options).await.unwrap();
        assert!(done.is_done(), "{done:?}");
    }

    /// Registers a version that has these metrics, and puts it into production.
    pub(crate) async fn live(&self, version: &str, metrics: &[(&str, f64)]) {
        self.register(version, measured(metrics)).await;
        self.promote(version, Stage::Staging).await;
        self.promote(version, Stage::Production).await;
    }

    /// What is in production.
    pub(crate) async fn in_production(&self) -> String {
        let found = self.registry.get(&self.model, &registry_core::Selector::PRODUCTION).await.unwrap();
        found.version.to_string()
    }
}

#[cfg(feature = "servers")]
fn name() -> String {
    use registry_core::IdSource as _;
    // As many bits as the name of a registry on MLflow has room for.
    format!("seed-{:020x}", registry_core::SystemIds.next_id() & ((1 << 80) - 1))
}

pub(crate) fn number(version: &str) -> Version {
    version.parse().unwrap()
}

pub(crate) fn by(name: &str) -> By {
    By::new(name.parse().unwrap())
}

pub(crate) fn because(by: &By, reason: &str) -> By {
    by.because(reason.parse().unwrap())
}

pub(crate) fn measured(metrics: &[(&str, f64)]) -> Content {
    let metrics = metrics.iter().map(|(name, value)| (name.parse().unwrap(), Metric::new(*value).unwrap()));
    Content { metrics: metrics.collect(), ..taking(&["amount"]) }
}

/// A content whose model takes these columns.
pub(crate) fn taking(columns: &[&str]) -> Content {
    let inputs = columns.iter().map(|name| Field::new(*name, Scalar::Double)).collect();
    let signature = Signature::new(Some(Schema::new(inputs).unwrap()), None, Vec::new()).unwrap();
    Content { signature: Some(signature), ..Content::default() }
}

pub(crate) fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap()
}
