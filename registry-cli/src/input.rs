//! Why this exists: files and `NAME=VALUE` pairs come from people. They are read here with a bound on
//! their size, and whatever is wrong with them is said with the name of the file or of the pair.

use std::io::Read as _;
use std::path::Path;

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

/// What a file says, in the format that its extension names.
pub(crate) fn parsed_file<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let text = text_file(path)?;
    let broken = |problem: String| Failure::file(path, problem.trim_start_matches("error: ").trim_end());
    match extension.to_ascii_lowercase().as_str() {
        "toml" => toml::from_str(&text).map_err(|error| broken(error.to_string())),
        "json" => serde_json::from_str(&text).map_err(|error| broken(error.to_string())),
        "yaml" | "yml" => serde_saphyr::from_str(&text).map_err(|error| broken(error.to_string())),
        _ => Err(broken("the extension must say its format: .toml, .yaml, .yml or .json".to_owned())),
    }
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
