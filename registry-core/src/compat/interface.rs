//! Why this exists: a signature is not all that a version promises. Two models with the same
//! columns differ for their users if one was made by another algorithm, from other data or from
//! other features. This module compares everything that is recorded, and says plainly when the
//! most important part, the signature, is not.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::diff::{diff, feature_type, reordered, sorted, step};
use super::finding::{Finding, FindingId as Id, described, one_sided, recorded};
use super::required_bump;
use crate::features::{Feature, FeatureSchema};
use crate::signature::{DataType, Schema, Signature};
use crate::version::Bump;

/// What is recorded about a version that its users may notice; `None` where nothing is recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interface<'a> {
    /// What the model takes and gives.
    pub signature: Option<&'a Signature>,
    /// What the model was trained on, feature by feature.
    pub features: Option<&'a FeatureSchema>,
    /// The name and version of the feature set, where no feature schema says it.
    pub feature_set: Option<&'a str>,
    /// The framework, usually with its version: `xgboost==1.7.0`.
    pub framework: Option<&'a str>,
    /// The algorithm: `XGBoost`, `LogisticRegression`.
    pub algorithm: Option<&'a str>,
    /// The version of the training data.
    pub training_data: Option<&'a str>,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Every change, the most demanding first.
    pub findings: Vec<Finding>,
    /// Whether signatures, or their inputs or outputs, could not be compared because one of the
    /// versions does not have them. A person must then say which bump it is.
    pub signature_unknown: bool,
}

impl Comparison {
    /// The bump that the changes require; `None` if a person must say.
    pub fn required_bump(&self) -> Option<Bump> {
        (!self.signature_unknown).then(|| required_bump(&self.findings))
    }
}

/// Compares everything that is recorded about two versions.
pub fn compare_interfaces(old: &Interface<'_>, new: &Interface<'_>) -> Comparison {
    let (mut findings, signature_unknown) = match (old.signature, new.signature) {
        (Some(old), Some(new)) => {
            let differ = |a: Option<&Schema>, b: Option<&Schema>| a.is_some() != b.is_some();
            let unknown = differ(old.inputs(), new.inputs()) || differ(old.outputs(), new.outputs());
            (diff(old, new), unknown)
        }
        (old, new) => (one_sided("signature", old, new).into_iter().collect(), true),
    };
    match (old.features, new.features) {
        (Some(old), Some(new)) => findings.extend(diff_features(old, new)),
        (old, new) => findings.extend(one_sided("features", old, new)),
    }
    for (id, path, old, new) in [
        (Id::FeatureSetChanged, "feature_set", old.feature_set, new.feature_set),
        (Id::FrameworkChanged, "framework", old.framework, new.framework),
        (Id::AlgorithmChanged, "algorithm", old.algorithm, new.algorithm),
        (Id::TrainingDataChanged, "training_data", old.training_data, new.training_data),
    ] {
        findings.extend(recorded(id, path, old.map(str::to_owned), new.map(str::to_owned), Bump::Minor));
    }
    Comparison { findings: sorted(findings), signature_unknown }
}

/// Every change from one feature schema to another, the most demanding first.
pub fn diff_features(old: &FeatureSchema, new: &FeatureSchema) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, path, old, new) in [
        (Id::FeatureSetChanged, "feature_set", old.set(), new.set()),
        (Id::FeatureSetVersionChanged, "feature_set.version", old.version(), new.version()),
    ] {
        findings.extend(recorded(id, path, old.map(str::to_owned), new.map(str::to_owned), Bump::Minor));
    }
    let olds: HashMap<_, _> = old.features().iter().map(|feature| (&feature.name, feature)).collect();
    let news: HashMap<_, _> = new.features().iter().map(|feature| (&feature.name, feature)).collect();
    let path = |feature: &Feature| step("features", &feature.name);
    for feature in old.features() {
        match news.get(&feature.name) {
            Some(new) => findings.extend(diff_feature(&path(feature), feature, new)),
            None => findings.push(Finding::new(Id::FeatureRemoved, path(feature), None, None, Bump::Major)),
        }
    }
    for feature in new.features().iter().filter(|feature| !olds.contains_key(&feature.name)) {
        findings.push(Finding::new(Id::FeatureAdded, path(feature), None, None, Bump::Minor));
    }
    let names =
        |schema: &'_ FeatureSchema| schema.features().iter().map(|feature| feature.name.clone()).collect();
    findings.extend(reordered(Id::FeaturesReordered, "features", names(old), names(new)));
    sorted(findings)
}

fn diff_feature(path: &str, old: &Feature, new: &Feature) -> Vec<Finding> {
    let mut findings = match (&old.data_type, &new.data_type) {
        (Some(old), Some(new)) => feature_type(path, old, new),
        (old, new) => {
            let shown = |data_type: &Option<DataType>| data_type.as_ref().map(DataType::to_string);
            recorded(Id::TypeChanged, path, shown(old), shown(new), Bump::Major).into_iter().collect()
        }
    };
    findings.extend(recorded(Id::UnitChanged, path, old.unit.clone(), new.unit.clone(), Bump::Major));
    findings.extend(recorded(
        Id::TransformChanged,
        path,
        old.transform.clone(),
        new.transform.clone(),
        Bump::Minor,
    ));
    findings.extend(described(path, old.description.clone(), new.description.clone()));
    findings
}
