//! Why this exists: files and `NAME=VALUE` pairs come from people. They are read here with a bound on
//! their size, and whatever is wrong with them is said with the name of the file or of the pair.

use std::io::Read as _;
use std::path::Path;

use registry_core::lineage::{Derivation, Link};
use registry_core::{Invalid, Key, Metric, Tags};

use crate::failure::Failure;

/// The largest card, signature, feature schema or environment file that is read.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The text of a file.
pub(crate) fn text_file(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Failure::file(path, error))?;
    let read = file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file(path, error))?;
    if TEXT_BYTES_MAX < bytes.len() as u64 {
        return Err(Failure::file(path, format!("is larger than {TEXT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::file(path, "is not text in UTF-8"))
}

/// `NAME=VALUE`, taken apart at the first `=`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl std::str::FromStr for Pair {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Pair { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(Invalid::new("pair", text, "expected `NAME=VALUE`")),
        }
    }
}

impl Pair {
    /// The value as JSON if it is JSON, else as text: `673` is a number, `gbtree` is not.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.value).unwrap_or_else(|_| self.value.clone().into())
    }
}

/// `NAME=NUMBER`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricArg {
    pub(crate) name: Key,
    pub(crate) metric: Metric,
}

impl std::str::FromStr for MetricArg {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Invalid::new("metric", text, "expected `NAME=NUMBER`, for example `accuracy=0.87`"));
        };
        let number: f64 = value.parse().map_err(|_| {
            Invalid::new("metric", text, format!("`{}` is not a number", crate::output::one_line(value)))
        })?;
        Ok(MetricArg { name: name.parse()?, metric: Metric::new(number)? })
    }
}

/// `KIND:NAME` or `KIND:NAME:VERSION`, the version after the last colon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputArg(pub(crate) Link);

impl std::str::FromStr for InputArg {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |problem: &str| Invalid::new("input", text, problem);
        let (kind, name) = text.split_once(':').ok_or_else(|| {
            wrong("expected `KIND:NAME` or `KIND:NAME:VERSION`, for example `data:transactions:v7`")
        })?;
        let kind = serde_json::from_value(kind.replace('-', "_").into()).map_err(|_| {
            wrong("expected one of data, feature-set, feature-engineering, code, experiment before the first colon")
        })?;
        // What follows `://` is a place, not a version.
        let (id, version) = match name.rsplit_once(':') {
            Some((id, version)) if !version.starts_with("//") => (id, Some(version.parse()?)),
            _ => (name, None),
        };
        let (digest, attributes) = (None, Default::default());
        Ok(InputArg(Link::Input { kind, id: id.parse()?, version, digest, attributes }))
    }
}

/// `MODEL@VERSION` or `MODEL@VERSION=HOW`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DerivationArg(pub(crate) Link);

impl std::str::FromStr for DerivationArg {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (model, how) = match text.rsplit_once('=') {
            None => (text, Derivation::default()),
            Some((model, how)) => {
                let how = serde_json::from_value(how.replace('-', "_").into()).map_err(|_| {
                    let problem = "expected derived, fine-tuned, distilled, quantised or merged after `=`";
                    Invalid::new("derivation", text, problem)
                })?;
                (model, how)
            }
        };
        Ok(DerivationArg(Link::DerivedFrom { model: model.parse()?, how }))
    }
}

/// `NAME` or `NAME=JSON`, where the JSON is an object of what was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EvaluationArg(pub(crate) Link);

impl std::str::FromStr for EvaluationArg {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (id, attributes) = match text.split_once('=') {
            None => (text, Default::default()),
            Some((id, json)) => {
                let attributes = serde_json::from_str(json).map_err(|error| {
                    let problem =
                        format!("expected a JSON object after `=`, such as {{\"auc\":0.92}}: {error}");
                    Invalid::new("evaluation", text, problem)
                })?;
                (id, attributes)
            }
        };
        Ok(EvaluationArg(Link::Evaluation { id: id.parse()?, attributes }))
    }
}

/// `KEY`, a label, or `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagArg {
    pub(crate) key: Key,
    pub(crate) value: Option<String>,
}

impl std::str::FromStr for TagArg {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('=') {
            Some((key, value)) => Ok(TagArg { key: key.parse()?, value: Some(value.to_owned()) }),
            None => Ok(TagArg { key: text.parse()?, value: None }),
        }
    }
}

/// The tags that were given.
pub(crate) fn tags(given: &[TagArg]) -> Tags {
    given.iter().map(|tag| (tag.key.clone(), tag.value.clone().unwrap_or_default())).collect()
}
