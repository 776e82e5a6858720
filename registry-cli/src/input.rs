//! Why this exists: files and `NAME=VALUE` pairs come from people. They are read here with a bound on
//! their size, and whatever is wrong with them is said with the name of the file or of the pair.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use registry_core::lineage::{Derivation, Link};
use registry_core::{Direction, Invalid, Key, Metric, Tags};
use registry_signing::{SigningKey, VerifyingKey};

use crate::failure::Failure;

/// The largest card, signature, feature schema or environment file that is read.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The bytes of a file, if there are at most so many.
pub(crate) fn bounded_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Failure::file(path, error))?;
    let read = file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file(path, error))?;
    if bytes_max < bytes.len() as u64 {
        return Err(Failure::file(path, format!("is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The text of a file.
pub(crate) fn text_file(path: &Path) -> Result<String, Failure> {
    let bytes = bounded_file(path, TEXT_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| Failure::file(path, "is not text in UTF-8"))
}

/// A private key in a PEM file.
pub(crate) fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    // The address of a key in a device is no path, and is answered as what it is.
    if let Some(address) = path.to_str().filter(|text| text.starts_with("pkcs11:")) {
        return Ok(SigningKey::from_pem(address)?);
    }
    SigningKey::from_pem(&text_file(path)?).map_err(|error| Failure::file(path, error))
}

/// Public keys in PEM files.
pub(crate) fn verifying_keys(paths: &[PathBuf]) -> Result<Vec<VerifyingKey>, Failure> {
    let key = |path: &PathBuf| {
        VerifyingKey::from_pem(&text_file(path)?).map_err(|error| Failure::file(path, error))
    };
    paths.iter().map(key).collect()
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

/// `10%`, as a share.
pub(crate) fn percent(text: &str) -> Result<f64, Invalid> {
    let wrong = || Invalid::new("share", text, "expected a percentage such as `10%`");
    let number: f64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    if number.is_finite() && 0.0 <= number { Ok(number / 100.0) } else { Err(wrong()) }
}

/// A whole number that is not zero.
pub(crate) fn at_least_one<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number of at least 1".to_owned())
}

/// Which way is better.
pub(crate) fn direction(text: &str) -> Result<Direction, Invalid> {
    match text {
        "higher" => Ok(Direction::Higher),
        "lower" => Ok(Direction::Lower),
        _ => Err(Invalid::new("direction", text, "expected `higher` or `lower`")),
    }
}

/// `NAME=VALUE`, taken apart at the first `=`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
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

impl FromStr for MetricArg {
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

/// A metric and the values it may have, as they are typed: `accuracy>=0.9`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricRange {
    pub(crate) name: Key,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

impl FromStr for MetricRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = "expected `NAME>=NUMBER`, `NAME<=NUMBER`, `NAME=FROM..TO` or `NAME`";
        let number = |part: &str| match part.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(Invalid::new("metric range", text, expected)),
        };
        let name = |part: &str| part.trim().parse::<Key>();
        if let Some((left, right)) = text.split_once(">=") {
            return Ok(MetricRange { name: name(left)?, low: Some(number(right)?), high: None });
        }
        if let Some((left, right)) = text.split_once("<=") {
            return Ok(MetricRange { name: name(left)?, low: None, high: Some(number(right)?) });
        }
        if let Some((left, right)) = text.split_once('=') {
            let (low, high) = right.split_once("..").unwrap_or((right, right));
            let (low, high) = (number(low)?, number(high)?);
            if high < low {
                return Err(Invalid::new("metric range", text, "ends before it begins"));
            }
            return Ok(MetricRange { name: name(left)?, low: Some(low), high: Some(high) });
        }
        if text.contains(['<', '>']) {
            return Err(Invalid::new("metric range", text, expected));
        }
        Ok(MetricRange { name: name(text)?, low: None, high: None })
    }
}

/// `KIND:NAME` or `KIND:NAME:VERSION`, the version after the last colon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputArg(pub(crate) Link);

impl FromStr for InputArg {
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

impl FromStr for DerivationArg {
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

impl FromStr for EvaluationArg {
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

impl FromStr for TagArg {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_ranges_are_read_as_they_are_typed() {
        let read = |text: &str| text.parse::<MetricRange>().map(|range| (range.low, range.high));
        assert_eq!(read("accuracy>=0.9").unwrap(), (Some(0.9), None));
        assert_eq!(read("loss <= 0.1").unwrap(), (None, Some(0.1)));
        assert_eq!(read("recall=0.6..0.8").unwrap(), (Some(0.6), Some(0.8)));
        assert_eq!(read("recall=1").unwrap(), (Some(1.0), Some(1.0)));
        assert_eq!(read("recall").unwrap(), (None, None));
        for bad in ["accuracy>0.9", "accuracy>=high", "accuracy>=NaN", "=1", ">=1", "recall=2..1", "a=1..inf"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
