//! Worked examples of the model registry.
//!
//! A registry is about what happens to models *after* training, so its examples need models that
//! somebody could want to promote, compare and roll back. [`training`] makes them: small classifiers,
//! really trained on real data, whose every number is measured. [`describe`] turns a training into what
//! is registered, and [`page`] prints what becomes of it.
//!
//! The programs are in `src/bin`: `life` tells the whole life of a model, `serve` swaps models in a
//! running service, `pipeline` registers from a training pipeline that may be restarted, `search` asks what
//! was registered, `experiment` tracks trainings that register themselves, `trial` tries a version beside another
//! before it is promoted, `lineage` follows what was made of what and what becomes of it, `monitor` takes out a model
//! that turned slow and tells somebody, `audit` tells an auditor what happened, `environments` takes a model through
//! three registries, `living_documents` keeps the page of a model true, `signing` shows what a checkpoint and a
//! signature find, `shared_bucket` lets two processes meet in a bucket, and `mlflow` puts a registry around an MLflow
//! server that runs already.

pub mod describe;
pub mod page;
pub mod training;

/// The documents of the repository, so that their programs are compiled and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../ARCHITECTURE.md")]
    mod architecture {}
    #[doc = include_str!("../../CONTRIBUTING.md")]
    mod contributing {}
    #[doc = include_str!("../../docs/consistency.md")]
    mod consistency {}
    #[doc = include_str!("../../docs/environments.md")]
    mod environments {}
    #[doc = include_str!("../../docs/experiments.md")]
    mod experiments {}
    #[doc = include_str!("../../docs/governance.md")]
    mod governance {}
    #[doc = include_str!("../../docs/lineage.md")]
    mod lineage {}
    #[doc = include_str!("../../docs/living-documents.md")]
    mod living_documents {}
    #[doc = include_str!("../../docs/log-format.md")]
    mod log_format {}
    #[doc = include_str!("../../docs/mlflow.md")]
    mod mlflow {}
    #[doc = include_str!("../../docs/monitoring.md")]
    mod monitoring {}
    #[doc = include_str!("../../docs/policies.md")]
    mod policies {}
    #[doc = include_str!("../../docs/search.md")]
    mod search {}
    #[doc = include_str!("../../docs/trials.md")]
    mod trials {}
    #[doc = include_str!("../../docs/versioning.md")]
    mod versioning {}
}
