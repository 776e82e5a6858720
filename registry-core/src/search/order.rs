//! Why this exists: rows in an order that somebody chose, page by page. The order is always total, since it is
//! completed by the model's name and the version, so a page begins after the last row of the page before it
//! whatever was registered meanwhile. The cursor holds the values that row was sorted by, not a number of rows.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::evaluate::Subject;
use super::filter::{Keyed, TimeField};
use super::parse;
use super::value::ParamValue;
use crate::content::Finite;
use crate::features::FeatureSchema;
use crate::invalid::Invalid;
use crate::name::{Actor, Key, ModelName, Text};
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::version::Version;

/// By what rows are sorted, the first first. Whatever it is, model name and version come after it, so that no
/// two rows are alike. Rows that lack a value come last, in either direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order(Vec<Sort>);

/// A field to sort by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The field.
    pub field: SortField,
    /// The highest first.
    pub descending: bool,
}

/// A field that can be sorted by: one that holds at most one value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SortField {
    /// The model's name.
    Name,
    /// The version, by precedence.
    Version,
    /// The stage, in the order of a model's life.
    Stage,
    /// An instant.
    Time(TimeField),
    /// The value of a tag.
    Tag(Key),
    /// A metric.
    Metric(Key),
    /// A hyperparameter: `false`, `true`, then numbers, then texts.
    Param(String),
    /// Who answers for the version.
    Owner,
    /// The feature set, with its version.
    FeatureSet,
    /// The version of the training data.
    Data,
    /// The experiment.
    Experiment,
    /// The version it was derived from.
    Parent,
    /// The algorithm.
    Algorithm,
    /// The framework.
    Framework,
}

impl Order {
    /// The most fields.
    pub const FIELDS_MAX: usize = 8;

    /// An order by these, none of them twice.
    pub fn new(sorts: impl IntoIterator<Item = Sort>) -> Result<Self, Invalid> {
        let mut kept: Vec<Sort> = Vec::new();
        for sort in sorts {
            if Order::FIELDS_MAX <= kept.len() {
                let problem = format!("has more than {} fields", Order::FIELDS_MAX);
                return Err(Invalid::new("order", "", problem));
            }
            if kept.iter().any(|before| before.field == sort.field) {
                return Err(Invalid::new("order", &sort.field, format!("names `{}` twice", sort.field)));
            }
            kept.push(sort);
        }
        Ok(Order(kept))
    }

    /// The fields.
    pub fn sorts(&self) -> &[Sort] {
        &self.0
    }

    /// Whether this is the order in which models and versions are kept, so that rows need not be collected.
    pub(super) fn is_natural(&self) -> bool {
        let natural = [SortField::Name, SortField::Version];
        self.0.len() <= natural.len()
            && self.0.iter().zip(&natural).all(|(sort, field)| sort.field == *field && !sort.descending)
    }

    pub(super) fn key(&self, subject: &Subject<'_>) -> SortKey {
        SortKey {
            values: self
                .0
                .iter()
                .map(|sort| Placed::new(sort.field.value(subject), sort.descending))
                .collect(),
            model: subject.name.clone(),
            version: subject.version.version.clone(),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, sort) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}{}", sort.field, if sort.descending { " desc" } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = Invalid;

    /// Reads what stands after `order by`: `version desc, metric.accuracy`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse::order(text)
    }
}

impl fmt::Display for SortField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SortField::Name => "name",
            SortField::Version => "version",
            SortField::Stage => "stage",
            SortField::Time(field) => return field.fmt(f),
            SortField::Tag(key) => return Keyed("tag", key.as_str()).fmt(f),
            SortField::Metric(key) => return Keyed("metric", key.as_str()).fmt(f),
            SortField::Param(key) => return Keyed("param", key).fmt(f),
            SortField::Owner => "owner",
            SortField::FeatureSet => "feature_set",
            SortField::Data => "data",
            SortField::Experiment => "experiment",
            SortField::Parent => "parent",
            SortField::Algorithm => "algorithm",
            SortField::Framework => "framework",
        })
    }
}

impl SortField {
    fn value(&self, subject: &Subject<'_>) -> Option<SortValue> {
        let Subject { name, version, .. } = subject;
        let metadata = &version.content.metadata;
        let text = |text: &Option<Text>| text.as_ref().map(|text| SortValue::text(text.as_str()));
        match self {
            SortField::Name => Some(SortValue::Name((*name).clone())),
            SortField::Version => Some(SortValue::Version(version.version.clone())),
            SortField::Stage => Some(SortValue::Stage(version.stage)),
            SortField::Time(field) => subject.instant(*field).map(SortValue::Instant),
            SortField::Tag(key) => subject.tag(key).map(SortValue::text),
            SortField::Metric(key) => {
                version.content.metrics.get(key).map(|metric| SortValue::Number(Number(metric.value)))
            }
            SortField::Param(key) => {
                Some(match metadata.hyperparameters.get(key).and_then(ParamValue::of)? {
                    ParamValue::Flag(flag) => SortValue::Flag(flag),
                    ParamValue::Number(number) => SortValue::Number(Number(number)),
                    ParamValue::Text(text) => SortValue::text(&text),
                })
            }
            SortField::Owner => metadata.owner.as_ref().map(Actor::as_str).map(SortValue::text),
            SortField::FeatureSet => {
                let features = version.content.features.as_ref();
                features.and_then(FeatureSchema::versioned_set).map(|set| SortValue::text(&set))
            }
            SortField::Data => text(&metadata.training_data_version),
            SortField::Experiment => text(&metadata.experiment),
            SortField::Parent => {
                metadata.parent_model.as_ref().map(|parent| SortValue::text(&parent.to_string()))
            }
            SortField::Algorithm => text(&metadata.algorithm),
            SortField::Framework => text(&metadata.framework),
        }
    }
}

/// What a row is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum SortValue {
    #[serde(rename = "f")]
    Flag(bool),
    #[serde(rename = "n")]
    Number(Number),
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "m")]
    Name(ModelName),
    #[serde(rename = "v")]
    Version(Version),
    #[serde(rename = "s")]
    Stage(Stage),
    #[serde(rename = "i")]
    Instant(Timestamp),
}

impl SortValue {
    /// How much of a text counts. A cursor holds it, so it must not be long.
    const TEXT_CHARS_MAX: usize = 128;

    fn text(text: &str) -> Self {
        SortValue::Text(text.chars().take(SortValue::TEXT_CHARS_MAX).collect())
    }
}

/// A number with its place among all others.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Number(Finite);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        // Numbers that are equal, such as 0 and -0, must be so here; no finite number is without a place.
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// A value with its direction. In one place of a key all values have the same, or are missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Placed {
    #[serde(rename = "u")]
    Up(SortValue),
    #[serde(rename = "d")]
    Down(std::cmp::Reverse<SortValue>),
    #[serde(rename = "-")]
    Missing,
}

impl Placed {
    fn new(value: Option<SortValue>, descending: bool) -> Self {
        match value {
            Some(value) if descending => Placed::Down(std::cmp::Reverse(value)),
            Some(value) => Placed::Up(value),
            None => Placed::Missing,
        }
    }
}

/// The place of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortKey {
    values: Vec<Placed>,
    pub(super) model: ModelName,
    pub(super) version: Version,
}

/// The end of a page, where the next one begins. As text it can be shown to people and programs, who need not
/// understand it; it belongs to the search that gave it, and is refused by any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The search that it belongs to.
    pub(super) search: String,
    /// The place of the last row of the page.
    pub(super) last: SortKey,
}

impl Cursor {
    /// The longest text that is read.
    const LENGTH_MAX: usize = 32 * 1024;
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SortKey { values, model, version } = &self.last;
        // Names, numbers and texts can always be written.
        let bytes = serde_json::to_vec(&(&self.search, values, model, version)).unwrap_or_default();
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let read = || -> Option<Cursor> {
            if Cursor::LENGTH_MAX < text.len() || !text.len().is_multiple_of(2) {
                return None;
            }
            let pairs = text.as_bytes().chunks_exact(2);
            let bytes: Option<Vec<u8>> = pairs
                .map(|pair| match pair {
                    [high, low] => Some(digit(high)? << 4 | digit(low)?),
                    _ => None,
                })
                .collect();
            let (search, values, model, version) = serde_json::from_slice(&bytes?).ok()?;
            Some(Cursor { search, last: SortKey { values, model, version } })
        };
        read().ok_or_else(|| {
            let problem = "is not the end of a page; give what the page before it said, as a whole";
            Invalid::new("cursor", text, problem)
        })
    }
}
