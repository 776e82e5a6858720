//! Why this exists: a lineage is read by people in a terminal, in a wiki and in a picture. The tree shows one chain after
//! the other; DOT and Mermaid draw the graph as it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use petgraph::graph::NodeIndex;

use serde::{Serialize, Serializer};

use crate::markdown::one_line;
use crate::name::ModelVersion;
use crate::stage::Stage;
use crate::time::Timestamp;

use super::graph::{Affected, Graph};
use super::node::{Node, NodeKind, NodeName, Relation};
use super::{Impact, Lineage, VERSIONS_MAX};

impl Lineage {
    /// For people: the chain from the data to the deployment, then the same of the versions it was made out of, then
    /// what was made out of it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let Some(start) = self.graph.find_version(&self.of) else { return text };
        let mut shown = BTreeSet::from([start]);
        let mut queue = std::collections::VecDeque::from([(start, None)]);
        while let Some((version, heading)) = queue.pop_front() {
            if let Some(heading) = heading {
                let _ = write!(text, "\n{heading}:\n\n");
            }
            self.graph.generation(version, &mut text);
            for (parent, how) in self.graph.parents_of(version) {
                let Some(node) = self.graph.node(parent) else { continue };
                let from = format!("{} from {}", capitalised(how), plain(node));
                if node.digest().is_none() {
                    let _ = write!(text, "\n{from}, which is not on record here.\n");
                } else if shown.insert(parent) {
                    queue.push_back((parent, Some(from)));
                } else {
                    let _ = write!(text, "\n{from}, which is above.\n");
                }
            }
        }
        let offspring = self.graph.offspring(start);
        if !offspring.is_empty() {
            text.push_str("\nMade out of it:\n\n");
        }
        for (node, deployment, through) in offspring {
            let how = capitalised(through);
            let place = deployment.map(|stage| format!(", in {stage}")).unwrap_or_default();
            let _ = writeln!(text, "  {} ({}{place})", plain(node), how.to_lowercase());
        }
        cut(self.is_cut, &mut text);
        text
    }
}

impl Graph {
    /// One version: its chain, and what else belongs to it.
    fn generation(&self, version: NodeIndex, text: &mut String) {
        let direct = self.sources(version).into_iter();
        let direct = direct.filter(|(_, relation)| !matches!(relation, Relation::Derivation(_)));
        let is_feature =
            |index: &NodeIndex| self.node(*index).is_some_and(|node| node.kind() == NodeKind::Feature);
        // Features of no set belong to no chain.
        let (features, inputs): (Vec<NodeIndex>, Vec<NodeIndex>) =
            direct.map(|(source, _)| source).partition(is_feature);
        // The first one that was added is the end of the chain, if there is one.
        let mut inputs = inputs.into_iter();
        let mut chain = vec![version];
        let mut step = inputs.next();
        while let Some(index) = step {
            chain.push(index);
            step = self.sources(index).into_iter().map(|(source, _)| source).find(|index| !is_feature(index));
        }
        chain.reverse();
        let uses = self.uses(version);
        let used = |wanted: Relation| {
            uses.iter().filter(move |(_, relation)| *relation == wanted).map(|(index, _)| *index)
        };
        chain.extend(used(Relation::Deployment));
        for (depth, index) in chain.iter().enumerate() {
            let Some(node) = self.node(*index) else { continue };
            if let Some(outer) = depth.checked_sub(1) {
                let _ = write!(text, "  {}└─> ", " ".repeat(outer.saturating_mul(6)));
            }
            let _ = writeln!(text, "{node}");
        }
        let name = |index: NodeIndex| self.node(index).map(ToString::to_string);
        let id = |index: NodeIndex| self.node(index).map(|node| one_line(node.id()));
        list("Made with", &inputs.filter_map(name).collect::<Vec<_>>(), text);
        list("Features", &features.into_iter().filter_map(id).collect::<Vec<_>>(), text);
        let evaluations: Vec<String> =
            used(Relation::Evaluation).filter_map(|index| Some(evaluation(self.node(index)?))).collect();
        list("Evaluated by", &evaluations, text);
    }

    fn parents_of(&self, version: NodeIndex) -> Vec<(NodeIndex, Relation)> {
        let mut parents = self.sources(version);
        parents.retain(|(_, relation)| matches!(relation, Relation::Derivation(_)));
        parents
    }

    /// The versions that were made out of a version, and out of these, each once.
    fn offspring(&self, of: NodeIndex) -> Vec<(&Node, Option<Stage>, Relation)> {
        let mut seen = BTreeSet::from([of]);
        let mut queue = std::collections::VecDeque::from([of]);
        let mut found = Vec::new();
        while let Some(index) = queue.pop_front() {
            for (child, relation) in self.uses(index) {
                if matches!(relation, Relation::Derivation(_)) && seen.insert(child) {
                    queue.push_back(child);
                    found.extend(self.node(child).map(|node| (node, self.deployed(child), relation)));
                }
            }
        }
        found
    }

    /// In the language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph lineage {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
        for (number, node) in self.numbered_nodes() {
            let label = one_line(&label(node)).replace('\\', "\\\\").replace('"', "\\\"");
            let shape = match node.kind() {
                NodeKind::Data => "cylinder",
                NodeKind::Model => "box",
                NodeKind::Deployment => "house",
                NodeKind::Evaluation => "note",
                _ => "ellipse",
            };
            let style = if is_unknown(node) { ", style=dashed" } else { "" };
            let _ = writeln!(text, "  n{number} [label=\"{label}\", shape={shape}{style}];");
        }
        for (from, relation, to) in self.numbered_edges() {
            let label = match relation {
                Relation::Derivation(how) => format!(" [label=\"{}\"]", how.as_str()),
                _ => String::new(),
            };
            let _ = writeln!(text, "  n{} -> n{}{label};", from.index(), to.index());
        }
        text.push_str("}\n");
        text
    }

    /// In the language of Mermaid, which many wikis draw.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (number, node) in self.numbered_nodes() {
            let label = mermaid(&label(node));
            let (open, close) = match node.kind() {
                NodeKind::Data => ("[(", ")]"),
                NodeKind::Model => ("[", "]"),
                NodeKind::Deployment => ("[[", "]]"),
                NodeKind::Evaluation => (">", "]"),
                _ => ("([", "])"),
            };
            let _ = writeln!(text, "  n{number}{open}\"{label}\"{close}");
        }
        for (from, relation, to) in self.numbered_edges() {
            let arrow = match relation {
                Relation::Derivation(how) => format!("-->|{}|", how.as_str()),
                _ => "-->".to_owned(),
            };
            let _ = writeln!(text, "  n{} {arrow} n{}", from.index(), to.index());
        }
        text
    }
}

/// A version that something has an influence on, for people and programs.
#[derive(Serialize)]
struct Row {
    version: ModelVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<Stage>,
    path: Vec<String>,
}

/// Of a very long way only its beginning and its end are shown.
fn shown(path: &[&Node]) -> Vec<String> {
    const END_MAX: usize = 12;
    let names = |nodes: &[&Node]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
    match (path.get(..END_MAX), path.len().checked_sub(END_MAX).and_then(|start| path.get(start..))) {
        (Some(beginning), Some(end)) if 2 * END_MAX < path.len() => {
            let between = format!("({} more)", path.len() - 2 * END_MAX);
            [names(beginning), vec![between], names(end)].concat()
        }
        _ => names(path),
    }
}

impl Impact {
    /// The versions in the order of their names.
    fn rows(&self) -> Vec<Row> {
        let influence = self.influence();
        let row = |affected: Affected<'_>| {
            let path = shown(&influence.path(&affected));
            Some(Row { version: affected.node().model_version()?, deployment: affected.deployment(), path })
        };
        let mut rows: Vec<Row> = influence.versions().filter_map(row).collect();
        rows.sort_by(|a, b| a.version.cmp(&b.version));
        rows
    }

    /// For people: the versions that are deployed first, each with the way in which the influence comes about.
    pub fn to_text(&self) -> String {
        let rows = self.rows();
        let (deployed, others): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.deployment.is_some());
        let mut text = if rows.is_empty() {
            format!("No version on record has to do with {}.\n", self.of)
        } else {
            let in_production =
                deployed.iter().filter(|row| row.deployment == Some(Stage::Production)).count();
            let models: BTreeSet<_> = rows.iter().map(|row| &row.version.model).collect();
            format!(
                "{} has an influence on {} of {}; {} in production.\n",
                self.of,
                count(rows.len(), "version"),
                count(models.len(), "model"),
                match in_production {
                    0 => "none is".to_owned(),
                    1 => "1 is".to_owned(),
                    more => format!("{more} are"),
                }
            )
        };
        for (heading, rows) in [("Deployed", deployed), ("Not deployed", others)] {
            if !rows.is_empty() {
                let _ = write!(text, "\n{heading}:\n\n");
            }
            for Row { version, deployment, path } in rows {
                let place = deployment.map(|stage| format!(" ({stage})")).unwrap_or_default();
                let _ = write!(text, "  {version}{place}\n    {}\n", path.join(" -> "));
            }
        }
        cut(self.is_cut, &mut text);
        text
    }
}

impl Serialize for Impact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Answer<'a> {
            of: &'a NodeName,
            #[serde(skip_serializing_if = "Option::is_none")]
            as_of: Option<Timestamp>,
            affected: Vec<Row>,
            is_cut: bool,
        }
        let Impact { of, as_of, is_cut, .. } = self;
        Answer { of, as_of: *as_of, affected: self.rows(), is_cut: *is_cut }.serialize(serializer)
    }
}

fn cut(is_cut: bool, text: &mut String) {
    if is_cut {
        let _ = write!(text, "\nThere is more: only {VERSIONS_MAX} versions were looked at.\n");
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn capitalised(relation: Relation) -> String {
    let word = relation.as_str();
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A version without its kind, as it is written everywhere else.
fn plain(node: &Node) -> String {
    node.model_version().map_or_else(|| node.to_string(), |version| version.to_string())
}

/// For a picture, where the shape tells the kind of what is common.
fn label(node: &Node) -> String {
    match node.kind() {
        NodeKind::Model => plain(node),
        _ => node.to_string(),
    }
}

/// Whether it is a version without a record.
fn is_unknown(node: &Node) -> bool {
    node.kind() == NodeKind::Model && node.digest().is_none()
}

/// An evaluation with what it found.
fn evaluation(node: &Node) -> String {
    let found: Vec<String> =
        node.attributes().map(|(name, value)| format!("{} {value}", one_line(name))).collect();
    match found.is_empty() {
        true => one_line(node.id()),
        false => format!("{} ({})", one_line(node.id()), found.join(", ")),
    }
}

fn list(heading: &str, items: &[String], text: &mut String) {
    /// A person reads a few; the rest is in the JSON.
    const SHOWN_MAX: usize = 10;
    if items.is_empty() {
        return;
    }
    let shown: Vec<&str> = items.iter().take(SHOWN_MAX).map(String::as_str).collect();
    let rest = items.len().saturating_sub(SHOWN_MAX);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let _ = write!(text, "\n{heading}: {}{rest}\n", shown.join(", "));
}

/// A text as Mermaid takes it between quotes.
fn mermaid(text: &str) -> String {
    let mut escaped = String::new();
    for letter in one_line(text).chars() {
        match letter {
            '"' | '#' | '&' | '<' | '>' | '`' => {
                let _ = write!(escaped, "#{};", u32::from(letter));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
