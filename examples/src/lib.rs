//! Worked examples of the model registry.
//!
//! A registry is about what happens to models *after* training, so its examples need models that
//! somebody could want to promote, compare and roll back. [`training`] makes them: small classifiers,
//! really trained on real data, whose every number is measured.

pub mod training;
