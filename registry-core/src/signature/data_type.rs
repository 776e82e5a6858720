//! Why this exists: a field is a scalar, or something built from scalars. The set is MLflow's
//! (arrays, objects, maps, anything, tensors), so that a signature survives the way there and
//! back; on top of it a free dimension may carry a name (`batch`), as in ONNX.

use std::fmt;

use super::field::Field;
use super::scalar::Scalar;

/// The type of a field.
///
/// Values of this type are only promised to be legal inside a [`Schema`](super::Schema), which
/// checks depth, names and sizes when it is built.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DataType {
    /// One element.
    Scalar(Scalar),
    /// A list of any length.
    Array(Box<DataType>),
    /// Named properties, each with its own type. Their order has no meaning.
    Object(Vec<Field>),
    /// Text keys to values of one type.
    Map(Box<DataType>),
    /// Anything.
    Any,
    /// A tensor. Only as the type of a schema's own fields, never nested.
    Tensor {
        /// The type of each element.
        scalar: Scalar,
        /// The size of each dimension; empty for a tensor of rank 0.
        shape: Vec<Dimension>,
    },
}

impl DataType {
    /// A list of `items`.
    pub fn array(items: impl Into<DataType>) -> DataType {
        DataType::Array(Box::new(items.into()))
    }

    /// Text keys to `values`.
    pub fn map(values: impl Into<DataType>) -> DataType {
        DataType::Map(Box::new(values.into()))
    }

    /// Whether this is a tensor.
    pub fn is_tensor(&self) -> bool {
        matches!(self, DataType::Tensor { .. })
    }

    /// The type of the single elements of a scalar, an array or a tensor: what categories and
    /// ranges speak about.
    pub(super) fn element(&self) -> Option<Scalar> {
        match self {
            DataType::Scalar(scalar) | DataType::Tensor { scalar, .. } => Some(*scalar),
            DataType::Array(items) => items.element(),
            DataType::Object(_) | DataType::Map(_) | DataType::Any => None,
        }
    }
}

impl From<Scalar> for DataType {
    fn from(scalar: Scalar) -> Self {
        DataType::Scalar(scalar)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Scalar(scalar) => scalar.fmt(f),
            DataType::Array(items) => write!(f, "array<{items}>"),
            DataType::Object(_) => f.write_str("object"),
            DataType::Map(values) => write!(f, "map<{values}>"),
            DataType::Any => f.write_str("any"),
            DataType::Tensor { scalar, shape } => {
                let sizes: Vec<_> = shape.iter().map(Dimension::to_string).collect();
                write!(f, "{scalar}[{}]", sizes.join(", "))
            }
        }
    }
}

/// The size of one dimension of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// Exactly this many. In JSON a number.
    Fixed(u32),
    /// Any number. In JSON `-1`.
    Free,
    /// Any number, with a name such as `batch` that says which. In JSON the name.
    Symbol(String),
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dimension::Fixed(size) => size.fmt(f),
            Dimension::Free => f.write_str("-1"),
            Dimension::Symbol(name) => f.write_str(name),
        }
    }
}
