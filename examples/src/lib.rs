//! Worked examples of the model registry.
//!
//! A registry is about what happens to models *after* training, so its examples need models that
//! somebody could want to promote, compare and roll back. [`training`] makes them: small classifiers,
//! really trained on real data, whose every number is measured. [`describe`] turns a training into what
//! is registered.
//!
//! The programs are in `src/bin`: `life` tells the whole life of a model, `serve` swaps models in a
//! running service, `pipeline` registers from a training pipeline that may be restarted.

pub mod describe;
pub mod training;
