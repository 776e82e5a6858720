//! Why this exists: what a filter means for a version. A field that a version lacks is in no relation to
//! anything: every comparison with it is false, `!=` and `not in` as well, and `not` makes true of it as of
//! anything false. So there is no third truth value, and no surprise beyond that one rule.

use super::filter::{Condition, Filter, FlagField, Node, ParamTest, Test, TextField, TextTest, TimeField};
use super::value::{ParamValue, folded};
use crate::content::Content;
use crate::features::FeatureSchema;
use crate::lineage::{InputKind, Link, parents};
use crate::name::{Actor, Key, ModelName, Text};
use crate::stage::Stage;
use crate::state::{ModelState, VersionState};
use crate::time::Timestamp;

/// A version and where it is found.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) name: &'a ModelName,
    pub(super) model: &'a ModelState,
    pub(super) version: &'a VersionState,
}

impl Filter {
    /// Whether a version of a model is wanted.
    pub fn matches(&self, name: &ModelName, model: &ModelState, version: &VersionState) -> bool {
        self.holds(&Subject { name, model, version })
    }

    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        match &self.node {
            Node::Is(condition) => condition.holds(subject),
            Node::Not(inner) => !inner.holds(subject),
            Node::All(parts) => parts.iter().all(|part| part.holds(subject)),
            Node::Any(parts) => parts.iter().any(|part| part.holds(subject)),
        }
    }

    /// What the name of a model alone says about all its versions; none if it does not tell. Spares the look
    /// at a model whose name is not wanted.
    pub(super) fn by_name(&self, name: &ModelName) -> Option<bool> {
        /// The outcome that decides; the other one if all parts have it; else none.
        fn decided(parts: &[Filter], name: &ModelName, decides: bool) -> Option<bool> {
            let mut all_known = true;
            for part in parts {
                match part.by_name(name) {
                    Some(outcome) if outcome == decides => return Some(decides),
                    Some(_) => {}
                    None => all_known = false,
                }
            }
            all_known.then_some(!decides)
        }
        match &self.node {
            Node::Is(Condition::Text(TextField::Name, test)) => Some(test.passes([name.as_str()])),
            Node::Is(_) => None,
            Node::Not(inner) => inner.by_name(name).map(|outcome| !outcome),
            Node::All(parts) => decided(parts, name, false),
            Node::Any(parts) => decided(parts, name, true),
        }
    }

    /// Whether the filter speaks of deleted versions, so that they must be looked at.
    pub(super) fn names_deleted(&self) -> bool {
        match &self.node {
            Node::Is(condition) => matches!(condition, Condition::Flag(FlagField::Deleted, _)),
            Node::Not(inner) => inner.names_deleted(),
            Node::All(parts) | Node::Any(parts) => parts.iter().any(Filter::names_deleted),
        }
    }
}

impl Condition {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let Subject { version, .. } = subject;
        let content = &version.content;
        match self {
            Condition::Text(field, test) => subject.passes(field, test),
            Condition::Metric(key, test) => {
                let found = content.metrics.get(key).map(|metric| metric.value);
                match test {
                    Test::Present => found.is_some(),
                    Test::OneOf(values) => values.passes(found, |found, wanted| found == wanted),
                    Test::Ordered(relation, bound) => {
                        found.is_some_and(|found| relation.holds(&found, bound))
                    }
                }
            }
            Condition::Param(key, test) => test.passes(content.metadata.hyperparameters.get(key)),
            Condition::Version(test) => match test {
                Test::Present => true,
                Test::OneOf(values) => {
                    values.passes([&version.version], |found, wanted| wanted.matches(found))
                }
                Test::Ordered(relation, bound) => relation.holds(&version.version, bound),
            },
            Condition::Stage(stages) => stages.passes([version.stage], |found, wanted| found == wanted),
            Condition::Time(field, test) => {
                let found = subject.instant(*field);
                match test {
                    Test::Present => found.is_some(),
                    Test::OneOf(values) => values.passes(found, |found, wanted| wanted.contains(*found)),
                    Test::Ordered(relation, bound) => found.is_some_and(|found| bound.lies(*relation, found)),
                }
            }
            Condition::Digest(digests) => {
                let files = content.artifacts.iter().map(|file| &file.digest);
                digests
                    .passes([&version.digest].into_iter().chain(files), |found, wanted| wanted.matches(found))
            }
            Condition::Flag(field, expected) => {
                let found = match field {
                    FlagField::Deprecated => version.deprecated.is_some(),
                    FlagField::Quarantined => version.quarantined.is_some(),
                    FlagField::Deleted => version.deleted.is_some(),
                };
                found == *expected
            }
        }
    }
}

impl TextTest {
    fn passes<'a>(&self, found: impl IntoIterator<Item = &'a str>) -> bool {
        match self {
            TextTest::Present => found.into_iter().next().is_some(),
            TextTest::OneOf(values) => values.passes(found, |found, wanted| *found == wanted.as_str()),
            TextTest::Like(like) => like.passes(found),
        }
    }
}

impl ParamTest {
    fn passes(&self, found: Option<&serde_json::Value>) -> bool {
        match self {
            ParamTest::Present => found.is_some(),
            ParamTest::OneOf(values) => {
                let found = found.and_then(ParamValue::of);
                values.passes(found, |found, wanted| found == wanted)
            }
            ParamTest::Ordered(relation, bound) => match found.and_then(ParamValue::of) {
                Some(ParamValue::Number(found)) => relation.holds(&found, bound),
                _ => false,
            },
            ParamTest::Like(like) => like.passes(found.and_then(serde_json::Value::as_str)),
        }
    }
}

/// What a version was made with by its links: the name of each thing, and its name with its version.
fn linked(content: &Content, wanted: InputKind) -> Vec<String> {
    let mut texts = Vec::new();
    for link in &content.links {
        if let Link::Input { kind, id, version, .. } = link
            && *kind == wanted
        {
            texts.push(id.to_string());
            texts.extend(version.as_ref().map(|version| format!("{id}:{version}")));
        }
    }
    texts
}

fn texts(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(String::as_str)
}

impl<'a> Subject<'a> {
    /// The value of a tag: the version's own stands before its model's.
    pub(super) fn tag(&self, key: &Key) -> Option<&'a str> {
        let found = self.version.content.tags.get(key).or_else(|| self.model.tags.get(key));
        found.map(String::as_str)
    }

    pub(super) fn instant(&self, field: TimeField) -> Option<Timestamp> {
        match field {
            TimeField::Created => Some(self.version.registered.at),
            TimeField::Promoted => matches!(self.version.stage, Stage::Staging | Stage::Production)
                .then_some(self.version.staged.at),
        }
    }

    fn passes(&self, field: &TextField, test: &TextTest) -> bool {
        let content = &self.version.content;
        let (metadata, features) = (&content.metadata, content.features.as_ref());
        let of = |text: &'a Option<Text>| text.as_ref().map(Text::as_str);
        match field {
            TextField::Name => test.passes([self.name.as_str()]),
            TextField::Tag(key) => test.passes(self.tag(key)),
            TextField::Owner => test.passes(metadata.owner.as_ref().map(Actor::as_str)),
            TextField::Feature => {
                let features = features.into_iter().flat_map(FeatureSchema::features);
                test.passes(features.map(|feature| feature.name.as_str()))
            }
            TextField::FeatureSet => {
                let versioned = features.and_then(FeatureSchema::versioned_set);
                let name = features.and_then(FeatureSchema::set);
                let linked = linked(content, InputKind::FeatureSet);
                test.passes(name.into_iter().chain(versioned.as_deref()).chain(texts(&linked)))
            }
            TextField::Data => {
                let linked = linked(content, InputKind::Data);
                test.passes(of(&metadata.training_data_version).into_iter().chain(texts(&linked)))
            }
            TextField::Experiment => {
                let linked = linked(content, InputKind::Experiment);
                test.passes(of(&metadata.experiment).into_iter().chain(texts(&linked)))
            }
            TextField::Parent => {
                let parents: Vec<String> = parents(content).keys().map(ToString::to_string).collect();
                test.passes(parents.iter().map(String::as_str))
            }
            TextField::Algorithm => test.passes(of(&metadata.algorithm)),
            TextField::Framework => test.passes(of(&metadata.framework)),
            TextField::Alias => {
                let pointing = self.model.aliases.iter();
                let pointing = pointing.filter(|(_, target)| **target == self.version.version);
                test.passes(pointing.map(|(alias, _)| alias.as_str()))
            }
            TextField::Text => self.has_text(test),
        }
    }

    /// The test of all that is said about a version in words: equal is what occurs in it.
    fn has_text(&self, test: &TextTest) -> bool {
        let content = &self.version.content;
        let metadata = &content.metadata;
        let said = [&self.model.description, &content.description, &metadata.algorithm, &metadata.framework];
        let said = said.into_iter().flatten().map(Text::as_str);
        let tags = content.tags.iter().chain(&self.model.tags);
        let tags = tags.flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        let mut texts = [self.name.as_str()].into_iter().chain(said).chain(tags);
        match test {
            TextTest::Present => true,
            TextTest::OneOf(values) => {
                let parts: Vec<String> = values.values().iter().map(|part| folded(part)).collect();
                let occurs = |text: &str| {
                    let text = folded(text);
                    parts.iter().any(|part| text.contains(part.as_str()))
                };
                texts.any(occurs) != values.is_negated()
            }
            TextTest::Like(like) => like.passes(texts),
        }
    }
}
