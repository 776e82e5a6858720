//! Why this exists: a signature says what a model takes and what it gives. It is the only thing in
//! a version that a machine can compare to tell whether callers of the old one survive the new
//! one, so everything that matters to a caller has a place in it, and nothing illegal has.
//!
//! # In JSON
//!
//! Written in one form, keys in this order, anything at its default left out:
//!
//! ```json
//! {
//!   "inputs": {
//!     "columns": [
//!       {"name": "amount", "type": "double", "minimum": 0.0, "unit": "EUR"},
//!       {"name": "country", "type": "string", "required": false, "default": "DE"},
//!       {"name": "basket", "type": "array", "items": {"type": "object", "properties": [
//!         {"name": "sku", "type": "string"}, {"name": "count", "type": "long"}]}}
//!     ],
//!     "closed": true
//!   },
//!   "outputs": {"tensors": [{"name": "scores", "type": "float", "shape": ["batch", -1, 3]}]},
//!   "params": [{"name": "threshold", "type": "double", "default": 0.5}]
//! }
//! ```
//!
//! Read in that form and in shorter ones: a list of fields alone, an object of name → type, types
//! by any of their usual names, and MLflow's own lists.
//!
//! ```
//! use registry_core::signature::Signature;
//! let short: Signature = serde_json::from_str(
//!     r#"{"inputs": {"amount": "float", "merchant_id": "int"}, "outputs": {"is_fraud": "bool"}}"#,
//! )?;
//! assert_eq!(
//!     serde_json::to_string(&short)?,
//!     concat!(
//!         r#"{"inputs":{"columns":[{"name":"amount","type":"float"},{"name":"merchant_id","type":"long"}]},"#,
//!         r#""outputs":{"columns":[{"name":"is_fraud","type":"boolean"}]}}"#,
//!     ),
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! A field with a `shape` is a tensor. In an object of name → type the name `closed` with a flag
//! behind it is the content model, never a field.

mod data_type;
mod field;
mod json;
mod mlflow;
mod scalar;
mod schema;
#[cfg(test)]
pub(crate) mod tests;

pub use data_type::{DataType, Dimension};
pub use field::{CATEGORIES_MAX, Field, NAME_BYTES_MAX, TEXT_BYTES_MAX};
pub(crate) use field::{check_name, check_text};
pub use mlflow::MlflowSignature;
pub use scalar::Scalar;
pub use schema::Schema;
pub(crate) use schema::check_data_type;

use crate::invalid::Invalid;

/// What a model takes and gives. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    inputs: Option<Schema>,
    outputs: Option<Schema>,
    params: Option<Schema>,
}

impl Signature {
    /// A signature from its parts, of which at least one must be known. Parameters are fields with
    /// a name, never tensors, and usually with a default.
    pub fn new(
        inputs: Option<Schema>,
        outputs: Option<Schema>,
        params: Vec<Field>,
    ) -> Result<Signature, Invalid> {
        let params = if params.is_empty() { None } else { Some(Schema::new(params)?) };
        if let Some(params) = &params
            && (!params.is_named() || params.is_tensors())
        {
            return Err(Invalid::new("signature", "params", "every parameter needs a name and is no tensor"));
        }
        if inputs.is_none() && outputs.is_none() && params.is_none() {
            return Err(Invalid::new("signature", "", "it has neither inputs nor outputs nor parameters"));
        }
        Ok(Signature { inputs, outputs, params })
    }

    /// What the model takes; `None` if that is not known.
    pub fn inputs(&self) -> Option<&Schema> {
        self.inputs.as_ref()
    }

    /// What the model gives; `None` if that is not known.
    pub fn outputs(&self) -> Option<&Schema> {
        self.outputs.as_ref()
    }

    /// What a caller may set besides the inputs. Empty if there is nothing to set.
    pub fn params(&self) -> &[Field] {
        self.params.as_ref().map_or(&[], Schema::fields)
    }
}
