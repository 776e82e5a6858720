//! Why this exists: a lineage crosses models, and nobody wants to read a whole registry for it. Going back, each record
//! names what comes next. Going on, terms tell which models have to do with a thing (see [`crate::terms`]); each of
//! them is folded and looked at, since a term says that something was true once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::Error;
use crate::ext::RegistryExt as _;
use crate::invalid::Invalid;
use crate::name::{ModelName, ModelVersion};
use crate::registry::{Need, Registry};
use crate::rejection::Rejection;
use crate::selector::Selector;
use crate::state::{ModelState, VersionState};
use crate::stream::{Stream, StreamKind, Term};
use crate::terms;
use crate::time::Timestamp;

use super::graph::Graph;
use super::link::{inputs, parents, steps};
use super::node::{NodeKind, NodeName};
use super::{Impact, Lineage, VERSIONS_MAX};

/// How many models are asked for at once.
const STREAMS_PAGE: usize = 256;

/// A graph that is being put together.
struct Gathering<'a, R: ?Sized> {
    registry: &'a R,
    as_of: Option<Timestamp>,
    graph: Graph,
    /// The models that were looked at as a whole: terms lead to one model again and again, and where models are shared
    /// with another system each look at one costs requests.
    models: BTreeMap<ModelName, Arc<ModelState>>,
    /// The versions that are in it.
    records: BTreeMap<ModelVersion, Arc<VersionState>>,
    is_cut: bool,
}

impl<'a, R: Registry + ?Sized> Gathering<'a, R> {
    fn new(registry: &'a R, as_of: Option<Timestamp>) -> Self {
        Gathering {
            registry,
            as_of,
            graph: Graph::new(),
            models: BTreeMap::new(),
            records: BTreeMap::new(),
            is_cut: false,
        }
    }

    /// A model as it is, or as it was.
    async fn model(&self, model: &ModelName, need: Need) -> Result<Arc<ModelState>, Error> {
        match self.as_of {
            Some(instant) => Ok(Arc::new(self.registry.model_at(model, instant).await?)),
            None => self.registry.state(&Stream::from(model), &need).await,
        }
    }

    async fn whole_model(&mut self, model: &ModelName) -> Result<Arc<ModelState>, Error> {
        if let Some(known) = self.models.get(model) {
            return Ok(Arc::clone(known));
        }
        let state = self.model(model, Need::Whole).await?;
        self.models.insert(model.clone(), Arc::clone(&state));
        Ok(state)
    }

    async fn version(&self, version: &ModelVersion) -> Result<Option<Arc<VersionState>>, Error> {
        let need = Need::Selected(Selector::Version(version.version.clone()));
        Ok(self.model(&version.model, need).await?.version(&version.version).cloned())
    }

    /// Adds a version, unless it is there or there is no room for it.
    fn add(&mut self, name: &ModelVersion, version: &Arc<VersionState>) {
        if self.records.contains_key(name) {
            return;
        }
        if VERSIONS_MAX <= self.records.len() {
            self.is_cut = true;
            return;
        }
        self.graph.add(&name.model, version);
        self.records.insert(name.clone(), Arc::clone(version));
    }

    /// Adds what a version was made out of, and so on.
    async fn go_back(&mut self, from: ModelVersion) -> Result<(), Error> {
        let mut seen = BTreeSet::from([from.clone()]);
        let mut queue = VecDeque::from([from]);
        while let Some(next) = queue.pop_front() {
            let Some(version) = self.version(&next).await? else { continue };
            self.add(&next, &version);
            if self.is_cut {
                return Ok(());
            }
            let parents = parents(&version.content).into_keys().cloned();
            queue.extend(parents.filter(|parent| seen.insert(parent.clone())));
        }
        Ok(())
    }

    /// Adds what was made out of these versions, and so on.
    async fn go_on(&mut self, from: impl IntoIterator<Item = ModelVersion>) -> Result<(), Error> {
        let mut queue: VecDeque<ModelVersion> = from.into_iter().collect();
        let mut seen: BTreeSet<ModelVersion> = queue.iter().cloned().collect();
        while let Some(next) = queue.pop_front() {
            let is_child = |version: &VersionState| parents(&version.content).contains_key(&next);
            for child in self.add_found(&[terms::parent(&next)], is_child).await? {
                if seen.insert(child.clone()) {
                    queue.push_back(child);
                }
            }
            if self.is_cut {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds the versions that pass a test, of all models that one of these terms leads to. Gives their names.
    async fn add_found(
        &mut self,
        terms: &[Term],
        is_meant: impl Fn(&VersionState) -> bool,
    ) -> Result<Vec<ModelVersion>, Error> {
        let mut found = Vec::new();
        let mut looked_at = BTreeSet::new();
        for term in terms {
            let mut after: Option<Stream> = None;
            loop {
                let registry = self.registry;
                let streams =
                    registry.streams(StreamKind::Model, Some(term), after.as_ref(), STREAMS_PAGE).await?;
                for model in streams.iter().filter_map(Stream::model) {
                    if !looked_at.insert(model.clone()) {
                        continue;
                    }
                    let state = self.whole_model(model).await?;
                    for version in state.versions().filter(|version| is_meant(version)) {
                        let name = ModelVersion { model: model.clone(), version: version.version.clone() };
                        self.add(&name, version);
                        found.push(name);
                    }
                    if self.is_cut {
                        return Ok(found);
                    }
                }
                after = streams.last().cloned();
                if streams.len() < STREAMS_PAGE {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Adds the versions that a thing went into directly, or that it is. Gives their names.
    async fn add_users(&mut self, of: &NodeName) -> Result<Vec<ModelVersion>, Error> {
        if of.kind() != NodeKind::Model {
            return self.add_found(&terms_of(of), |version| mentions(version, of)).await;
        }
        if let Ok(version) = of.text().parse::<ModelVersion>() {
            let Some(found) = self.version(&version).await? else {
                let ModelVersion { model, version } = version;
                return Err(Rejection::NoMatch { model, selector: version.to_string() }.into());
            };
            self.add(&version, &found);
            return Ok(vec![version]);
        }
        let model: ModelName = of.text().parse()?;
        let state = self.whole_model(&model).await?;
        if !state.exists() {
            return Err(Rejection::ModelNotFound { model }.into());
        }
        let mut found = Vec::new();
        for version in state.versions() {
            let name = ModelVersion { model: model.clone(), version: version.version.clone() };
            self.add(&name, version);
            found.push(name);
        }
        Ok(found)
    }
}

/// The terms that lead to all models which have to do with a thing.
fn terms_of(name: &NodeName) -> Vec<Term> {
    let Some(key) = name.kind().term_key() else { return Vec::new() };
    let mut terms: Vec<Term> = name.readings().map(|(id, _)| Term::new(key, id)).collect();
    if name.kind() == NodeKind::Feature {
        // A version with very many features is not found by each of them.
        terms.push(terms::many_features());
    }
    terms.sort();
    terms.dedup();
    terms
}

/// Whether the record of a version names a thing.
fn mentions(version: &VersionState, name: &NodeName) -> bool {
    let content = &version.content;
    let is = |id: &str, of: Option<&str>| {
        name.readings().any(|(wanted, version)| wanted == id && (version.is_none() || version == of))
    };
    if name.kind() == NodeKind::Feature {
        let features = content.features.iter().flat_map(|features| features.features());
        return features.into_iter().any(|feature| is(&feature.name, None));
    }
    let mut named = steps(content).chain(inputs(content));
    named.any(|node| node.kind() == name.kind() && is(node.id(), node.version()))
}

/// See [`RegistryExt::lineage`](crate::RegistryExt::lineage).
pub(crate) async fn lineage<R: Registry + ?Sized>(
    registry: &R,
    model: &ModelName,
    selector: &Selector,
    as_of: Option<Timestamp>,
) -> Result<Lineage, Error> {
    let of = match as_of {
        None => {
            let found = registry.get(model, selector).await?;
            ModelVersion { model: model.clone(), version: found.version.clone() }
        }
        Some(instant) => {
            let state = registry.model_at(model, instant).await?;
            let found = crate::ext::found_in(model, selector, &state, instant)?;
            ModelVersion { model: model.clone(), version: found.version.clone() }
        }
    };
    let mut gathering = Gathering::new(registry, as_of);
    gathering.go_back(of.clone()).await?;
    gathering.go_on([of.clone()]).await?;
    let Gathering { graph, records, is_cut, .. } = gathering;
    Ok(Lineage { of, as_of, graph, records, is_cut })
}

/// See [`RegistryExt::impact`](crate::RegistryExt::impact).
pub(crate) async fn impact<R: Registry + ?Sized>(
    registry: &R,
    of: &NodeName,
    as_of: Option<Timestamp>,
) -> Result<Impact, Error> {
    if matches!(of.kind(), NodeKind::Evaluation | NodeKind::Deployment) {
        let problem = "no version is made with it; ask for data, code, features, an experiment or a model";
        return Err(Invalid::new("name of a thing", of, problem).into());
    }
    let mut gathering = Gathering::new(registry, as_of);
    let found = gathering.add_users(of).await?;
    gathering.go_on(found).await?;
    Ok(Impact { of: of.clone(), as_of, graph: gathering.graph, is_cut: gathering.is_cut })
}

/// See [`RegistryExt::lineage_of_all`](crate::RegistryExt::lineage_of_all).
pub(crate) async fn whole<R: Registry + ?Sized>(
    registry: &R,
    as_of: Option<Timestamp>,
) -> Result<Graph, Error> {
    let gathering = Gathering::new(registry, as_of);
    let mut graph = Graph::new();
    let mut after: Option<ModelName> = None;
    loop {
        let models = registry.models(after.as_ref(), STREAMS_PAGE).await?;
        for model in &models {
            let state = gathering.model(model, Need::Whole).await?;
            state.versions().for_each(|version| graph.add(model, version));
        }
        if models.len() < STREAMS_PAGE {
            return Ok(graph);
        }
        after = models.last().cloned();
    }
}
