//! Why this exists: tools and people that know no registry read folders. What was registered lies here as files, a folder
//! a version, beside a catalog, the graph of what was made of what, and the history of deployments.
//!
//! JSON and YAML have no fences: these files are generated whole, and whatever is written into them is lost.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::lineage::Graph;
use registry_core::markdown::text;
use registry_core::{
    AliasName, ArtifactPath, Digest, Invalid, Key, ModelName, Stage, Tags, Text, Timestamp, Version,
    VersionState,
};
use serde::Serialize;

use crate::card::yaml;
use crate::document::{Document, Mark};
use crate::output::{Output, OutputContent};
use crate::place;
use crate::record::ModelRecord;
use crate::words::{listed, short_or_nothing, stage, table};

/// The most rows of a table.
const ROWS_MAX: usize = 10_000;

/// The versions that a tree is made of, by their models.
pub(crate) type Chosen<'a> = Vec<(&'a ModelRecord, Vec<&'a VersionState>)>;

/// The versions that are not deleted and belong to an increment: `0042` is also `0042-fraud-detection`.
pub(crate) fn chosen<'a>(records: &'a [ModelRecord], increment: Option<&Text>) -> Chosen<'a> {
    let belongs = |version: &&VersionState| {
        let Some(wanted) = increment else { return true };
        let of = version.content.metadata.increment.as_ref();
        of.and_then(|of| of.as_str().strip_prefix(wanted.as_str()))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let versions = |record: &'a ModelRecord| {
        let kept = record.state.versions().map(|version| &**version);
        kept.filter(|version| version.deleted.is_none()).filter(belongs).collect::<Vec<_>>()
    };
    let all = records.iter().map(|record| (record, versions(record)));
    all.filter(|(_, versions)| increment.is_none() || !versions.is_empty()).collect()
}

/// The folder of a version: what was registered with it and, if asked for, its files.
pub(crate) fn folder(
    model: &ModelName,
    version: &VersionState,
    with_files: bool,
) -> Result<Vec<Output>, registry_core::Error> {
    let folder = place::path("models", &place::version_stem(model, &version.version), "")?;
    let within =
        |path: &ArtifactPath| -> Result<ArtifactPath, Invalid> { format!("{folder}/{path}").parse() };
    let mut outputs = Vec::new();
    let mut taken = Taken::default();
    for artifact in version.content.artifacts.iter().filter(|_| with_files) {
        taken.take(&artifact.path);
        let path = within(&artifact.path)?;
        outputs.push(Output { path, content: OutputContent::Artifact(artifact.clone()) });
    }
    // Where the version has a file of that name itself, its file stands.
    for (path, text) in registry_files::descriptions(version)? {
        if taken.take(&path) {
            outputs.push(Output { path: within(&path)?, content: OutputContent::Whole(text) });
        }
    }
    Ok(outputs)
}

/// Names that are used up: of files, and of the folders above them.
#[derive(Default)]
struct Taken {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Taken {
    /// Takes the name of a file, if it can stand beside the others.
    fn take(&mut self, path: &ArtifactPath) -> bool {
        let mut folders = Vec::new();
        let mut above = path.parent();
        while let Some(folder) = above {
            folders.push(folder.to_owned());
            above = folder.rsplit_once('/').map(|(parent, _)| parent);
        }
        let is_free = !self.files.contains(path.as_str())
            && !self.folders.contains(path.as_str())
            && folders.iter().all(|folder| !self.files.contains(folder));
        if is_free {
            self.files.insert(path.to_string());
            self.folders.extend(folders);
        }
        is_free
    }
}

#[derive(Serialize)]
struct Catalog<'a> {
    models: Vec<CatalogModel<'a>>,
}

#[derive(Serialize)]
struct CatalogModel<'a> {
    name: &'a ModelName,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Text>,
    production: Option<&'a Version>,
    latest: Option<&'a Version>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    aliases: &'a BTreeMap<AliasName, Version>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a Tags,
    versions: Vec<CatalogVersion<'a>>,
}

#[derive(Serialize)]
struct CatalogVersion<'a> {
    version: &'a Version,
    stage: Stage,
    digest: Digest,
    registered: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployed: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    increment: Option<&'a Text>,
    is_deprecated: bool,
    is_quarantined: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<&'a Key, f64>,
    folder: ArtifactPath,
}

/// What there is, for programs.
pub(crate) fn catalog(chosen: &Chosen<'_>) -> Result<String, Invalid> {
    let mut models = Vec::with_capacity(chosen.len());
    for (record, of_record) in chosen {
        let state = &record.state;
        let mut versions = Vec::with_capacity(of_record.len());
        for version in of_record.iter().rev() {
            versions.push(CatalogVersion {
                version: &version.version,
                stage: version.stage,
                digest: version.digest,
                registered: version.registered.at,
                deployed: record.deployed(&version.version).map(|span| span.since.at),
                increment: version.content.metadata.increment.as_ref(),
                is_deprecated: version.deprecated.is_some(),
                is_quarantined: version.quarantined.is_some(),
                metrics: version
                    .content
                    .metrics
                    .iter()
                    .map(|(name, metric)| (name, metric.value.get()))
                    .collect(),
                folder: place::path("models", &place::version_stem(&record.model, &version.version), "")?,
            });
        }
        models.push(CatalogModel {
            name: &record.model,
            description: state.description.as_ref(),
            production: state.production.as_ref(),
            latest: state.latest(false).map(|version| &version.version),
            aliases: &state.aliases,
            tags: &state.tags,
            versions,
        });
    }
    yaml(&Catalog { models })
}

/// What was made of what, for programs.
pub(crate) fn lineage(chosen: &Chosen<'_>) -> Result<String, Invalid> {
    let mut graph = Graph::new();
    for (record, versions) in chosen {
        for version in versions {
            graph.add(&record.model, version);
        }
    }
    let text = serde_json::to_string_pretty(&graph);
    text.map(|text| text + "\n").map_err(|error| Invalid::new("document", "lineage graph", error.to_string()))
}

/// What came into production and went out of it, the last first.
pub(crate) fn deployments(chosen: &Chosen<'_>) -> Document {
    let mut moves = Vec::new();
    for (record, versions) in chosen {
        let is_chosen = |version: &Version| versions.iter().any(|chosen| chosen.version == *version);
        let of_record =
            record.moves.iter().filter(|moved| moved.is_deployment() && is_chosen(&moved.change.version));
        moves.extend(of_record.map(|moved| (&record.model, moved)));
    }
    // Later ones first; in one commit what came in before what went out.
    moves.sort_by(|(model_a, a), (model_b, b)| {
        let key = |moved: &crate::record::Move| {
            (moved.stamp.at, moved.stamp.revision, moved.change.to == Stage::Production)
        };
        key(b).cmp(&key(a)).then_with(|| model_a.cmp(model_b))
    });
    let all = moves.len();
    let rows = moves.into_iter().take(ROWS_MAX).map(|(model, moved)| {
        let change = &moved.change;
        [
            moved.stamp.at.to_string(),
            text(model.as_str()),
            change.version.to_string(),
            format!("{} → {}", stage(change.from), stage(change.to)),
            text(moved.stamp.actor.as_str()),
            listed(moved.approvers().into_iter().map(|actor| text(actor.as_str()))),
            short_or_nothing(moved.stamp.reason.as_ref()),
        ]
    });
    let mut body = match all {
        0 => "Nothing was deployed yet.\n".to_owned(),
        _ => table(["When", "Model", "Version", "Move", "By", "Approved by", "Reason"], rows),
    };
    if let Some(rest @ 1..) = all.checked_sub(ROWS_MAX) {
        body.push_str(&format!("\nAnd {rest} before these.\n"));
    }
    Document::new().text("# Deployment history\n\n").part(Mark::Html, "deployments", body)
}
