//! Why this exists: between the raw data and a model's inputs stand features, computed by code that
//! lives elsewhere and is versioned elsewhere. "Which models use this feature set?" and "what
//! breaks if feature X goes?" can only be answered if a version says which features it was trained
//! on, in which order, computed how.
//!
//! In JSON (and in the YAML file beside a model, which has the same shape):
//!
//! ```json
//! {"set": "fraud", "version": "v1", "features": [
//!   "merchant_risk_score",
//!   {"name": "amount_vs_user_average", "type": "double", "transform": "amount / mean(amount, 90d)"}
//! ]}
//! ```
//!
//! A feature of which only the name is known is written as its name. A bare list of features is
//! accepted on input for a schema without a set.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::signature::{DataType, check_data_type, check_name, check_text};

/// The features that a version was trained on, in the order in which the model takes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSchema")]
pub struct FeatureSchema {
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    features: Vec<Feature>,
}

impl FeatureSchema {
    /// The most features.
    pub const FEATURES_MAX: usize = 10_000;

    /// A schema of these features. The list may be empty only if the set is named: then the set is
    /// all that is known.
    pub fn new(
        set: Option<String>,
        version: Option<String>,
        features: Vec<Feature>,
    ) -> Result<FeatureSchema, Invalid> {
        if let Some(set) = &set {
            check_name("feature set", set)?;
        }
        if let Some(version) = &version {
            check_name("feature set version", version)?;
        }
        if set.is_none() && features.is_empty() {
            return Err(Invalid::new("feature schema", "", "it names neither a set nor a feature"));
        }
        if features.len() > FeatureSchema::FEATURES_MAX {
            let problem = format!("more than {} features", FeatureSchema::FEATURES_MAX);
            return Err(Invalid::new("feature schema", features.len(), problem));
        }
        let mut names = HashSet::new();
        for feature in &features {
            feature.check()?;
            if !names.insert(feature.name.as_str()) {
                return Err(Invalid::new("feature", &feature.name, "the name is used twice"));
            }
        }
        Ok(FeatureSchema { set, version, features })
    }

    /// The name of the feature set, if it has one.
    pub fn set(&self) -> Option<&str> {
        self.set.as_deref()
    }

    /// The version of the feature set, in whatever form its owner writes it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The feature set, with its version after a colon where it has one, for example `card:7`.
    pub fn versioned_set(&self) -> Option<String> {
        let version = self.version.as_ref().map(|version| format!(":{version}")).unwrap_or_default();
        Some(format!("{}{version}", self.set.as_ref()?))
    }

    /// The features, in order.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }
}

/// One feature.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Feature {
    /// The name, unique in its schema.
    pub name: String,
    /// The type, if known.
    pub data_type: Option<DataType>,
    /// What a person should know.
    pub description: Option<String>,
    /// How it is computed, in whatever language its owner writes it.
    pub transform: Option<String>,
    /// The unit or the meaning of the value.
    pub unit: Option<String>,
}

impl Feature {
    /// A feature of which only the name is known.
    pub fn new(name: impl Into<String>) -> Feature {
        Feature { name: name.into(), data_type: None, description: None, transform: None, unit: None }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_name("feature", &self.name)?;
        if let Some(data_type) = &self.data_type {
            check_data_type(data_type)?;
        }
        if let Some(unit) = &self.unit {
            check_name("unit", unit)?;
        }
        check_text("description", self.description.as_deref().unwrap_or_default())?;
        check_text("transform", self.transform.as_deref().unwrap_or_default())
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of features, or an object with `set`, `version` and `features`")]
enum RawSchema {
    List(Vec<Feature>),
    Full(RawFull),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFull {
    set: Option<String>,
    version: Option<String>,
    #[serde(default)]
    features: Vec<Feature>,
}

impl TryFrom<RawSchema> for FeatureSchema {
    type Error = Invalid;

    fn try_from(raw: RawSchema) -> Result<Self, Invalid> {
        match raw {
            RawSchema::List(features) => FeatureSchema::new(None, None, features),
            RawSchema::Full(full) => FeatureSchema::new(full.set, full.version, full.features),
        }
    }
}

/// A feature in full, as it is written once more than the name is known.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFeature {
    name: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    data_type: Option<DataType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a feature's name, or an object with `name` and more")]
enum NameOrFeature {
    Name(String),
    Full(RawFeature),
}

impl Serialize for Feature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Feature::new(self.name.as_str()) {
            return serializer.serialize_str(&self.name);
        }
        let Feature { name, data_type, description, transform, unit } = self.clone();
        RawFeature { name, data_type, description, transform, unit }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Feature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match NameOrFeature::deserialize(deserializer)? {
            NameOrFeature::Name(name) => Feature::new(name),
            NameOrFeature::Full(RawFeature { name, data_type, description, transform, unit }) => {
                Feature { name, data_type, description, transform, unit }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Scalar;

    fn read(text: &str) -> Result<FeatureSchema, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_plain_list_of_names_is_accepted_and_its_order_kept() {
        let schema = read(r#"["merchant_risk_score", "amount_vs_user_average"]"#).unwrap();
        let names: Vec<_> = schema.features().iter().map(|feature| feature.name.as_str()).collect();
        assert_eq!(names, ["merchant_risk_score", "amount_vs_user_average"]);
        assert_eq!(
            serde_json::to_string(&schema).unwrap(),
            r#"{"features":["merchant_risk_score","amount_vs_user_average"]}"#
        );
    }

    #[test]
    fn the_full_form_round_trips() {
        let text = concat!(
            r#"{"set":"fraud","version":"v1","features":["a",{"name":"b","type":"double","#,
            r#""description":"mean","transform":"mean(a)","unit":"EUR"},"#,
            r#"{"name":"c","type":{"type":"array","items":"long"}}]}"#
        );
        let schema = read(text).unwrap();
        assert_eq!((schema.set(), schema.version()), (Some("fraud"), Some("v1")));
        assert_eq!(schema.features()[1].data_type, Some(Scalar::Double.into()));
        assert_eq!(serde_json::to_string(&schema).unwrap(), text);
    }

    #[test]
    fn a_named_set_alone_is_enough() {
        assert!(read(r#"{"set": "fraud", "version": "v1"}"#).is_ok());
    }

    #[test]
    fn illegal_feature_schemas_are_refused() {
        let feature = |edit: fn(&mut Feature)| {
            let mut feature = Feature::new("a");
            edit(&mut feature);
            vec![feature]
        };
        let many = (0..=FeatureSchema::FEATURES_MAX).map(|index| Feature::new(index.to_string())).collect();
        let cases = [
            ("nothing", None, vec![], "neither"),
            ("duplicate", None, vec![Feature::new("a"), Feature::new("b"), Feature::new("a")], "used twice"),
            ("empty name", None, vec![Feature::new("")], "empty"),
            ("too many", None, many, "more than"),
            ("empty set", Some(String::new()), vec![], "empty"),
            ("empty unit", None, feature(|f| f.unit = Some(String::new())), "empty"),
            ("bad type", None, feature(|f| f.data_type = Some(DataType::Object(vec![]))), "property"),
            ("endless transform", None, feature(|f| f.transform = Some("x".repeat(10_001))), "longer"),
            ("endless description", None, feature(|f| f.description = Some("x".repeat(10_001))), "longer"),
        ];
        for (case, set, features, problem) in cases {
            let error = FeatureSchema::new(set, None, features).unwrap_err();
            assert!(error.to_string().contains(problem), "{case}: {error}");
        }
        for text in
            ["[]", "{}", "7", r#"["a", "a"]"#, r#"[{"name": "a", "typ": "long"}]"#, r#"{"set": "a", "x": 1}"#]
        {
            assert!(read(text).is_err(), "{text}");
        }
        let error = FeatureSchema::new(Some("a".to_owned()), Some(String::new()), vec![]).unwrap_err();
        assert_eq!(error.what, "feature set version");
    }
}
