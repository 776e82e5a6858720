//! Why this exists: questions of lineage are questions of reachability, and a graph answers them. The nodes are the
//! things that versions have on record, the edges lead from what came first to what came of it.
//!
//! A record says of **one** version what it was made of. Two versions may name the same feature code and have been
//! trained on different data; a graph that had one node for the code would claim that each was trained on both. So a
//! node stands for a thing *together with what it was made of*:
//!
//! ```text
//! data:2023 ── feature-engineering:v1 ── model:a@v1.0.0          data:2024 ── feature-engineering:v1 ── model:b@v1.0.0
//! ```
//!
//! are two chains, and a version `c` that was made like `b` hangs on the second. Every path in the graph is true of the
//! versions at its end. Who asks for `feature-engineering:v1` gets what follows from both nodes.

use std::collections::HashMap;
use std::sync::Arc;

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;
use petgraph::{Direction, algo};
use serde::Serialize;
use serde::ser::SerializeStruct as _;

use crate::content::Content;
use crate::digest::Digest;
use crate::features::FeatureSchema;
use crate::name::{ModelName, ModelVersion};
use crate::stage::Stage;
use crate::state::VersionState;
use crate::version::Version;

use super::link::{Link, inputs, parents, steps};
use super::node::{Node, NodeKind, NodeName, Relation};

/// A lineage, of one version or of many. See the [module](super).
#[derive(Debug, Clone, Default)]
pub struct Graph {
    graph: DiGraph<Node, Relation>,
    /// Which node stands for a thing that was made of what another node stands for.
    places: HashMap<Place, NodeIndex>,
    /// Which nodes bear a name, whatever their version.
    named: HashMap<(NodeKind, Arc<str>), Vec<NodeIndex>>,
}

/// What makes a node one: the thing and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    made_of: Option<NodeIndex>,
    kind: NodeKind,
    id: Arc<str>,
    version: Option<Arc<str>>,
    /// Of a feature set: its features; of an input: its bytes.
    digest: Option<Digest>,
}

/// What something has an influence on: see [`Graph::impact`].
pub struct Influence<'a> {
    graph: &'a Graph,
    walk: Walk,
    versions: Vec<NodeIndex>,
}

/// A version that something has an influence on.
#[derive(Debug, Clone, Copy)]
pub struct Affected<'a> {
    index: NodeIndex,
    node: &'a Node,
    deployment: Option<Stage>,
}

impl<'a> Affected<'a> {
    /// The version, as it stands in the graph.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// The stage that it is deployed in: `staging` or `production`.
    pub fn deployment(&self) -> Option<Stage> {
        self.deployment
    }
}

impl<'a> Influence<'a> {
    /// How many versions it is.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// Whether it has an influence on nothing.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The versions, the nearest first.
    pub fn versions(&self) -> impl Iterator<Item = Affected<'a>> {
        let graph = self.graph;
        self.versions.iter().filter_map(|index| {
            let deployment = graph.deployed(*index);
            Some(Affected { index: *index, node: graph.graph.node_weight(*index)?, deployment })
        })
    }

    /// How the influence on a version comes about, on one of the shortest ways: from the thing to the version.
    pub fn path(&self, to: &Affected<'a>) -> Vec<&'a Node> {
        self.graph.way(&self.walk, to.index)
    }
}

impl Graph {
    /// A graph of nothing.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds what a version has on record. Adding it twice changes nothing.
    pub fn add(&mut self, model: &ModelName, version: &VersionState) {
        let node = self.version_node(model.as_str(), &version.version);
        if self.is_on_record(node) {
            return;
        }
        if let Some(weight) = self.graph.node_weight_mut(node) {
            // Runs share the node of their experiment, so the run is a fact of the version.
            let run = version.content.metadata.run.as_ref();
            let attributes = run.map(|run| ("run".to_owned(), run.to_string().into()));
            weight.set_details(Some(version.digest), &attributes.into_iter().collect());
        }
        let content = &version.content;
        if let Some(last) = self.chain(content) {
            self.connect(last, node, relation_of(self.graph.node_weight(last)));
        }
        if let Some(features) = content.features.as_ref().filter(|features| features.set().is_none()) {
            self.features(features, node);
        }
        for input in inputs(content) {
            let (relation, digest) = (relation_of(Some(&input)), input.digest());
            let input = self.place(None, input, digest).0;
            self.connect(input, node, relation);
        }
        for link in &content.links {
            if let Link::Evaluation { id, attributes } = link {
                let found = Node::new(NodeKind::Evaluation, id.as_str()).with_details(None, attributes);
                let evaluation = self.place(Some(node), found, None).0;
                self.connect(node, evaluation, Relation::Evaluation);
            }
        }
        for (parent, how) in parents(content) {
            let parent = self.version_node(parent.model.as_str(), &parent.version);
            self.connect(parent, node, Relation::Derivation(how));
        }
        if let Some(stage) = deployment(version) {
            let stage = Node::new(NodeKind::Deployment, stage.as_str());
            let stage = self.place(Some(node), stage, None).0;
            self.connect(node, stage, Relation::Deployment);
        }
    }

    /// The steps from the data to the experiment, each made of the one before. Gives the last.
    fn chain(&mut self, content: &Content) -> Option<NodeIndex> {
        let features = content.features.as_ref();
        let mut last = None;
        for node in steps(content) {
            let is_set = node.kind() == NodeKind::FeatureSet;
            let listed = features.filter(|features| is_set && !features.features().is_empty());
            let digest = listed.map(|features| Digest::of(&serde_json::to_vec(features).unwrap_or_default()));
            let (place, is_new) = self.place(last, node, digest);
            if is_new {
                if let Some(before) = last {
                    self.connect(before, place, Relation::Input);
                }
                if let Some(features) = listed {
                    self.features(features, place);
                }
            }
            last = Some(place);
        }
        last
    }

    fn features(&mut self, features: &FeatureSchema, into: NodeIndex) {
        for feature in features.features() {
            let feature = self.place(None, Node::new(NodeKind::Feature, feature.name.as_str()), None).0;
            self.connect(feature, into, Relation::Input);
        }
    }

    fn version_node(&mut self, model: &str, version: &Version) -> NodeIndex {
        self.place(None, Node::of_version(model.into(), version), None).0
    }

    /// The node for a thing made of another, and whether it is a new one.
    fn place(&mut self, made_of: Option<NodeIndex>, node: Node, digest: Option<Digest>) -> (NodeIndex, bool) {
        let (kind, id) = (node.kind(), Arc::clone(node.shared_id()));
        let place = Place { made_of, kind, id, version: node.version().map(Arc::from), digest };
        if let Some(known) = self.places.get(&place) {
            return (*known, false);
        }
        let name = (kind, Arc::clone(&place.id));
        let index = self.graph.add_node(node);
        self.places.insert(place, index);
        self.named.entry(name).or_default().push(index);
        (index, true)
    }

    fn connect(&mut self, from: NodeIndex, to: NodeIndex, relation: Relation) {
        // A thing has few sources, and may have a million uses.
        let known = self
            .graph
            .edges_directed(to, Incoming)
            .any(|edge| edge.source() == from && *edge.weight() == relation);
        if !known {
            self.graph.add_edge(from, to, relation);
        }
    }

    /// Only a version whose record was added has a digest.
    fn is_on_record(&self, version: NodeIndex) -> bool {
        self.graph.node_weight(version).is_some_and(|node| node.digest().is_some())
    }

    /// How many things there are.
    pub fn node_count(&self) -> usize {
        self.graph.node_count()
    }

    /// How many connections there are between them.
    pub fn edge_count(&self) -> usize {
        self.graph.edge_count()
    }

    /// The things, in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.graph.node_weights()
    }

    /// The connections, in the order in which they were added: what came first, how they hang together, and what
    /// came of it.
    pub fn edges(&self) -> impl Iterator<Item = (&Node, Relation, &Node)> {
        self.numbered_edges().filter_map(|(from, relation, to)| {
            Some((self.graph.node_weight(from)?, relation, self.graph.node_weight(to)?))
        })
    }

    pub(super) fn numbered_nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.graph.node_indices().filter_map(|index| Some((index.index(), self.graph.node_weight(index)?)))
    }

    pub(super) fn numbered_edges(&self) -> impl Iterator<Item = (NodeIndex, Relation, NodeIndex)> {
        self.graph.edge_references().map(|edge| (edge.source(), *edge.weight(), edge.target()))
    }

    /// The versions that were named as parents, and have no record in this graph.
    pub fn not_on_record(&self) -> impl Iterator<Item = ModelVersion> {
        let missing = |index: &NodeIndex| !self.is_on_record(*index);
        self.graph
            .node_indices()
            .filter(missing)
            .filter_map(|index| self.graph.node_weight(index)?.model_version())
    }

    /// The nodes that a name stands for.
    fn find(&self, name: &NodeName) -> Vec<NodeIndex> {
        let mut found = Vec::new();
        for (id, version) in name.readings() {
            let nodes = self.named.get(&(name.kind(), Arc::from(id))).into_iter().flatten();
            found.extend(nodes.copied().filter(|index| {
                let node = self.graph.node_weight(*index);
                version.is_none() || node.is_some_and(|node| node.version() == version)
            }));
        }
        found
    }

    /// Whether there is something of that name.
    pub fn contains(&self, name: &NodeName) -> bool {
        !self.find(name).is_empty()
    }

    /// What a thing was made of, and what that was made of, and so on: the nearest first, each name once. The thing
    /// itself is not part of it.
    pub fn upstream(&self, of: &NodeName) -> Vec<&Node> {
        self.beyond(of, Incoming)
    }

    /// What came of a thing, and what came of that, and so on: the nearest first, each name once. The thing itself is
    /// not part of it.
    pub fn downstream(&self, of: &NodeName) -> Vec<&Node> {
        self.beyond(of, Outgoing)
    }

    fn beyond(&self, of: &NodeName, direction: Direction) -> Vec<&Node> {
        let starts = self.find(of);
        let walk = Walk::from(self, &starts, direction);
        self.names(walk.order.iter().copied().skip(starts.len()))
    }

    /// Nodes without those that bear the name of one before them.
    fn names(&self, nodes: impl Iterator<Item = NodeIndex>) -> Vec<&Node> {
        let mut seen = std::collections::HashSet::new();
        nodes
            .filter_map(|index| self.graph.node_weight(index))
            .filter(|node| seen.insert((node.kind(), node.id(), node.version())))
            .collect()
    }

    /// The versions that a thing has an influence on, through whatever lies between. A version is not affected by
    /// itself.
    pub fn impact(&self, of: &NodeName) -> Influence<'_> {
        let starts = self.find(of);
        let walk = Walk::from(self, &starts, Outgoing);
        let is_version = |index: &NodeIndex| {
            self.graph.node_weight(*index).is_some_and(|node| node.kind() == NodeKind::Model)
        };
        let versions = walk.order.iter().skip(starts.len()).copied().filter(is_version).collect();
        Influence { graph: self, walk, versions }
    }

    /// The stage that a version is deployed in.
    pub(super) fn deployed(&self, version: NodeIndex) -> Option<Stage> {
        let stages = self.graph.neighbors_directed(version, Outgoing);
        let stages = stages.filter_map(|index| self.graph.node_weight(index));
        let mut stages = stages.filter(|node| node.kind() == NodeKind::Deployment);
        stages.find_map(|node| node.id().parse().ok())
    }

    /// From where a walk began to a node that it came to.
    fn way(&self, walk: &Walk, to: NodeIndex) -> Vec<&Node> {
        let mut path: Vec<&Node> = walk.back(to).filter_map(|index| self.graph.node_weight(index)).collect();
        path.reverse();
        path
    }

    /// One of the shortest ways from one thing to another that came of it; none if it did not.
    pub fn path(&self, from: &NodeName, to: &NodeName) -> Option<Vec<&Node>> {
        let walk = Walk::from(self, &self.find(from), Outgoing);
        let ends = self.find(to);
        let nearest = walk.order.iter().find(|index| ends.contains(index))?;
        Some(self.way(&walk, *nearest))
    }

    /// What two things both go back to, the nearest first. Of two things of which one came of the other, that is the
    /// first, and what it goes back to.
    pub fn common_ancestors(&self, one: &NodeName, other: &NodeName) -> Vec<&Node> {
        let distances = |name: &NodeName| {
            let walk = Walk::from(self, &self.find(name), Incoming);
            let mut distances: HashMap<_, u32> = HashMap::new();
            for index in &walk.order {
                if let Some(node) = self.graph.node_weight(*index) {
                    let distance = walk.distance(*index);
                    distances.entry((node.kind(), node.id(), node.version())).or_insert(distance);
                }
            }
            (walk, distances)
        };
        let (walk, of_one) = distances(one);
        let (_, of_other) = distances(other);
        let mut common: Vec<(u32, &Node)> = self
            .names(walk.order.iter().copied())
            .into_iter()
            .filter_map(|node| {
                let name = (node.kind(), node.id(), node.version());
                Some((of_one.get(&name)?.saturating_add(*of_other.get(&name)?), node))
            })
            .collect();
        common.sort_by_key(|(distance, _)| *distance);
        common.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether something in it is said to have come of itself.
    pub fn has_circle(&self) -> bool {
        algo::is_cyclic_directed(&self.graph)
    }

    /// What a version was made with and the relation of each, in the order in which it was added.
    pub(super) fn sources(&self, of: NodeIndex) -> Vec<(NodeIndex, Relation)> {
        let mut sources: Vec<_> =
            self.graph.edges_directed(of, Incoming).map(|edge| (edge.source(), *edge.weight())).collect();
        sources.reverse(); // They are kept the other way round.
        sources
    }

    /// What came of it, in the order in which it was added.
    pub(super) fn uses(&self, of: NodeIndex) -> Vec<(NodeIndex, Relation)> {
        let mut uses: Vec<_> =
            self.graph.edges_directed(of, Outgoing).map(|edge| (edge.target(), *edge.weight())).collect();
        uses.reverse();
        uses
    }

    pub(super) fn node(&self, index: NodeIndex) -> Option<&Node> {
        self.graph.node_weight(index)
    }

    pub(super) fn find_version(&self, version: &ModelVersion) -> Option<NodeIndex> {
        self.find(&NodeName::from(version)).into_iter().next()
    }
}

/// A walk through a graph, the nearest nodes first.
struct Walk {
    order: Vec<NodeIndex>,
    /// Of each node by its number: from which one it was reached, and how far it is. The first ones are reached from
    /// themselves.
    reached: Vec<Option<(NodeIndex, u32)>>,
}

impl Walk {
    fn from(graph: &Graph, starts: &[NodeIndex], direction: Direction) -> Walk {
        let mut walk = Walk { order: Vec::new(), reached: vec![None; graph.node_count()] };
        for start in starts {
            walk.reach(*start, *start, 0);
        }
        let mut next = 0;
        while let Some(index) = walk.order.get(next).copied() {
            next += 1;
            let distance = walk.distance(index).saturating_add(1);
            for neighbour in graph.graph.neighbors_directed(index, direction) {
                walk.reach(neighbour, index, distance);
            }
        }
        walk
    }

    fn reach(&mut self, node: NodeIndex, from: NodeIndex, distance: u32) {
        if let Some(place @ None) = self.reached.get_mut(node.index()) {
            *place = Some((from, distance));
            self.order.push(node);
        }
    }

    fn place(&self, index: NodeIndex) -> Option<(NodeIndex, u32)> {
        *self.reached.get(index.index())?
    }

    fn distance(&self, index: NodeIndex) -> u32 {
        self.place(index).map_or(0, |(_, distance)| distance)
    }

    /// From a node that was reached back to where the walk began.
    fn back(&self, from: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let before = |index: &NodeIndex| {
            let (before, _) = self.place(*index)?;
            (before != *index).then_some(before)
        };
        std::iter::successors(Some(from), before)
    }
}

/// The stage that a version is deployed in.
pub(super) fn deployment(version: &VersionState) -> Option<Stage> {
    let deployed = version.deleted.is_none() && matches!(version.stage, Stage::Staging | Stage::Production);
    deployed.then_some(version.stage)
}

fn relation_of(from: Option<&Node>) -> Relation {
    match from.map(Node::kind) {
        Some(NodeKind::Experiment) => Relation::Run,
        _ => Relation::Input,
    }
}

impl Serialize for Graph {
    /// Nodes with a number each, and edges between the numbers.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Numbered<'a> {
            number: usize,
            #[serde(flatten)]
            node: &'a Node,
        }
        #[derive(Serialize)]
        struct Edge {
            from: usize,
            to: usize,
            relation: Relation,
        }
        let nodes: Vec<Numbered<'_>> =
            self.numbered_nodes().map(|(number, node)| Numbered { number, node }).collect();
        let edges: Vec<Edge> = self
            .numbered_edges()
            .map(|(from, relation, to)| Edge { from: from.index(), to: to.index(), relation })
            .collect();
        let mut graph = serializer.serialize_struct("Graph", 2)?;
        graph.serialize_field("nodes", &nodes)?;
        graph.serialize_field("edges", &edges)?;
        graph.end()
    }
}
