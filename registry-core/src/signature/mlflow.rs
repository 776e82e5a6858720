//! Why this exists: MLflow keeps a signature as three texts in JSON, one list each for inputs,
//! outputs and parameters. Models come from there and are shown there, so that form is read and
//! written. Reading needs no code of its own (our reader accepts MLflow's lists). Writing does,
//! because MLflow can say less: everything it cannot say is named, and the caller decides.
//!
//! | ours | in MLflow |
//! |---|---|
//! | type of a column without a counterpart (`bfloat16`, `uint8`, …) | refused |
//! | element type of a tensor that numpy lacks | refused |
//! | named dimension | `-1`, a loss |
//! | closed, nullable, categories, range, unit, description; defaults outside parameters | left out, a loss |
//! | parameter without a default, or optional besides | default `null` or required, a loss |

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Signature;
use super::data_type::{DataType, Dimension};
use super::field::Field;
use super::json::Params;
use super::scalar::Scalar;
use super::schema::Schema;
use crate::invalid::Invalid;

/// A signature as MLflow keeps it: each value is a text in JSON, and absent if nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MlflowSignature {
    /// The list of inputs.
    #[serde(default)]
    pub inputs: Option<String>,
    /// The list of outputs.
    #[serde(default)]
    pub outputs: Option<String>,
    /// The list of parameters.
    #[serde(default)]
    pub params: Option<String>,
}

impl Signature {
    /// Reads MLflow's form. The text `null` and an absent text mean the same.
    pub fn from_mlflow_json(texts: &MlflowSignature) -> Result<Signature, Invalid> {
        let inputs: Option<Schema> = parse("inputs", texts.inputs.as_deref())?;
        let outputs: Option<Schema> = parse("outputs", texts.outputs.as_deref())?;
        let params: Option<Params> = parse("params", texts.params.as_deref())?;
        Signature::new(inputs, outputs, params.map_or_else(Vec::new, |params| params.0))
    }

    /// Writes MLflow's form, or refuses if anything would be lost on the way.
    pub fn to_mlflow_json(&self) -> Result<MlflowSignature, Invalid> {
        let (texts, losses) = self.to_mlflow_json_with_losses()?;
        match losses.first() {
            None => Ok(texts),
            Some(loss) => Err(Invalid::new("MLflow signature", loss, "MLflow's form cannot express it")),
        }
    }

    /// Writes MLflow's form, leaving out what MLflow has no word for, and lists what was left out.
    /// Refuses only types that MLflow does not have.
    pub fn to_mlflow_json_with_losses(&self) -> Result<(MlflowSignature, Vec<String>), Invalid> {
        let mut writer = Writer { losses: Vec::new() };
        let mut schema = |side: &str, schema: Option<&Schema>| -> Result<Option<String>, Invalid> {
            let Some(schema) = schema else { return Ok(None) };
            if schema.is_closed() {
                writer.losses.push(format!("{side}: closed"));
            }
            writer.list(schema.fields(), Writer::column).map(Some)
        };
        let inputs = schema("inputs", self.inputs())?;
        let outputs = schema("outputs", self.outputs())?;
        let params = match self.params() {
            [] => None,
            params => Some(writer.list(params, Writer::param)?),
        };
        Ok((MlflowSignature { inputs, outputs, params }, writer.losses))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(side: &'static str, text: Option<&str>) -> Result<Option<T>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(text)
        .map_err(|error| Invalid::new("MLflow signature", text, format!("{side}: {error}")))
}

struct Writer {
    losses: Vec<String>,
}

impl Writer {
    fn list(
        &mut self,
        fields: &[Field],
        write: impl Fn(&mut Writer, &Field) -> Result<Map<String, Value>, Invalid>,
    ) -> Result<String, Invalid> {
        let entries = fields.iter().map(|field| write(self, field).map(Value::Object));
        Ok(Value::Array(entries.collect::<Result<_, _>>()?).to_string())
    }

    fn column(&mut self, field: &Field) -> Result<Map<String, Value>, Invalid> {
        self.lose(field, "default", field.default.is_some());
        self.lose(field, "nullable", field.nullable);
        let mut entry = self.typed(field)?;
        if field.data_type.is_tensor() {
            self.lose(field, "optional", !field.required);
        } else {
            entry.insert("required".to_owned(), field.required.into());
        }
        Ok(entry)
    }

    fn param(&mut self, field: &Field) -> Result<Map<String, Value>, Invalid> {
        self.lose(field, "no default", field.default.is_none());
        self.lose(field, "nullable", field.nullable && field.default != Some(Value::Null));
        self.lose(field, "optional", !field.required);
        let mut entry = match &field.data_type {
            DataType::Array(items) if matches!(**items, DataType::Scalar(_)) => {
                let mut entry = self.typed(&Field { data_type: (**items).clone(), ..field.clone() })?;
                entry.insert("shape".to_owned(), json!([-1]));
                entry
            }
            _ => {
                let mut entry = self.typed(field)?;
                entry.insert("shape".to_owned(), Value::Null);
                entry
            }
        };
        entry.insert("default".to_owned(), field.default.clone().unwrap_or(Value::Null));
        Ok(entry)
    }

    /// What columns and parameters have in common.
    fn typed(&mut self, field: &Field) -> Result<Map<String, Value>, Invalid> {
        self.lose(field, "categories", field.categories.is_some());
        self.lose(field, "range", field.minimum.is_some() || field.maximum.is_some());
        self.lose(field, "unit", field.unit.is_some());
        self.lose(field, "description", field.description.is_some());
        let mut entry = self.data_type(field, &field.data_type)?;
        if let Some(name) = &field.name {
            entry.insert("name".to_owned(), name.as_str().into());
        }
        Ok(entry)
    }

    fn data_type(&mut self, field: &Field, data_type: &DataType) -> Result<Map<String, Value>, Invalid> {
        let entry = match data_type {
            DataType::Scalar(scalar) => {
                json!({"type": column_name(*scalar).ok_or_else(|| no_word(*scalar))?})
            }
            DataType::Any => json!({"type": "any"}),
            DataType::Array(items) => json!({"type": "array", "items": self.data_type(field, items)?}),
            DataType::Map(values) => json!({"type": "map", "values": self.data_type(field, values)?}),
            DataType::Object(properties) => {
                let mut entries = Map::new();
                for property in properties {
                    let mut entry = self.column(property)?;
                    if let Some(Value::String(name)) = entry.remove("name") {
                        entries.insert(name, Value::Object(entry));
                    }
                }
                json!({"type": "object", "properties": entries})
            }
            DataType::Tensor { scalar, shape } => {
                let dtype = scalar.numpy_name().ok_or_else(|| no_word(*scalar))?;
                let mut sizes = Vec::with_capacity(shape.len());
                for dimension in shape {
                    self.lose(field, "named dimension", matches!(dimension, Dimension::Symbol(_)));
                    sizes.push(match dimension {
                        Dimension::Fixed(size) => i64::from(*size),
                        Dimension::Free | Dimension::Symbol(_) => -1,
                    });
                }
                json!({"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": sizes}})
            }
        };
        match entry {
            Value::Object(entry) => Ok(entry),
            _ => Ok(Map::new()),
        }
    }

    fn lose(&mut self, field: &Field, what: &str, is_lost: bool) {
        if is_lost {
            self.losses.push(format!("{}: {what}", field.shown()));
        }
    }
}

fn no_word(scalar: Scalar) -> Invalid {
    Invalid::new("MLflow signature", scalar, "MLflow has no such type here")
}

/// The name of a type in MLflow's columns, where it has one.
fn column_name(scalar: Scalar) -> Option<&'static str> {
    use Scalar::{Binary, Boolean, Datetime, Double, Float, Integer, Long, SparkmlVector, String};
    matches!(scalar, Boolean | Integer | Long | Float | Double | String | Binary | Datetime | SparkmlVector)
        .then(|| scalar.as_str())
}
