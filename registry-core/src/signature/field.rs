//! Why this exists: a column, a tensor, a property of an object and a parameter differ in where
//! they stand, not in what there is to say about them: a name, a type, whether it must be there,
//! which values it takes, what it means. One struct says it for all four, so that one comparison
//! judges all four.

use std::collections::HashSet;

use serde_json::Value;

use super::data_type::{DataType, Dimension};
use super::scalar::Scalar;
use crate::invalid::Invalid;

/// A column, a tensor, a property or a parameter.
///
/// ```
/// use registry_core::signature::{Field, Scalar};
/// let amount = Field::new("amount", Scalar::Double).unit("EUR").range(Some(0.0), None);
/// assert!(amount.required && !amount.nullable);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Field {
    /// The name; `None` if the field is found by its position.
    pub name: Option<String>,
    /// The type.
    pub data_type: DataType,
    /// Whether it must be present. True unless said otherwise.
    pub required: bool,
    /// Whether it may be present and null. False unless said otherwise.
    pub nullable: bool,
    /// What stands in when it is absent. A field with a default may be left out by callers even
    /// if it is required.
    pub default: Option<Value>,
    /// The only values that each element takes, in no particular order.
    pub categories: Option<Vec<Value>>,
    /// The least value of each element.
    pub minimum: Option<f64>,
    /// The greatest value of each element.
    pub maximum: Option<f64>,
    /// The unit or the meaning of the value: `EUR`, `ms`, `iso-3166-alpha-2`.
    pub unit: Option<String>,
    /// What a person should know. Says nothing to machines.
    pub description: Option<String>,
}

impl Field {
    /// A required field with a name.
    pub fn new(name: impl Into<String>, data_type: impl Into<DataType>) -> Field {
        Field { name: Some(name.into()), ..Field::unnamed(data_type) }
    }

    /// A required field found by its position.
    pub fn unnamed(data_type: impl Into<DataType>) -> Field {
        Field {
            name: None,
            data_type: data_type.into(),
            required: true,
            nullable: false,
            default: None,
            categories: None,
            minimum: None,
            maximum: None,
            unit: None,
            description: None,
        }
    }

    /// A required tensor with a name. For a nameless one, pass a [`DataType::Tensor`] to
    /// [`Field::unnamed`].
    pub fn tensor(name: impl Into<String>, scalar: Scalar, shape: Vec<Dimension>) -> Field {
        Field::new(name, DataType::Tensor { scalar, shape })
    }

    /// The field may be absent.
    pub fn optional(self) -> Field {
        Field { required: false, ..self }
    }

    /// The field may be null.
    pub fn nullable(self) -> Field {
        Field { nullable: true, ..self }
    }

    /// What stands in when the field is absent.
    pub fn default_value(self, value: impl Into<Value>) -> Field {
        Field { default: Some(value.into()), ..self }
    }

    /// The only values that each element takes.
    pub fn categories<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Field {
        Field { categories: Some(values.into_iter().map(V::into).collect()), ..self }
    }

    /// The least and the greatest value of each element.
    pub fn range(self, minimum: Option<f64>, maximum: Option<f64>) -> Field {
        Field { minimum, maximum, ..self }
    }

    /// The unit or the meaning of the value.
    pub fn unit(self, unit: impl Into<String>) -> Field {
        Field { unit: Some(unit.into()), ..self }
    }

    /// What a person should know.
    pub fn description(self, text: impl Into<String>) -> Field {
        Field { description: Some(text.into()), ..self }
    }

    /// Whether a caller may leave the field out.
    pub fn may_be_omitted(&self) -> bool {
        !self.required || self.default.is_some()
    }

    /// The name to show in an error.
    pub(super) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or("(unnamed)")
    }

    /// Checks what the field says about its values; its type and its name are checked already.
    pub(super) fn check_values(&self) -> Result<(), Invalid> {
        let invalid = |problem: String| Err(Invalid::new("field", self.shown(), problem));
        if let Some(default) = &self.default {
            let is_allowed_null = default.is_null() && self.nullable;
            if !is_allowed_null && !fits(default, &self.data_type) {
                return invalid(format!("the default {default} is not a value of {}", self.data_type));
            }
        }
        let element = self.data_type.element();
        if let Some(categories) = &self.categories {
            let Some(element) = element else {
                return invalid(format!(
                    "{} has no categories; only scalars and lists of them do",
                    self.data_type
                ));
            };
            if categories.is_empty() || categories.len() > CATEGORIES_MAX {
                return invalid(format!(
                    "expected 1 to {CATEGORIES_MAX} categories, not {}",
                    categories.len()
                ));
            }
            if let Some(stranger) = categories.iter().find(|value| !fits_scalar(value, element)) {
                return invalid(format!("the category {stranger} is not a value of {element}"));
            }
            let mut seen = HashSet::new();
            if let Some(twice) = categories.iter().find(|value| !seen.insert(*value)) {
                return invalid(format!("the category {twice} is listed twice"));
            }
        }
        let bounds = [self.minimum, self.maximum];
        if bounds.iter().any(Option::is_some) {
            if !element.is_some_and(Scalar::is_number) {
                return invalid(format!(
                    "{} has no range; only numbers and lists of them do",
                    self.data_type
                ));
            }
            if bounds.iter().flatten().any(|bound| !bound.is_finite()) {
                return invalid("a bound of the range is not a finite number".to_owned());
            }
            if let [Some(minimum), Some(maximum)] = bounds
                && minimum > maximum
            {
                return invalid(format!("the range {minimum} to {maximum} is empty"));
            }
        }
        if let Some(unit) = &self.unit {
            check_name("unit", unit)?;
        }
        if let Some(description) = &self.description {
            check_text("description", description)?;
        }
        Ok(())
    }
}

/// The most categories that one field may list.
pub const CATEGORIES_MAX: usize = 10_000;

/// The longest name or unit, in bytes.
pub const NAME_BYTES_MAX: usize = 500;

/// The longest description, in bytes.
pub const TEXT_BYTES_MAX: usize = 10_000;

/// Names of fields are not names of ours: they come from data frames, so that spaces, dots and any
/// script are legal. Control characters are not, since they would forge lines in a report.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Invalid> {
    let problem = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        format!("longer than {NAME_BYTES_MAX} bytes")
    } else if name.chars().any(char::is_control) {
        "it contains a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(Invalid::new(what, name, problem))
}

/// Checks a text for people, which may have several lines.
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<(), Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Invalid::new(what, text, format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Whether a value in JSON is one of the type's. Recursion follows the type, whose depth is bounded.
fn fits(value: &Value, data_type: &DataType) -> bool {
    match (data_type, value) {
        (DataType::Any, _) => true,
        (DataType::Scalar(scalar), _) => fits_scalar(value, *scalar),
        (DataType::Array(items), Value::Array(values)) => values.iter().all(|value| fits(value, items)),
        (DataType::Map(values), Value::Object(entries)) => entries.values().all(|value| fits(value, values)),
        (DataType::Object(properties), Value::Object(entries)) => properties.iter().all(|property| {
            match property.name.as_ref().and_then(|name| entries.get(name)) {
                Some(Value::Null) if property.nullable => true,
                Some(value) => fits(value, &property.data_type),
                None => property.may_be_omitted(),
            }
        }),
        (DataType::Tensor { scalar, shape }, _) => fits_tensor(value, *scalar, shape),
        _ => false,
    }
}

fn fits_tensor(value: &Value, scalar: Scalar, shape: &[Dimension]) -> bool {
    match (shape.split_first(), value) {
        (None, _) => fits_scalar(value, scalar),
        (Some((size, inner)), Value::Array(values)) => {
            let size_fits = match size {
                Dimension::Fixed(size) => usize::try_from(*size) == Ok(values.len()),
                Dimension::Free | Dimension::Symbol(_) => true,
            };
            size_fits && values.iter().all(|value| fits_tensor(value, scalar, inner))
        }
        (Some(_), _) => false,
    }
}

fn fits_scalar(value: &Value, scalar: Scalar) -> bool {
    match scalar {
        Scalar::Boolean => value.is_boolean(),
        // Bytes are written in base 64, instants in the form of RFC 3339.
        Scalar::String | Scalar::Binary | Scalar::Datetime => value.is_string(),
        _ => match scalar.integer_range() {
            Some((least, greatest)) => {
                let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
                number.is_some_and(|number| least <= number && number <= greatest)
            }
            None => !scalar.is_number() || value.is_number(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_are_none_of_the_type_are_refused() {
        let long = || Field::new("n", Scalar::Long);
        let shape = || vec![Dimension::Free, Dimension::Fixed(2)];
        let cases = [
            ("default of another type", long().default_value("seven"), "default"),
            ("default with a fraction", long().default_value(0.5), "default"),
            ("default out of range", Field::new("n", Scalar::Int8).default_value(128), "default"),
            ("null where null is refused", long().default_value(Value::Null), "default"),
            (
                "ragged tensor",
                Field::tensor("n", Scalar::Float, shape()).default_value(json!([[1.0]])),
                "default",
            ),
            (
                "flat tensor",
                Field::tensor("n", Scalar::Float, shape()).default_value(json!([1.0])),
                "default",
            ),
            (
                "object without its property",
                Field::new("n", DataType::Object(vec![long()])).default_value(json!({})),
                "default",
            ),
            ("no category", long().categories::<i64>([]), "categories"),
            ("category of another type", long().categories(["a"]), "category"),
            ("category twice", long().categories([1, 2, 1]), "listed twice"),
            (
                "categories of a map",
                Field::new("n", DataType::map(Scalar::Long)).categories([1]),
                "categories",
            ),
            ("too many categories", long().categories(0..=CATEGORIES_MAX), "10000"),
            ("range of a text", Field::new("n", Scalar::String).range(Some(0.0), None), "range"),
            ("endless range", long().range(None, Some(f64::INFINITY)), "finite"),
            ("empty range", long().range(Some(2.0), Some(1.0)), "is empty"),
            ("empty unit", long().unit(""), "empty"),
            ("endless description", long().description("x".repeat(TEXT_BYTES_MAX + 1)), "longer"),
        ];
        for (case, field, problem) in cases {
            let error = field.check_values().unwrap_err();
            assert!(error.problem.contains(problem), "{case}: {error}");
        }
    }

    #[test]
    fn values_of_the_type_are_accepted() {
        let inner = vec![Field::new("a", Scalar::Double), Field::new("b", Scalar::String).nullable()];
        let cases = [
            ("integer for a float", Field::new("n", Scalar::Double).default_value(1)),
            (
                "null where null is allowed",
                Field::new("n", Scalar::Long).nullable().default_value(Value::Null),
            ),
            ("greatest unsigned", Field::new("n", Scalar::Uint64).default_value(u64::MAX)),
            ("array", Field::new("n", DataType::array(Scalar::Long)).default_value(json!([1, 2]))),
            ("map", Field::new("n", DataType::map(Scalar::Boolean)).default_value(json!({"x": true}))),
            ("object", Field::new("n", DataType::Object(inner)).default_value(json!({"a": 1, "b": null}))),
            ("anything", Field::new("n", DataType::Any).default_value(json!([1, "x"]))),
            (
                "categories of an array",
                Field::new("n", DataType::array(Scalar::String)).categories(["a", "b"]),
            ),
            ("one point", Field::new("n", Scalar::Float).range(Some(1.0), Some(1.0))),
        ];
        for (case, field) in cases {
            assert_eq!(field.check_values(), Ok(()), "{case}");
        }
    }

    #[test]
    fn names_may_be_odd_but_not_dangerous() {
        for name in ["a b", "a.b", "größe", "x[0]", "\"quoted\"", " "] {
            assert_eq!(check_name("field", name), Ok(()), "{name:?}");
        }
        for name in ["", "a\nb", "\u{7f}", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check_name("field", name).is_err(), "{name:?}");
        }
    }
}
