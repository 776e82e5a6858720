//! Why this exists: "this needs a major version" convinces nobody. A finding says what changed,
//! where, from what to what, and which rule makes that a major change, in words for a person and
//! under an id that stays the same for machines. Findings are stored with the version they were
//! found for, as evidence.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::version::Bump;

/// One row per kind of finding: its id, and the rule of the reference table.
macro_rules! finding_ids {
    ($($(#[$doc:meta])* $variant:ident $name:literal, $rule:literal;)*) => {
        /// What kind of change was found. The text form never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FindingId {
            $($(#[$doc])* $variant,)*
        }

        impl FindingId {
            /// Every id, in the order of the reference table.
            pub const ALL: &[FindingId] = &[$(FindingId::$variant),*];

            /// The stable text form.
            pub fn as_str(self) -> &'static str {
                match self { $(FindingId::$variant => $name,)* }
            }

            /// The reference rule: which bump the change requires, by where it happens.
            pub fn rule(self) -> &'static str {
                match self { $(FindingId::$variant => $rule,)* }
            }
        }
    };
}

finding_ids! {
    /// A field appeared that must be present.
    RequiredFieldAdded "required-field-added", "inputs major; outputs minor, major if positional or closed";
    /// A field appeared that may be left out, or has a default.
    OptionalFieldAdded "optional-field-added", "inputs minor; outputs minor, major if positional or closed";
    /// A field disappeared.
    FieldRemoved "field-removed", "inputs minor, major if positional or closed; outputs major; parameters major";
    /// A field that could be left out no longer can.
    FieldMadeRequired "field-made-required", "inputs major; outputs minor";
    /// A field that was always there may be left out.
    FieldMadeOptional "field-made-optional", "inputs minor; outputs major";
    /// The type takes all the values it took, and more.
    TypeWidened "type-widened", "inputs minor; outputs major";
    /// The type takes only some of the values it took.
    TypeNarrowed "type-narrowed", "inputs major; outputs minor";
    /// The type is another one.
    TypeChanged "type-changed", "major; every change of a tensor's element type is one";
    /// A fixed dimension takes any size.
    DimensionFreed "dimension-freed", "inputs minor; outputs major";
    /// A free dimension takes one size only.
    DimensionFixed "dimension-fixed", "inputs major; outputs minor";
    /// A fixed dimension has another size.
    DimensionChanged "dimension-changed", "major";
    /// A free dimension has another name, or got or lost one.
    DimensionRenamed "dimension-renamed", "patch";
    /// A tensor has more or fewer dimensions.
    RankChanged "rank-changed", "major";
    /// Named fields stand in another order.
    FieldsReordered "fields-reordered", "patch; named fields are matched by name";
    /// Fields without names stand in another order.
    PositionsChanged "positions-changed", "major; unnamed fields are matched by position";
    /// A field takes categories it did not take.
    CategoriesExtended "categories-extended", "inputs minor; outputs major";
    /// A field no longer takes categories it took.
    CategoriesNarrowed "categories-narrowed", "inputs major; outputs minor";
    /// A field takes numbers out of its former range.
    RangeRelaxed "range-relaxed", "inputs minor; outputs major";
    /// A field no longer takes numbers of its former range.
    RangeTightened "range-tightened", "inputs major; outputs minor";
    /// A field may be null that could not be.
    NullableAdded "nullable-added", "inputs minor; outputs major";
    /// A field can no longer be null.
    NullableRemoved "nullable-removed", "inputs major; outputs minor";
    /// A field has another unit or meaning.
    UnitChanged "unit-changed", "major";
    /// Another value stands in for a field that is left out.
    DefaultChanged "default-changed", "minor";
    /// The description reads differently.
    DescriptionChanged "description-changed", "patch";
    /// Columns became tensors, or the other way round.
    FormChanged "form-changed", "major";
    /// Named fields became unnamed, or the other way round.
    NamingChanged "naming-changed", "major";
    /// A closed schema takes extra fields.
    ContentOpened "content-opened", "inputs minor; outputs major";
    /// An open schema refuses extra fields.
    ContentClosed "content-closed", "inputs major; outputs minor";
    /// The model uses a feature that it did not use.
    FeatureAdded "feature-added", "minor";
    /// The model no longer uses a feature.
    FeatureRemoved "feature-removed", "major";
    /// Features stand in another order.
    FeaturesReordered "features-reordered", "patch";
    /// A feature is computed in another way.
    TransformChanged "transform-changed", "minor";
    /// The features come from another set.
    FeatureSetChanged "feature-set-changed", "minor";
    /// The features come from another version of the set.
    FeatureSetVersionChanged "feature-set-version-changed", "minor";
    /// The model was made with another framework, or another version of it.
    FrameworkChanged "framework-changed", "minor";
    /// The model was made by another algorithm.
    AlgorithmChanged "algorithm-changed", "minor";
    /// The model was trained on other data.
    TrainingDataChanged "training-data-changed", "minor";
    /// Something is recorded for one of the two versions only.
    DeclaredOnOneSide "declared-on-one-side", "patch; nothing is known to differ";
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        FindingId::ALL
            .iter()
            .copied()
            .find(|id| id.as_str() == text)
            .ok_or_else(|| Invalid::new("finding", text, "no such kind of finding is known"))
    }
}

impl Serialize for FindingId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for FindingId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// One change between two versions, and the bump it requires.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of change.
    pub id: FindingId,
    /// Where: `inputs.amount`, `outputs.scores[].label`, `params.threshold`, `features.age`, `framework`.
    pub path: String,
    /// What was there, shortened if it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is there now, shortened if it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The smallest bump that does the change justice.
    pub required: Bump,
}

impl Finding {
    /// The longest `from` or `to`, in characters.
    pub const VALUE_CHARS_MAX: usize = 200;

    pub(super) fn new(
        id: FindingId,
        path: impl Into<String>,
        from: Option<String>,
        to: Option<String>,
        required: Bump,
    ) -> Finding {
        Finding { id, path: path.into(), from: from.map(shortened), to: to.map(shortened), required }
    }

    /// One sentence that says why the change requires this bump.
    pub fn explanation(&self) -> &'static str {
        use FindingId as Id;
        let is_output = self.path.starts_with("outputs");
        let is_major = self.required == Bump::Major;
        match self.id {
            Id::RequiredFieldAdded if !is_output => "Callers of the old version do not send it.",
            Id::RequiredFieldAdded | Id::OptionalFieldAdded if is_major => {
                "Consumers that read by position or refuse extra fields do not expect it."
            }
            Id::RequiredFieldAdded | Id::OptionalFieldAdded if is_output => {
                "Consumers of the old version ignore it."
            }
            Id::RequiredFieldAdded | Id::OptionalFieldAdded => {
                "Callers of the old version may go on leaving it out."
            }
            Id::FieldRemoved if is_output => {
                "Consumers of the old version read it; if it was renamed, give it under both names for a while."
            }
            Id::FieldRemoved if is_major => "Callers of the old version send it, and it is no longer taken.",
            Id::FieldRemoved => "Callers of the old version may go on sending it; it is ignored.",
            Id::FieldMadeRequired if is_major => "Callers of the old version may leave it out.",
            Id::FieldMadeRequired => {
                "Consumers of the old version cope with its absence, which no longer occurs."
            }
            Id::FieldMadeOptional if is_major => "Consumers of the old version rely on it being there.",
            Id::FieldMadeOptional => "Callers of the old version go on sending it.",
            Id::TypeWidened | Id::CategoriesExtended | Id::RangeRelaxed if is_major => {
                "Consumers of the old version may meet values they cannot take."
            }
            Id::TypeWidened | Id::CategoriesExtended | Id::RangeRelaxed => {
                "All values of the old version are still taken."
            }
            Id::TypeNarrowed | Id::CategoriesNarrowed | Id::RangeTightened if is_major => {
                "Callers of the old version may send values that are no longer taken."
            }
            Id::TypeNarrowed | Id::CategoriesNarrowed | Id::RangeTightened => {
                "Consumers of the old version can take all values that still occur."
            }
            Id::TypeChanged => "Data of the old type is not data of the new type.",
            Id::DimensionFreed if is_major => "Consumers of the old version rely on the fixed size.",
            Id::DimensionFreed => "Tensors of the old size are still taken.",
            Id::DimensionFixed if is_major => "Callers of the old version may send other sizes.",
            Id::DimensionFixed => "Consumers of the old version take any size.",
            Id::DimensionChanged | Id::RankChanged => "Tensors of the old shape do not have the new shape.",
            Id::DimensionRenamed => "The name of a free dimension is only a remark.",
            Id::FieldsReordered | Id::FeaturesReordered => "They are matched by name.",
            Id::PositionsChanged => "They are matched by position.",
            Id::NullableAdded if is_major => "Consumers of the old version do not expect null.",
            Id::NullableAdded => "Callers of the old version never send null.",
            Id::NullableRemoved if is_major => "Callers of the old version may send null.",
            Id::NullableRemoved => "Consumers of the old version cope with null, which no longer occurs.",
            Id::UnitChanged => "The same value now means something else.",
            Id::DefaultChanged => "Callers that leave it out get another behaviour.",
            Id::DescriptionChanged => "Only people read it.",
            Id::FormChanged => "Columns and tensors are passed in different ways.",
            Id::NamingChanged => "Fields with and without names are passed in different ways.",
            Id::ContentOpened if is_major => "Consumers of the old version do not expect extra fields.",
            Id::ContentOpened => "Callers of the old version send no extra fields.",
            Id::ContentClosed if is_major => "Callers of the old version may send extra fields.",
            Id::ContentClosed => "Consumers of the old version ignore extra fields, which no longer occur.",
            Id::FeatureAdded => "The model knows more than it did.",
            Id::FeatureRemoved => "The model no longer uses what it was known to use.",
            Id::TransformChanged => "The feature has other values for the same data.",
            Id::FeatureSetChanged | Id::FeatureSetVersionChanged => "The features may have other values.",
            Id::FrameworkChanged => "Whoever loads the model needs another environment.",
            Id::AlgorithmChanged | Id::TrainingDataChanged => {
                "The model may answer differently in kind, not only in detail."
            }
            Id::DeclaredOnOneSide => {
                "It is recorded for one of the two versions only, so nothing could be compared."
            }
        }
    }
}

/// A recorded text that changed. Recorded on one side only, it proves no change.
pub(super) fn recorded(
    id: FindingId,
    path: &str,
    old: Option<String>,
    new: Option<String>,
    required: Bump,
) -> Option<Finding> {
    match (&old, &new) {
        _ if old == new => None,
        (Some(_), Some(_)) => Some(Finding::new(id, path, old, new, required)),
        _ => Some(Finding::new(FindingId::DeclaredOnOneSide, path, old, new, Bump::Patch)),
    }
}

/// Something larger that is recorded on one side only.
pub(super) fn one_sided<T>(path: &str, old: Option<T>, new: Option<T>) -> Option<Finding> {
    let shown = |part: Option<T>| part.map(|_| "recorded".to_owned());
    recorded(FindingId::DeclaredOnOneSide, path, shown(old), shown(new), Bump::Patch)
}

/// A description that changed, appeared or went away.
pub(super) fn described(path: &str, old: Option<String>, new: Option<String>) -> Option<Finding> {
    (old != new).then(|| Finding::new(FindingId::DescriptionChanged, path, old, new, Bump::Patch))
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(Finding::VALUE_CHARS_MAX) {
        None => text,
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
    }
}
