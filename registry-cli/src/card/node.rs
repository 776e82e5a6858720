//! Why this exists: TOML, YAML and JSON say the same things with different words. A card is first read
//! into one tree that keeps the order of keys (the order of inputs means something), refuses a key
//! that is given twice, and remembers numbers that JSON cannot write, so that they can be refused by
//! name.

use std::fmt;

use registry_core::Invalid;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// A value in a card.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Flag(bool),
    Number(Number),
    /// Infinite, or not a number.
    NotFinite,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What `toml` wraps its dates in.
const TOML_DATE: &str = "$__toml_private_datetime";

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_none<E: de::Error>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }

            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Node, E> {
                Ok(Node::Flag(flag))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Number(number.into()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Number(number.into()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Node, E> {
                Ok(Number::from_f64(number).map_or(Node::NotFinite, Node::Number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = list.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries: Vec<(String, Node)> = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some((name, node)) = map.next_entry::<String, Node>()? {
                    if name == TOML_DATE {
                        return Ok(node);
                    }
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format!("the key `{name}` is given twice")));
                    }
                    entries.push((name, node));
                }
                Ok(Node::Map(entries))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null | Node::NotFinite => serializer.serialize_unit(),
            Node::Flag(flag) => serializer.serialize_bool(*flag),
            Node::Number(number) => number.serialize(serializer),
            Node::Text(text) => serializer.serialize_str(text),
            Node::List(nodes) => serializer.collect_seq(nodes),
            Node::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, node) in entries {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
        }
    }
}

/// A value and the path of keys that leads to it, for errors.
#[derive(Debug, Clone)]
pub(crate) struct At<'a> {
    pub(crate) path: String,
    pub(crate) node: &'a Node,
}

impl<'a> At<'a> {
    pub(crate) fn new(path: impl Into<String>, node: &'a Node) -> Self {
        At { path: path.into(), node }
    }

    fn below(&self, name: &str, node: &'a Node) -> At<'a> {
        At::new(if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }, node)
    }

    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Invalid {
        Invalid::new("card key", &self.path, problem)
    }

    fn expected(&self, what: &str) -> Invalid {
        let found = match self.node {
            Node::Null => "nothing".to_owned(),
            Node::Flag(flag) => flag.to_string(),
            Node::Number(number) => format!("the number {number}"),
            Node::NotFinite => "a number that is infinite or none".to_owned(),
            Node::Text(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
            Node::List(_) => "a list".to_owned(),
            Node::Map(_) => "a table".to_owned(),
        };
        self.invalid(format!("expected {what}, found {found}"))
    }

    /// The text. A number is refused, since `3.10` without quotes is 3.1 and `0042` is 42.
    pub(crate) fn text(&self) -> Result<&'a str, Invalid> {
        match self.node {
            Node::Text(text) => Ok(text),
            Node::Number(_) => Err(self.expected("text (write it in quotes, so that no digit is lost)")),
            _ => Err(self.expected("text")),
        }
    }

    /// The text as something that has a text form.
    pub(crate) fn parsed<T: std::str::FromStr<Err: fmt::Display>>(&self) -> Result<T, Invalid> {
        self.text()?.parse().map_err(|error: T::Err| self.invalid(error.to_string()))
    }

    /// The text in a unit.
    pub(crate) fn measured<T>(&self, read: impl FnOnce(&str) -> Result<T, Invalid>) -> Result<T, Invalid> {
        match self.node {
            Node::Number(_) => Err(self.expected("text with a unit, such as \"35ms\" or \"12MB\"")),
            _ => read(self.text()?).map_err(|error| self.invalid(error.problem)),
        }
    }

    pub(crate) fn number(&self) -> Result<f64, Invalid> {
        match self.node {
            Node::Number(number) => number.as_f64().ok_or_else(|| self.expected("a number")),
            _ => Err(self.expected("a number")),
        }
    }

    pub(crate) fn whole(&self) -> Result<u64, Invalid> {
        match self.node {
            Node::Number(number) => number.as_u64().ok_or_else(|| self.expected("a whole number from 0 on")),
            _ => Err(self.expected("a whole number from 0 on")),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<At<'a>>, Invalid> {
        match self.node {
            Node::List(nodes) => {
                let at = |(index, node)| At::new(format!("{}[{index}]", self.path), node);
                Ok(nodes.iter().enumerate().map(at).collect())
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// The entries of a table; those without a value are left out.
    pub(crate) fn map(&self) -> Result<Vec<(&'a str, At<'a>)>, Invalid> {
        match self.node {
            Node::Map(entries) => {
                let there = entries.iter().filter(|(_, node)| *node != Node::Null);
                Ok(there.map(|(name, node)| (name.as_str(), self.below(name, node))).collect())
            }
            _ => Err(self.expected("a table")),
        }
    }

    /// Anything, as JSON, if JSON can write it.
    pub(crate) fn json(&self) -> Result<serde_json::Value, Invalid> {
        self.check_finite()?;
        serde_json::to_value(self.node).map_err(|error| self.invalid(error.to_string()))
    }

    /// Something that has a form in JSON. The order of keys is kept, so this goes by the text.
    pub(crate) fn structured<T: de::DeserializeOwned>(&self) -> Result<T, Invalid> {
        self.check_finite()?;
        let text = serde_json::to_string(self.node).map_err(|error| self.invalid(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| {
            let message = error.to_string();
            // The place in a text that the user never saw would mislead.
            let problem = message.split(" at line ").next().unwrap_or(&message);
            self.invalid(problem)
        })
    }

    fn check_finite(&self) -> Result<(), Invalid> {
        match self.node {
            Node::NotFinite => Err(self.expected("a finite number")),
            Node::List(nodes) => {
                let mut nodes = nodes.iter().enumerate();
                nodes.try_for_each(|(index, node)| {
                    At::new(format!("{}[{index}]", self.path), node).check_finite()
                })
            }
            Node::Map(entries) => {
                entries.iter().try_for_each(|(name, node)| self.below(name, node).check_finite())
            }
            _ => Ok(()),
        }
    }
}
