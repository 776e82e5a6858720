//! Why this exists: people write signatures by hand, so reading is generous and writing is strict.
//! The module page of [`signature`](super) shows the one form that is written. Reading accepts
//! besides: a bare list of fields, an object of name → type, a type's name instead of a field, and
//! MLflow's own lists, whose columns are a subset of our form and whose tensors carry a
//! `tensor-spec`.
//!
//! All readers meet in [`RawField`], and from there one conversion leads to a [`Field`]. Keys that
//! nobody knows are refused: a misspelt `requierd` must not silently mean "required".

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::Signature;
use super::data_type::{DataType, Dimension};
use super::field::Field;
use super::scalar::Scalar;
use super::schema::{Schema, check_data_type};
use crate::invalid::Invalid;

// ---- Writing

impl Serialize for DataType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let DataType::Scalar(scalar) = self {
            return scalar.serialize(serializer);
        }
        if matches!(self, DataType::Any) {
            return serializer.serialize_str("any");
        }
        let mut map = serializer.serialize_map(None)?;
        write_type(&mut map, self)?;
        map.end()
    }
}

fn write_type<M: SerializeMap>(map: &mut M, data_type: &DataType) -> Result<(), M::Error> {
    match data_type {
        DataType::Scalar(scalar) => map.serialize_entry("type", scalar),
        DataType::Any => map.serialize_entry("type", "any"),
        DataType::Array(items) => {
            map.serialize_entry("type", "array")?;
            map.serialize_entry("items", items)
        }
        DataType::Map(values) => {
            map.serialize_entry("type", "map")?;
            map.serialize_entry("values", values)
        }
        DataType::Object(properties) => {
            map.serialize_entry("type", "object")?;
            map.serialize_entry("properties", properties)
        }
        DataType::Tensor { scalar, shape } => {
            map.serialize_entry("type", scalar)?;
            map.serialize_entry("shape", shape)
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write_some(&mut map, "name", self.name.as_ref())?;
        write_type(&mut map, &self.data_type)?;
        write_some(&mut map, "required", (!self.required).then_some(&false))?;
        write_some(&mut map, "nullable", self.nullable.then_some(&true))?;
        write_some(&mut map, "default", self.default.as_ref())?;
        write_some(&mut map, "categories", self.categories.as_ref())?;
        write_some(&mut map, "minimum", self.minimum.as_ref())?;
        write_some(&mut map, "maximum", self.maximum.as_ref())?;
        write_some(&mut map, "unit", self.unit.as_ref())?;
        write_some(&mut map, "description", self.description.as_ref())?;
        map.end()
    }
}

fn write_some<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &'static str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(if self.is_tensors() { "tensors" } else { "columns" }, self.fields())?;
        write_some(&mut map, "closed", self.is_closed().then_some(&true))?;
        map.end()
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write_some(&mut map, "inputs", self.inputs())?;
        write_some(&mut map, "outputs", self.outputs())?;
        write_some(&mut map, "params", (!self.params().is_empty()).then(|| self.params()).as_ref())?;
        map.end()
    }
}

impl Serialize for Dimension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dimension::Fixed(size) => serializer.serialize_u32(*size),
            Dimension::Free => serializer.serialize_i64(-1),
            Dimension::Symbol(name) => serializer.serialize_str(name),
        }
    }
}

// ---- Reading

/// A field as it stands in a file, before anything is known about it.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: Option<String>,
    #[serde(rename = "type")]
    type_name: String,
    items: Option<Node>,
    values: Option<Node>,
    properties: Option<Nodes>,
    shape: Option<Vec<Dimension>>,
    #[serde(rename = "tensor-spec")]
    tensor_spec: Option<RawTensor>,
    required: Option<bool>,
    #[serde(default)]
    nullable: bool,
    #[serde(default, deserialize_with = "present")]
    default: Option<Value>,
    categories: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    unit: Option<String>,
    description: Option<String>,
}

/// MLflow's description of a tensor.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: Scalar,
    shape: Vec<Dimension>,
}

/// A key that is there counts, even if its value is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl RawField {
    /// Takes the type out, leaving what else was said.
    fn take_type(&mut self) -> Result<DataType, Invalid> {
        let type_name = std::mem::take(&mut self.type_name);
        let needs = |key: &str| Invalid::new("data type", &type_name, format!("it needs the key `{key}`"));
        let data_type = match type_name.as_str() {
            "any" => DataType::Any,
            "array" => DataType::array(self.items.take().ok_or_else(|| needs("items"))?.into_type()?),
            "map" => DataType::map(self.values.take().ok_or_else(|| needs("values"))?.into_type()?),
            "object" => {
                DataType::Object(self.properties.take().ok_or_else(|| needs("properties"))?.into_fields()?)
            }
            "tensor" => {
                let spec = self.tensor_spec.take().ok_or_else(|| needs("tensor-spec"))?;
                DataType::Tensor { scalar: spec.dtype, shape: spec.shape }
            }
            _ => {
                let scalar = type_name.parse()?;
                match self.shape.take() {
                    Some(shape) => DataType::Tensor { scalar, shape },
                    None => DataType::Scalar(scalar),
                }
            }
        };
        let left_over = [
            ("items", self.items.is_some()),
            ("values", self.values.is_some()),
            ("properties", self.properties.is_some()),
            ("tensor-spec", self.tensor_spec.is_some()),
            ("shape", self.shape.is_some()),
        ];
        match left_over.iter().find(|(_, is_there)| *is_there) {
            Some((key, _)) => Err(Invalid::new("data type", type_name, format!("it has no key `{key}`"))),
            None => Ok(data_type),
        }
    }

    /// A default of null says that the field may be null.
    fn into_field(mut self) -> Result<Field, Invalid> {
        Ok(Field {
            data_type: self.take_type()?,
            name: self.name,
            required: self.required.unwrap_or(true),
            nullable: self.nullable || self.default == Some(Value::Null),
            default: self.default,
            categories: self.categories,
            minimum: self.minimum,
            maximum: self.maximum,
            unit: self.unit,
            description: self.description,
        })
    }

    /// MLflow writes a list parameter as a scalar with the shape `[-1]`.
    fn into_param(self) -> Result<Field, Invalid> {
        let mut field = self.into_field()?;
        if let DataType::Tensor { scalar, shape } = &field.data_type {
            field.data_type = match shape.as_slice() {
                [] => (*scalar).into(),
                [Dimension::Free] => DataType::array(*scalar),
                _ => {
                    return Err(Invalid::new("parameter", field.shown(), "the only shape is `[-1]`, a list"));
                }
            };
        }
        Ok(field)
    }
}

/// A type's name, or an object that says more.
struct Node(Box<RawField>);

impl Node {
    fn into_field(self) -> Result<Field, Invalid> {
        self.0.into_field()
    }

    /// A type that stands alone says nothing but its type.
    fn into_type(self) -> Result<DataType, Invalid> {
        let field = self.into_field()?;
        if field != Field::unnamed(field.data_type.clone()) {
            let problem = "only the type can be said of items and values; use an object for more";
            return Err(Invalid::new("data type", field.data_type, problem));
        }
        Ok(field.data_type)
    }
}

/// A list of fields, or an object of name → field, in the order of the text.
#[derive(Default)]
struct Nodes(Vec<Node>);

impl Nodes {
    fn into_fields(self) -> Result<Vec<Field>, Invalid> {
        self.0.into_iter().map(Node::into_field).collect()
    }
}

/// What may stand behind a key of a schema: a list of fields (`columns`, `tensors`), a flag
/// (`closed`), or the type of a field with that name.
enum Entry {
    List(Nodes),
    Flag(bool),
    Field(Node),
}

/// What one visitor builds from each of the shapes that a value may have. The default refuses.
trait FromShape: Sized {
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self> {
        let _ = text;
        None
    }

    fn from_flag(flag: bool) -> Option<Self> {
        let _ = flag;
        None
    }

    fn from_number(number: i64) -> Option<Self> {
        let _ = number;
        None
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let _ = list;
        Err(de::Error::invalid_type(de::Unexpected::Seq, &Self::EXPECTED))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let _ = map;
        Err(de::Error::invalid_type(de::Unexpected::Map, &Self::EXPECTED))
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

struct ShapeVisitor<T>(PhantomData<T>);

impl<'de, T: FromShape> Visitor<'de> for ShapeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_type(de::Unexpected::Str(text), &self))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<T, E> {
        T::from_flag(flag).ok_or_else(|| E::invalid_type(de::Unexpected::Bool(flag), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::from_number(number).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let small = i64::try_from(number).ok().and_then(T::from_number);
        small.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }
}

impl FromShape for Dimension {
    const EXPECTED: &'static str = "a dimension: a size, -1, or a name such as \"batch\"";

    fn from_text(text: &str) -> Option<Self> {
        Some(Dimension::Symbol(text.to_owned()))
    }

    fn from_number(number: i64) -> Option<Self> {
        match number {
            -1 => Some(Dimension::Free),
            _ => u32::try_from(number).ok().map(Dimension::Fixed),
        }
    }
}

impl FromShape for Node {
    const EXPECTED: &'static str = "a type such as \"double\", or an object with the key `type`";

    fn from_text(text: &str) -> Option<Self> {
        Some(Node(Box::new(RawField { type_name: text.to_owned(), ..RawField::default() })))
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        RawField::deserialize(MapAccessDeserializer::new(map)).map(|field| Node(Box::new(field)))
    }
}

impl FromShape for Nodes {
    const EXPECTED: &'static str = "a list of fields, or an object of name → type";

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut nodes = Nodes::default();
        while let Some(node) = list.next_element()? {
            nodes.push(node)?;
        }
        Ok(nodes)
    }

    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut nodes = Nodes::default();
        while let Some((name, node)) = map.next_entry()? {
            nodes.push_named(name, node)?;
        }
        Ok(nodes)
    }
}

impl Nodes {
    /// Stops early, so that an endless list is not read to its end.
    fn push<E: de::Error>(&mut self, node: Node) -> Result<(), E> {
        if self.0.len() >= Schema::FIELDS_MAX {
            return Err(E::custom(format!("more than {} fields", Schema::FIELDS_MAX)));
        }
        self.0.push(node);
        Ok(())
    }

    fn push_named<E: de::Error>(&mut self, name: String, mut node: Node) -> Result<(), E> {
        match &node.0.name {
            Some(other) if *other != name => {
                return Err(E::custom(format!("the field {name:?} calls itself {other:?}")));
            }
            _ => node.0.name = Some(name),
        }
        self.push(node)
    }
}

impl FromShape for Entry {
    const EXPECTED: &'static str =
        "a type such as \"double\", an object with the key `type`, or a list of fields";

    fn from_text(text: &str) -> Option<Self> {
        Node::from_text(text).map(Entry::Field)
    }

    fn from_flag(flag: bool) -> Option<Self> {
        Some(Entry::Flag(flag))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Nodes::from_list(list).map(Entry::List)
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Node::from_map(map).map(Entry::Field)
    }
}

/// A schema in any of its forms, not yet checked.
struct RawSchema {
    nodes: Nodes,
    closed: bool,
    tensors: Option<bool>,
}

impl FromShape for RawSchema {
    const EXPECTED: &'static str =
        "a list of fields, an object with `columns` or `tensors`, or one of name → type";

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Ok(RawSchema { nodes: Nodes::from_list(list)?, closed: false, tensors: None })
    }

    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut short = Nodes::default();
        let mut full: Option<(Nodes, bool)> = None;
        let mut closed: Option<bool> = None;
        while let Some((key, entry)) = map.next_entry::<String, Entry>()? {
            match (key.as_str(), entry) {
                (_, Entry::Field(node)) => short.push_named(key, node)?,
                ("columns", Entry::List(nodes)) if full.is_none() => full = Some((nodes, false)),
                ("tensors", Entry::List(nodes)) if full.is_none() => full = Some((nodes, true)),
                ("closed", Entry::Flag(flag)) if closed.is_none() => closed = Some(flag),
                _ => return Err(de::Error::custom(format!("the key {key:?} does not belong here"))),
            }
        }
        let closed = closed.unwrap_or(false);
        match full {
            None => Ok(RawSchema { nodes: short, closed, tensors: None }),
            Some((nodes, tensors)) if short.0.is_empty() => {
                Ok(RawSchema { nodes, closed, tensors: Some(tensors) })
            }
            Some(_) => Err(de::Error::custom("a list of fields beside fields of their own")),
        }
    }
}

impl TryFrom<RawSchema> for Schema {
    type Error = Invalid;

    fn try_from(raw: RawSchema) -> Result<Self, Invalid> {
        let schema = Schema::new(raw.nodes.into_fields()?)?;
        match raw.tensors {
            Some(true) if !schema.is_tensors() => {
                Err(Invalid::new("schema", "tensors", "every tensor needs a `shape`"))
            }
            Some(false) if schema.is_tensors() => {
                Err(Invalid::new("schema", "columns", "a column has no `shape`; list it under `tensors`"))
            }
            _ => Ok(if raw.closed { schema.closed() } else { schema }),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignature {
    inputs: Option<Schema>,
    outputs: Option<Schema>,
    params: Option<Params>,
}

impl TryFrom<RawSignature> for Signature {
    type Error = Invalid;

    fn try_from(raw: RawSignature) -> Result<Self, Invalid> {
        Signature::new(raw.inputs, raw.outputs, raw.params.map_or_else(Vec::new, |params| params.0))
    }
}

/// Parameters as they stand in a file, ours or MLflow's.
pub(super) struct Params(pub(super) Vec<Field>);

impl TryFrom<Nodes> for Params {
    type Error = Invalid;

    fn try_from(nodes: Nodes) -> Result<Self, Invalid> {
        nodes.0.into_iter().map(|node| node.0.into_param()).collect::<Result<_, _>>().map(Params)
    }
}

impl TryFrom<Node> for DataType {
    type Error = Invalid;

    fn try_from(node: Node) -> Result<Self, Invalid> {
        let data_type = node.into_type()?;
        check_data_type(&data_type)?;
        Ok(data_type)
    }
}

/// Reads `$type` as `$raw` and converts.
macro_rules! deserialize_through {
    ($($type:ty: $raw:ty, $read:path;)*) => {
        $(impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw: $raw = $read(deserializer)?;
                <$type>::try_from(raw).map_err(de::Error::custom)
            }
        })*
    };
}

deserialize_through! {
    Dimension: Dimension, FromShape::read;
    Node: Node, FromShape::read;
    Nodes: Nodes, FromShape::read;
    Entry: Entry, FromShape::read;
    Schema: RawSchema, FromShape::read;
    Params: Nodes, FromShape::read;
    DataType: Node, FromShape::read;
    Signature: RawSignature, Deserialize::deserialize;
}
