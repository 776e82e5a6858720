//! Why this exists: which documents there are is decided here, from what was read and what was asked for, before a file
//! is touched. That is what makes `--check` and a rewriting the same thing.

use registry_core::{Artifact, ArtifactPath, Error, Key, Text};

use crate::document::Document;
use crate::record::ModelRecord;
use crate::{card, index, page, place, tree};

/// What there shall be a document of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// All models: also what is about all of them is written, the index and, with a tree, the catalog.
    #[default]
    AllModels,
    /// Some models: nothing is written that is about all of them.
    SomeModels,
}

/// Which documents are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether what was read is everything.
    pub choice: Choice,
    /// A model card a version.
    pub cards: bool,
    /// What was registered, as a tree of files.
    pub tree: bool,
    /// The files of the versions too, in the tree.
    pub files: bool,
    /// Cards and tree only of what was made in this increment; `0042` is also `0042-fraud-detection`.
    pub increment: Option<Text>,
    /// The metric in the history of versions; none for `accuracy`, or the one that most versions have.
    pub metric: Option<Key>,
}

/// A file that shall be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where it lies in the folder. The type rules out that it leaves it.
    pub path: ArtifactPath,
    /// What is in it.
    pub content: OutputContent,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputContent {
    /// Generated parts, around which people write.
    Document(Document),
    /// A text that is generated whole.
    Whole(String),
    /// A registered file.
    Artifact(Artifact),
}

/// The files that shall be there for these records. The same records and options give the same files.
pub fn outputs(records: &[ModelRecord], options: &Options) -> Result<Vec<Output>, Error> {
    let mut outputs = Vec::new();
    let document = |path, document| Output { path, content: OutputContent::Document(document) };
    let path = |text: &str| text.parse::<ArtifactPath>();
    if options.choice == Choice::AllModels {
        outputs.push(document(path("index.md")?, index::index(records)?));
    }
    for record in records {
        let path = place::path("pages", &place::stem(&record.model), ".md")?;
        outputs.push(document(path, page::page(record, options.metric.as_ref())));
    }
    let chosen = tree::chosen(records, options.increment.as_ref());
    for (record, versions) in &chosen {
        for version in versions {
            if options.cards {
                let path =
                    place::path("cards", &place::version_stem(&record.model, &version.version), ".md")?;
                outputs.push(document(path, card::card(record, version)?));
            }
            if options.tree {
                outputs.extend(tree::folder(&record.model, version, options.files)?);
            }
        }
    }
    if options.tree && options.choice == Choice::AllModels {
        let whole = |path, text| Output { path, content: OutputContent::Whole(text) };
        outputs.push(whole(path("registry/model_catalog.yaml")?, tree::catalog(&chosen)?));
        outputs.push(whole(path("registry/lineage_graph.json")?, tree::lineage(&chosen)?));
        outputs.push(document(path("registry/deployment_history.md")?, tree::deployments(&chosen)));
    }
    Ok(outputs)
}
