//! Why this exists: questions that cross models are answered through terms. Which events give which
//! terms is decided here, once; a question that no term answers costs a scan.

use crate::content::{Content, Manifest};
use crate::event::{Commit, Event};
use crate::lineage::Link;
use crate::name::{Key, ModelVersion, Text};
use crate::stream::Term;

/// The terms that a commit makes its stream findable by.
pub(crate) fn terms(commit: &Commit) -> Vec<Term> {
    let mut terms = Vec::new();
    commit.events.iter().for_each(|event| event_terms(event, &mut terms));
    terms.sort();
    terms.dedup();
    terms
}

fn event_terms(event: &Event, terms: &mut Vec<Term>) {
    match event {
        Event::VersionRegistered(registered) => {
            terms.push(Term::new("digest", &registered.digest.to_string()));
            content_terms(&registered.content, terms);
        }
        Event::StageChanged(change) => terms.push(Term::new("stage", change.to.as_str())),
        Event::AliasSet { alias, .. } => terms.push(Term::new("alias", alias.as_str())),
        Event::TagsChanged { set, .. } => set.keys().for_each(|key| terms.push(tag(key))),
        Event::Amended(amended) => {
            metadata_terms(&amended.metadata, terms);
            amended.links.iter().for_each(|link| link_terms(link, terms));
        }
        Event::Deprecated { .. } => terms.push(Term::new("is", "deprecated")),
        Event::PromotionRequested(_) => terms.push(Term::new("is", "awaiting-approval")),
        Event::FilesFound(found) => {
            terms.push(Term::new("digest", &found.digest.to_string()));
            file_terms(&found.artifacts, terms);
        }
        Event::Adopted(adopted) => event_terms(&adopted.change, terms),
        _ => {}
    }
}

/// The term that every model with this tag, on itself or on a version, is found by.
pub(crate) fn tag(key: &Key) -> Term {
    Term::new("tag", key.as_str())
}

/// The term that every model is found by which has a version made out of this one.
pub(crate) fn parent(version: &ModelVersion) -> Term {
    Term::new("parent", &version.to_string())
}

/// How many features of a version it is found by.
const FEATURE_TERMS_MAX: usize = 1_000;

/// The term that every model with more features than that is found by.
pub(crate) fn many_features() -> Term {
    Term::new("is", "many-features")
}

/// The term that every model with a version of this owner is found by.
pub(crate) fn owner(owner: &str) -> Term {
    Term::new("owner", owner)
}

fn content_terms(content: &Content, terms: &mut Vec<Term>) {
    terms.extend(content.tags.keys().map(tag));
    file_terms(&content.artifacts, terms);
    if let Some(features) = &content.features {
        if let Some(set) = features.set() {
            terms.push(Term::new("feature_set", set));
        }
        if FEATURE_TERMS_MAX < features.features().len() {
            terms.push(many_features());
        }
        terms.extend(
            features
                .features()
                .iter()
                .take(FEATURE_TERMS_MAX)
                .map(|feature| Term::new("feature", &feature.name)),
        );
    }
    metadata_terms(&content.metadata, terms);
    content.links.iter().for_each(|link| link_terms(link, terms));
}

/// What a version of these models was made with or out of. Evaluations are looked up by the version that they are of.
fn link_terms(link: &Link, terms: &mut Vec<Term>) {
    match link {
        Link::Input { kind, id, .. } => terms.push(Term::new(kind.term_key(), id.as_str())),
        Link::DerivedFrom { model, .. } => terms.push(parent(model)),
        Link::Evaluation { .. } => {}
    }
}

/// A version with very many files is found by its own digest; a term for each would be a flood.
fn file_terms(files: &Manifest, terms: &mut Vec<Term>) {
    const FILE_TERMS_MAX: usize = 64;
    if files.len() <= FILE_TERMS_MAX {
        terms.extend(files.iter().map(|file| Term::new("bytes", &file.digest.to_string())));
    }
}

fn metadata_terms(metadata: &crate::content::Metadata, terms: &mut Vec<Term>) {
    let texts = [
        ("algorithm", &metadata.algorithm),
        ("framework", &metadata.framework),
        ("data", &metadata.training_data_version),
        ("feature_engineering", &metadata.feature_engineering_version),
        ("experiment", &metadata.experiment),
        ("increment", &metadata.increment),
    ];
    for (key, text) in texts {
        terms.extend(text.as_ref().map(|text: &Text| Term::new(key, text.as_str())));
    }
    terms.extend(metadata.owner.as_ref().map(|name| owner(name.as_str())));
    terms.extend(metadata.parent_model.as_ref().map(parent));
}
