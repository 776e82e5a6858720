//! Why this exists: one side of a signature, and the only place where the rules about the whole of
//! it are checked. A [`Schema`] that exists is legal: everything that reads one (the comparison,
//! the writers) relies on that and checks nothing again.
//!
//! * Columns or tensors, never both; all named or none named; at least one field.
//! * Names are unique. Several tensors must be named. A field without a name is required.
//! * Tensors are never nested; properties of objects are always named.
//! * Sizes are bounded, since schemas come from files that anybody may have written.

use std::collections::HashSet;

use super::data_type::{DataType, Dimension};
use super::field::{Field, check_name};
use crate::invalid::Invalid;

/// The inputs or the outputs of a model.
///
/// Open by default: whoever receives such data ignores fields it does not know. A closed schema
/// says that extra fields are refused, which makes adding or removing one a breaking change.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    fields: Vec<Field>,
    closed: bool,
}

impl Schema {
    /// The most fields, counting the properties of objects at every depth.
    pub const FIELDS_MAX: usize = 10_000;
    /// The deepest nesting of arrays, maps and objects.
    pub const DEPTH_MAX: usize = 32;
    /// The most bytes in the names from a field down to its innermost property.
    pub const PATH_BYTES_MAX: usize = 2_000;
    /// The most dimensions of a tensor.
    pub const RANK_MAX: usize = 64;

    /// An open schema of these fields, in this order.
    pub fn new(fields: Vec<Field>) -> Result<Schema, Invalid> {
        let invalid = |problem: &str| Err(Invalid::new("schema", list(&fields), problem));
        if fields.is_empty() {
            return invalid("it is empty; leave it out if nothing is known");
        }
        let tensors = fields.iter().filter(|field| field.data_type.is_tensor()).count();
        if tensors != 0 && tensors != fields.len() {
            return invalid("it mixes columns and tensors");
        }
        let unnamed = fields.iter().filter(|field| field.name.is_none()).count();
        if unnamed != 0 {
            if unnamed != fields.len() {
                return invalid("it mixes named and unnamed fields");
            }
            if tensors > 1 {
                return invalid("several tensors must be named");
            }
            if fields.iter().any(|field| !field.required) {
                return invalid("a field without a name cannot be optional");
            }
        }
        check_fields(&fields, 0, 0, &mut { Schema::FIELDS_MAX })?;
        Ok(Schema { fields, closed: false })
    }

    /// The same schema, refusing extra fields.
    pub fn closed(self) -> Schema {
        Schema { closed: true, ..self }
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether extra fields are refused.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the fields are tensors; otherwise they are columns.
    pub fn is_tensors(&self) -> bool {
        self.fields.iter().any(|field| field.data_type.is_tensor())
    }

    /// Whether the fields are found by name; otherwise by position.
    pub fn is_named(&self) -> bool {
        self.fields.iter().any(|field| field.name.is_some())
    }
}

/// Checks a type that stands alone, such as that of a feature.
pub(crate) fn check_data_type(data_type: &DataType) -> Result<(), Invalid> {
    check_type(data_type, 0, 0, &mut { Schema::FIELDS_MAX })
}

fn list(fields: &[Field]) -> String {
    const SHOWN_MAX: usize = 10;
    let names: Vec<_> = fields.iter().take(SHOWN_MAX).map(Field::shown).collect();
    names.join(", ")
}

/// Checks fields that stand `depth` levels deep below names of `path_bytes` in all. `fields_left` is
/// what remains of the budget of the whole schema.
fn check_fields(
    fields: &[Field],
    depth: usize,
    path_bytes: usize,
    fields_left: &mut usize,
) -> Result<(), Invalid> {
    *fields_left = fields_left.checked_sub(fields.len()).ok_or_else(|| {
        Invalid::new("schema", list(fields), format!("more than {} fields in all", Schema::FIELDS_MAX))
    })?;
    let mut names = HashSet::new();
    for field in fields {
        let mut path_bytes = path_bytes;
        if let Some(name) = field.name.as_deref() {
            check_name("field", name)?;
            if !names.insert(name) {
                return Err(Invalid::new("field", name, "the name is used twice"));
            }
            path_bytes = path_bytes.saturating_add(name.len());
            if path_bytes > Schema::PATH_BYTES_MAX {
                let problem =
                    format!("the names down to here are longer than {} bytes", Schema::PATH_BYTES_MAX);
                return Err(Invalid::new("field", name, problem));
            }
        }
        check_type(&field.data_type, depth, path_bytes, fields_left)?;
        field.check_values()?;
    }
    Ok(())
}

fn check_type(
    data_type: &DataType,
    depth: usize,
    path_bytes: usize,
    fields_left: &mut usize,
) -> Result<(), Invalid> {
    let invalid = |value: &str, problem: String| Err(Invalid::new("data type", value, problem));
    let inner_depth = depth.saturating_add(1);
    if depth >= Schema::DEPTH_MAX {
        return invalid("(nested)", format!("nested more than {} deep", Schema::DEPTH_MAX));
    }
    match data_type {
        DataType::Scalar(_) | DataType::Any => Ok(()),
        DataType::Array(inner) | DataType::Map(inner) => {
            if inner.is_tensor() {
                return invalid("tensor", "a tensor cannot be nested".to_owned());
            }
            check_type(inner, inner_depth, path_bytes, fields_left)
        }
        DataType::Object(properties) => {
            if properties.is_empty() {
                return invalid("object", "an object needs a property; use `any` or `map`".to_owned());
            }
            if properties.iter().any(|property| property.name.is_none()) {
                return invalid("object", "every property needs a name".to_owned());
            }
            if properties.iter().any(|property| property.data_type.is_tensor()) {
                return invalid("tensor", "a tensor cannot be nested".to_owned());
            }
            check_fields(properties, inner_depth, path_bytes, fields_left)
        }
        DataType::Tensor { shape, .. } => {
            if shape.len() > Schema::RANK_MAX {
                return invalid("tensor", format!("more than {} dimensions", Schema::RANK_MAX));
            }
            shape.iter().try_for_each(|dimension| match dimension {
                Dimension::Symbol(name) => check_name("dimension", name),
                Dimension::Fixed(_) | Dimension::Free => Ok(()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{NAME_BYTES_MAX, Scalar};

    fn long(name: &str) -> Field {
        Field::new(name, Scalar::Long)
    }

    fn tensor(name: &str) -> Field {
        Field::tensor(name, Scalar::Float, vec![Dimension::Free])
    }

    fn unnamed_tensor() -> Field {
        Field { name: None, ..tensor("x") }
    }

    fn nested(depth: usize) -> DataType {
        (0..depth).fold(Scalar::Long.into(), |inner, _| DataType::array(inner))
    }

    fn object(properties: Vec<Field>) -> Field {
        Field::new("o", DataType::Object(properties))
    }

    #[test]
    fn illegal_schemas_are_refused() {
        let deep_names = (0..5).fold(long("x"), |inner, _| {
            Field::new("n".repeat(NAME_BYTES_MAX), DataType::Object(vec![inner]))
        });
        let many = |count: usize| (0..count).map(|index| long(&format!("c{index}"))).collect::<Vec<_>>();
        let cases = [
            ("empty", vec![], "it is empty"),
            ("columns and tensors", vec![long("a"), tensor("b")], "mixes columns and tensors"),
            ("named and unnamed", vec![long("a"), Field::unnamed(Scalar::Long)], "mixes named and unnamed"),
            ("several unnamed tensors", vec![unnamed_tensor(), unnamed_tensor()], "must be named"),
            ("unnamed optional", vec![Field::unnamed(Scalar::Long).optional()], "cannot be optional"),
            ("duplicate name", vec![long("a"), long("b"), long("a")], "used twice"),
            ("duplicate property", vec![object(vec![long("a"), long("a")])], "used twice"),
            ("empty name", vec![long("")], "empty"),
            ("long name", vec![long(&"x".repeat(NAME_BYTES_MAX + 1))], "longer than"),
            ("long path", vec![deep_names], "down to here"),
            ("empty object", vec![object(vec![])], "needs a property"),
            ("unnamed property", vec![object(vec![Field::unnamed(Scalar::Long)])], "needs a name"),
            ("tensor in an object", vec![object(vec![tensor("a")])], "cannot be nested"),
            (
                "tensor in an array",
                vec![Field::new("a", DataType::array(tensor("x").data_type))],
                "be nested",
            ),
            ("tensor in a map", vec![Field::new("a", DataType::map(tensor("x").data_type))], "be nested"),
            ("too deep", vec![Field::new("a", nested(Schema::DEPTH_MAX))], "deep"),
            ("too many", many(Schema::FIELDS_MAX + 1), "more than 10000 fields"),
            ("too many nested", vec![object(many(Schema::FIELDS_MAX))], "more than 10000 fields"),
            (
                "too many dimensions",
                vec![Field::tensor("a", Scalar::Float, vec![Dimension::Free; Schema::RANK_MAX + 1])],
                "dimensions",
            ),
            (
                "dimension without a name",
                vec![Field::tensor("a", Scalar::Float, vec![Dimension::Symbol(String::new())])],
                "empty",
            ),
            ("bad default", vec![long("a").default_value("x")], "default"),
            ("bad default inside", vec![object(vec![long("a").default_value("x")])], "default"),
        ];
        for (case, fields, problem) in cases {
            let error = Schema::new(fields).unwrap_err();
            assert!(error.to_string().contains(problem), "{case}: {error}");
        }
    }

    #[test]
    fn legal_schemas_at_the_bounds_are_accepted() {
        let cases = [
            ("one unnamed tensor", vec![unnamed_tensor()]),
            ("several unnamed columns", vec![Field::unnamed(Scalar::Long), Field::unnamed(Scalar::Long)]),
            ("deepest", vec![Field::new("a", nested(Schema::DEPTH_MAX - 1))]),
            ("same name at two depths", vec![object(vec![long("o")])]),
            ("most fields", (0..Schema::FIELDS_MAX).map(|index| long(&format!("c{index}"))).collect()),
        ];
        for (case, fields) in cases {
            assert!(Schema::new(fields).is_ok(), "{case}");
        }
    }
}
