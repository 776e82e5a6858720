//! Why this exists: a filter is evaluated on the states of models, and looking at all models is slow where a
//! look is a request. This module says which models need not be looked at: those that none of some names and
//! terms lead to. It may let through too many, never too few.
//!
//! A term was true once and need not be so any more, which is too many at worst. But some things have no term,
//! and a condition that could be true of them narrows nothing down: a version starts in development without a
//! change of stage, patterns and orders have no terms, and whatever is negated is true of models that no term
//! leads to. Versions with very many files or features are found by a term of their own, see
//! [`terms`](crate::terms).

use std::collections::BTreeSet;

use super::filter::{Condition, Filter, FlagField, Node, TextField, TextTest};
use super::value::{DigestPrefix, OneOf};
use crate::lineage::InputKind;
use crate::name::ModelName;
use crate::stage::Stage;
use crate::stream::Term;
use crate::terms;

/// How many terms are asked for at most. Beyond that a look at every model is no dearer.
const TERMS_MAX: usize = 100;

/// What leads to all models that may hold a match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Leads {
    pub(super) names: BTreeSet<ModelName>,
    pub(super) terms: BTreeSet<Term>,
    /// How much is likely to be found by the least telling of them; less is better.
    rank: u8,
}

impl Leads {
    fn terms(rank: u8, terms: impl IntoIterator<Item = Term>) -> Option<Self> {
        let terms: BTreeSet<Term> = terms.into_iter().take(TERMS_MAX + 1).collect();
        (terms.len() <= TERMS_MAX).then_some(Leads { names: BTreeSet::new(), terms, rank })
    }

    fn cost(&self) -> (u8, usize) {
        (self.rank, self.terms.len() + self.names.len())
    }
}

impl Filter {
    /// What leads to the models that may hold a match; none if that could be any.
    pub(super) fn leads(&self) -> Option<Leads> {
        match &self.node {
            Node::Is(condition) => condition.leads(),
            Node::Not(_) => None,
            Node::All(parts) => parts.iter().filter_map(Filter::leads).min_by_key(Leads::cost),
            Node::Any(parts) => {
                let mut union = Leads::default();
                for part in parts {
                    let mut leads = part.leads()?;
                    union.names.append(&mut leads.names);
                    union.terms.append(&mut leads.terms);
                    union.rank = union.rank.max(leads.rank);
                }
                (union.terms.len() <= TERMS_MAX).then_some(union)
            }
        }
    }
}

impl Condition {
    fn leads(&self) -> Option<Leads> {
        let (field, test) = match self {
            Condition::Text(field, test) => (field, test),
            Condition::Digest(digests) => return digest_leads(digests),
            Condition::Stage(stages) => {
                let wanted = |stage: &Stage| stages.passes([*stage], |found, wanted| found == wanted);
                let wanted: Vec<Stage> = Stage::ALL.into_iter().filter(wanted).collect();
                if wanted.contains(&Stage::Development) {
                    return None;
                }
                return Leads::terms(4, wanted.into_iter().map(terms::stage));
            }
            Condition::Flag(FlagField::Deprecated, true) => return Leads::terms(4, [terms::deprecated()]),
            _ => return None,
        };
        // Whatever is demanded of a tag, there must be one.
        if let TextField::Tag(key) = field {
            return Leads::terms(2, [terms::tag(key)]);
        }
        let TextTest::OneOf(values) = test else { return None };
        if values.is_negated() {
            return None;
        }
        let values = values.values().iter();
        let (rank, key) = match field {
            TextField::Name => {
                // What is no name is the name of no model.
                let names = values.filter_map(|name| name.parse().ok()).collect();
                return Some(Leads { names, terms: BTreeSet::new(), rank: 0 });
            }
            TextField::Feature => {
                let terms = values.map(|feature| terms::feature(feature));
                return Leads::terms(2, terms.chain([terms::many_features()]));
            }
            TextField::FeatureSet => return named(InputKind::FeatureSet, values),
            TextField::Data => return named(InputKind::Data, values),
            TextField::Experiment => return named(InputKind::Experiment, values),
            TextField::Parent => (1, "parent"),
            TextField::Owner => (2, "owner"),
            TextField::Algorithm => (3, "algorithm"),
            TextField::Framework => (3, "framework"),
            TextField::Alias => (4, "alias"),
            TextField::Tag(_) | TextField::Text => return None,
        };
        Leads::terms(rank, values.map(|value| Term::new(key, value)))
    }
}

/// Things are found by their names. A name may stand before any of the colons, or hold them all.
fn named<'a>(kind: InputKind, values: impl Iterator<Item = &'a String>) -> Option<Leads> {
    let names = values.flat_map(|value| {
        let before_colons = value.match_indices(':').filter_map(|(colon, _)| value.get(..colon));
        before_colons.chain([value.as_str()])
    });
    Leads::terms(2, names.map(|name| Term::new(kind.term_key(), name)))
}

fn digest_leads(digests: &OneOf<DigestPrefix>) -> Option<Leads> {
    if digests.is_negated() {
        return None;
    }
    let mut wanted = vec![terms::many_files()];
    for prefix in digests.values() {
        let digest = prefix.whole()?;
        wanted.extend([terms::version_digest(&digest), terms::file_digest(&digest)]);
    }
    Leads::terms(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(filter: &str) -> Option<Vec<String>> {
        let leads = filter.parse::<Filter>().unwrap().leads()?;
        let names = leads.names.iter().map(|name| format!("name {name}"));
        Some(names.chain(leads.terms.iter().map(ToString::to_string)).collect())
    }

    #[test]
    fn the_most_telling_part_leads() {
        let digest = crate::Digest::of(b"abc");
        for (filter, expected) in [
            ("tag.a", vec!["tag=a"]),
            ("tag.a != 'x'", vec!["tag=a"]),
            ("tag.a not like 'x%' and stage = prod", vec!["tag=a"]),
            ("stage = prod and owner = 'ann'", vec!["owner=ann"]),
            ("owner in ('ann', 'ben')", vec!["owner=ann", "owner=ben"]),
            ("owner in ('ann', 'ben') and data = 'd1'", vec!["data=d1"]),
            ("framework = 'x' or alias = 'y'", vec!["alias=y", "framework=x"]),
            ("stage in (staging, archived)", vec!["stage=archived", "stage=staging"]),
            ("stage not in (dev, staging)", vec!["stage=archived", "stage=production"]),
            ("deprecated and algorithm = 'x'", vec!["algorithm=x"]),
            ("name = 'a' and tag.b", vec!["name a"]),
            ("name in ('a', 'b') or tag.c", vec!["name a", "name b", "tag=c"]),
            ("name = 'a/b'", vec![]),
            ("parent = 'a@v1' and tag.b", vec!["parent=a@v1.0.0"]),
            ("feature = 'f'", vec!["feature=f", "is=many-features"]),
            ("feature_set = 'a:b:c'", vec!["feature_set=a", "feature_set=a:b", "feature_set=a:b:c"]),
            ("metric.x > 1 and (tag.a or tag.b)", vec!["tag=a", "tag=b"]),
        ] {
            assert_eq!(leads(filter).unwrap(), expected, "{filter}");
        }
        let whole = format!("digest = {digest} and tag.a");
        let expected = [format!("bytes={digest}"), format!("digest={digest}"), "is=many-files".to_owned()];
        assert_eq!(leads(&whole).unwrap(), expected);
    }

    #[test]
    fn what_could_be_true_of_any_model_does_not_lead() {
        for filter in [
            "stage = dev",
            "stage != prod",
            "stage in (dev, prod)",
            "not tag.a",
            "tag.a or metric.x > 1",
            "owner != 'ann'",
            "owner like 'ann'",
            "owner",
            "feature not in ('f')",
            "digest = ba7816bf",
            "not deprecated",
            "deprecated = false",
            "text = 'x'",
            "quarantined",
            "version = '^3'",
            "created > 2024-01-01",
        ] {
            assert_eq!(leads(filter), None, "{filter}");
        }
        let many: Vec<String> = (0..=TERMS_MAX).map(|number| format!("'{number}'")).collect();
        assert_eq!(leads(&format!("owner in ({})", many.join(", "))), None);
    }
}
