//! Why this exists: questions that cross models are answered through terms. Which events give which
//! terms is decided here, once; a question that no term answers costs a scan.

use crate::content::{Content, Manifest};
use crate::digest::Digest;
use crate::event::{Commit, Event};
use crate::lineage::Link;
use crate::name::{Key, ModelVersion, Text};
use crate::stage::Stage;
use crate::stream::Term;

/// How many features of a version have a term each.
const FEATURE_TERMS_MAX: usize = 1_000;
/// How many files a version may have for each to have a term.
const FILE_TERMS_MAX: usize = 64;

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
            terms.push(version_digest(&registered.digest));
            content_terms(&registered.content, terms);
        }
        Event::StageChanged(change) => terms.push(stage(change.to)),
        Event::AliasSet { alias, .. } => terms.push(Term::new("alias", alias.as_str())),
        Event::TagsChanged { set, .. } => set.keys().for_each(|key| terms.push(tag(key))),
        Event::Amended(amended) => {
            metadata_terms(&amended.metadata, terms);
            amended.links.iter().for_each(|link| link_terms(link, terms));
        }
        Event::Deprecated { .. } => terms.push(deprecated()),
        Event::PromotionRequested(_) => terms.push(Term::new("is", "awaiting-approval")),
        Event::FilesFound(found) => {
            terms.push(version_digest(&found.digest));
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

/// The term that every model is found by of which a version was moved to this stage. A version is in
/// development at first without being moved.
pub(crate) fn stage(stage: Stage) -> Term {
    Term::new("stage", stage.as_str())
}

/// The term that every model with a deprecated version is found by.
pub(crate) fn deprecated() -> Term {
    Term::new("is", "deprecated")
}

/// The term that every model with a version of this digest is found by.
pub(crate) fn version_digest(digest: &Digest) -> Term {
    Term::new("digest", &digest.to_string())
}

/// The term that a model is found by that has a file of this digest, in a version that has not very many
/// files; the others have [`many_files`].
pub(crate) fn file_digest(digest: &Digest) -> Term {
    Term::new("bytes", &digest.to_string())
}

/// The term that every model is found by that has a version with too many files for a term each.
pub(crate) fn many_files() -> Term {
    Term::new("is", "many-files")
}

/// The term that a model is found by that has this feature, in a version that has not very many features; the
/// others have [`many_features`] as well.
pub(crate) fn feature(name: &str) -> Term {
    Term::new("feature", name)
}

/// The term that every model is found by that has a version with too many features for a term each.
pub(crate) fn many_features() -> Term {
    Term::new("is", "many-features")
}

/// The term that every model with a version of this feature set, whichever version of it, is found by.
fn feature_set(name: &str) -> Term {
    Term::new("feature_set", name)
}

/// The term that every model with a version out of this experiment is found by.
pub(crate) fn experiment(name: &str) -> Term {
    Term::new("experiment", name)
}

/// The term that every model is found by which has a version made out of this one.
pub(crate) fn parent(version: &ModelVersion) -> Term {
    Term::new("parent", &version.to_string())
}

fn content_terms(content: &Content, terms: &mut Vec<Term>) {
    terms.extend(content.tags.keys().map(tag));
    file_terms(&content.artifacts, terms);
    if let Some(features) = &content.features {
        terms.extend(features.set().map(feature_set));
        let names = features.features().iter().map(|feature| feature.name.as_str());
        terms.extend(names.take(FEATURE_TERMS_MAX).map(feature));
        if FEATURE_TERMS_MAX < features.features().len() {
            terms.push(many_features());
        }
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

/// A version with very many files is found by that; a term for each would be a flood.
fn file_terms(files: &Manifest, terms: &mut Vec<Term>) {
    if FILE_TERMS_MAX < files.len() {
        terms.push(many_files());
    } else {
        terms.extend(files.iter().map(|file| file_digest(&file.digest)));
    }
}

fn metadata_terms(metadata: &crate::content::Metadata, terms: &mut Vec<Term>) {
    let texts = [
        ("algorithm", &metadata.algorithm),
        ("framework", &metadata.framework),
        ("data", &metadata.training_data_version),
        ("feature_engineering", &metadata.feature_engineering_version),
        ("increment", &metadata.increment),
    ];
    for (key, text) in texts {
        terms.extend(text.as_ref().map(|text: &Text| Term::new(key, text.as_str())));
    }
    terms.extend(metadata.experiment.as_ref().map(|name| experiment(name.as_str())));
    terms.extend(metadata.owner.as_ref().map(|owner| Term::new("owner", owner.as_str())));
    terms.extend(metadata.parent_model.as_ref().map(parent));
}
