//! Why this exists: the tree of a filter. It is built in code from typed parts, so nothing that comes from a
//! user is ever pasted into a text, or parsed from one; and it prints as text that reads back as the same tree.
//!
//! A filter is never larger than what can be written and walked: its depth, its nodes and its length as text
//! are counted while it is put together.

use std::fmt;

use super::value::{
    Bare, DigestPrefix, Like, Literal as _, Moment, OneOf, ParamValue, Quoted, Relation, VersionMatch,
    is_word_char,
};
use crate::content::Finite;
use crate::invalid::Invalid;
use crate::name::Key;
use crate::stage::Stage;
use crate::version::Version;

/// Which versions are wanted: conditions, joined by `and`, `or` and `not`.
///
/// ```
/// use registry_core::search::{Condition, Filter, TextField, TextTest};
/// use registry_core::Stage;
///
/// let read: Filter = "stage = prod and tag.region = 'eu'".parse()?;
/// let built = Filter::all([
///     Filter::new(Condition::Stage(Stage::Production.into()))?,
///     Filter::new(Condition::Text(TextField::Tag("region".parse()?), TextTest::equal("eu")))?,
/// ])?;
/// assert_eq!(read, built);
/// assert_eq!(built.to_string(), "stage = production and tag.region = 'eu'");
/// # Ok::<(), registry_core::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub(super) node: Node,
    size: Size,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Is(Condition),
    Not(Box<Filter>),
    All(Vec<Filter>),
    Any(Vec<Filter>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    depth: usize,
    nodes: usize,
    bytes: usize,
}

impl Filter {
    /// How deep conditions may be nested.
    pub const DEPTH_MAX: usize = 64;
    /// How many conditions, and joints of conditions, there may be.
    pub const NODES_MAX: usize = 1_000;
    /// How long the text may be, in bytes.
    pub const BYTES_MAX: usize = 10_000;

    /// A condition by itself.
    pub fn new(condition: Condition) -> Result<Self, Invalid> {
        let mut counted = Counted(0);
        // Counting cannot fail.
        let _ = fmt::write(&mut counted, format_args!("{condition}"));
        Filter::sized(Node::Is(condition), Size { depth: 1, nodes: 1, bytes: counted.0 })
    }

    /// All of these hold. One alone stands for itself; there must be at least one.
    pub fn all(filters: impl IntoIterator<Item = Filter>) -> Result<Self, Invalid> {
        Filter::joined(filters, Node::All)
    }

    /// At least one of these holds. One alone stands for itself; there must be at least one.
    pub fn any(filters: impl IntoIterator<Item = Filter>) -> Result<Self, Invalid> {
        Filter::joined(filters, Node::Any)
    }

    /// This does not hold.
    pub fn negated(self) -> Result<Self, Invalid> {
        let inner = self.size;
        let parentheses = if self.is_joint() { 2 } else { 0 };
        let size = Size {
            depth: inner.depth + 1,
            nodes: inner.nodes + 1,
            bytes: inner.bytes + "not ".len() + parentheses,
        };
        Filter::sized(Node::Not(Box::new(self)), size)
    }

    fn joined(
        filters: impl IntoIterator<Item = Filter>,
        node: fn(Vec<Filter>) -> Node,
    ) -> Result<Self, Invalid> {
        let mut parts: Vec<Filter> = filters.into_iter().take(Filter::NODES_MAX + 1).collect();
        if parts.len() <= 1 {
            return parts.pop().ok_or_else(|| Invalid::new("filter", "", "has no condition"));
        }
        let word = if matches!(node(Vec::new()), Node::All(_)) { " and " } else { " or " };
        let mut size = Size { depth: 0, nodes: 1, bytes: word.len() * (parts.len() - 1) };
        for part in &parts {
            size.depth = size.depth.max(part.size.depth + 1);
            size.nodes = size.nodes.saturating_add(part.size.nodes);
            size.bytes = size.bytes.saturating_add(part.size.bytes + if part.is_joint() { 2 } else { 0 });
        }
        Filter::sized(node(parts), size)
    }

    fn sized(node: Node, size: Size) -> Result<Self, Invalid> {
        let refused = |problem: String| Err(Invalid::new("filter", "", problem));
        if Filter::DEPTH_MAX < size.depth {
            return refused(format!("is nested more than {} deep", Filter::DEPTH_MAX));
        }
        if Filter::NODES_MAX < size.nodes {
            let problem = format!(
                "has more than {} conditions and joints; ask in parts, or name many values with `in`",
                Filter::NODES_MAX
            );
            return refused(problem);
        }
        if Filter::BYTES_MAX < size.bytes {
            let problem = format!("is longer than {} bytes as text; ask in parts", Filter::BYTES_MAX);
            return refused(problem);
        }
        Ok(Filter { node, size })
    }

    fn is_joint(&self) -> bool {
        matches!(self.node, Node::All(_) | Node::Any(_))
    }
}

/// How long a text would be.
struct Counted(usize);

impl fmt::Write for Counted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, part: &Filter| match part.is_joint() {
            true => write!(f, "({part})"),
            false => part.fmt(f),
        };
        let (word, parts) = match &self.node {
            Node::Is(condition) => return condition.fmt(f),
            Node::Not(inner) => {
                f.write_str("not ")?;
                return part(f, inner);
            }
            Node::All(parts) => (" and ", parts),
            Node::Any(parts) => (" or ", parts),
        };
        for (index, inner) in parts.iter().enumerate() {
            if index != 0 {
                f.write_str(word)?;
            }
            part(f, inner)?;
        }
        Ok(())
    }
}

/// What is said of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// Of a text.
    Text(TextField, TextTest),
    /// Of a metric.
    Metric(Key, Test<Finite, Finite>),
    /// Of a hyperparameter.
    Param(String, ParamTest),
    /// Of the version's number.
    Version(Test<VersionMatch, Version>),
    /// Of the stage.
    Stage(OneOf<Stage>),
    /// Of an instant.
    Time(TimeField, Test<Moment, Moment>),
    /// Of the digest of the version, or of one of its files.
    Digest(OneOf<DigestPrefix>),
    /// Of what is either so or not.
    Flag(FlagField, bool),
}

/// A field that holds text, or several texts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextField {
    /// The model's name.
    Name,
    /// The value of a tag of the version or, if it has none of this key, of its model.
    Tag(Key),
    /// Who answers for the version.
    Owner,
    /// The names of its features.
    Feature,
    /// Its feature set, by its name and by its name with its version: `card` and `card:7`.
    FeatureSet,
    /// The version of its training data.
    Data,
    /// The experiment or run that made it.
    Experiment,
    /// The version it was derived from: `fraud@v3.0.0`.
    Parent,
    /// Its algorithm.
    Algorithm,
    /// Its framework.
    Framework,
    /// The aliases that point to it.
    Alias,
    /// The model's name and description, and the version's description, algorithm, framework and tags. It is
    /// equal to whatever occurs in one of them, in any case.
    Text,
}

/// A field that holds an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeField {
    /// When it was registered.
    Created,
    /// When it entered the stage that it is in, if that is staging or production.
    Promoted,
}

/// A field that holds yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlagField {
    /// It should no longer be used.
    Deprecated,
    /// It must not be promoted.
    Quarantined,
    /// It is hidden. A filter that names this field looks at deleted versions too.
    Deleted,
}

/// What is demanded of a field that is compared, and ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test<E, O> {
    /// The version has it.
    Present,
    /// It is equal to one of some values, or to none.
    OneOf(OneOf<E>),
    /// It lies so to a value.
    Ordered(Relation, O),
}

/// What is demanded of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextTest {
    /// The version has it.
    Present,
    /// It is equal to one of some texts, or to none.
    OneOf(OneOf<String>),
    /// It fits a pattern, or does not.
    Like(Like),
}

impl TextTest {
    /// Equal to this text.
    pub fn equal(text: impl Into<String>) -> Self {
        TextTest::OneOf(text.into().into())
    }
}

/// What is demanded of a hyperparameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamTest {
    /// The version has it.
    Present,
    /// It is equal to one of some values, or to none.
    OneOf(OneOf<ParamValue>),
    /// It is a number that lies so to another.
    Ordered(Relation, Finite),
    /// It is a text that fits a pattern, or one that does not.
    Like(Like),
}

/// A field with a key.
pub(super) struct Keyed<'a>(pub(super) &'static str, pub(super) &'a str);

impl fmt::Display for Keyed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keyed(field, key) = self;
        if !key.is_empty() && key.chars().all(is_word_char) {
            return write!(f, "{field}.{key}");
        }
        write!(f, "{field}.{}", Quoted(key))
    }
}

impl fmt::Display for TextField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextField::Name => "name",
            TextField::Tag(key) => return Keyed("tag", key.as_str()).fmt(f),
            TextField::Owner => "owner",
            TextField::Feature => "feature",
            TextField::FeatureSet => "feature_set",
            TextField::Data => "data",
            TextField::Experiment => "experiment",
            TextField::Parent => "parent",
            TextField::Algorithm => "algorithm",
            TextField::Framework => "framework",
            TextField::Alias => "alias",
            TextField::Text => "text",
        })
    }
}

impl fmt::Display for TimeField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeField::Created => "created",
            TimeField::Promoted => "promoted",
        })
    }
}

impl fmt::Display for FlagField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlagField::Deprecated => "deprecated",
            FlagField::Quarantined => "quarantined",
            FlagField::Deleted => "deleted",
        })
    }
}

/// A test after the name of its field, with a space between, where there is one.
impl<E: super::value::Literal, O: super::value::Literal> fmt::Display for Test<E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Present => Ok(()),
            Test::OneOf(values) => write!(f, " {values}"),
            Test::Ordered(relation, bound) => {
                write!(f, " {} ", relation.as_str())?;
                bound.write(f)
            }
        }
    }
}

impl fmt::Display for TextTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextTest::Present => Ok(()),
            TextTest::OneOf(values) => write!(f, " {values}"),
            TextTest::Like(like) => write!(f, " {like}"),
        }
    }
}

impl fmt::Display for ParamTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamTest::Present => Ok(()),
            ParamTest::OneOf(values) => write!(f, " {values}"),
            ParamTest::Ordered(relation, bound) => {
                write!(f, " {} ", relation.as_str())?;
                bound.write(f)
            }
            ParamTest::Like(like) => write!(f, " {like}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Text(field, test) => write!(f, "{field}{test}"),
            Condition::Metric(key, test) => write!(f, "{}{test}", Keyed("metric", key.as_str())),
            Condition::Param(key, test) => write!(f, "{}{test}", Keyed("param", key)),
            Condition::Version(test) => write!(f, "version{test}"),
            Condition::Stage(stages) => write!(f, "stage {stages}"),
            Condition::Time(field, test) => write!(f, "{field}{test}"),
            Condition::Digest(digests) => write!(f, "digest {digests}"),
            Condition::Flag(field, true) => field.fmt(f),
            Condition::Flag(field, false) => write!(f, "{field} = {}", Bare(false)),
        }
    }
}
