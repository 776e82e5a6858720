//! Reading and writing: every accepted form, every refusal, and that nothing is lost on the way.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compat::diff;

pub(crate) fn read(text: &str) -> Result<Signature, serde_json::Error> {
    serde_json::from_str(text)
}

// ---- Strategies, used by the tests of the comparison too

/// Types of columns. `mlflow` restricts them to those that MLflow has.
pub(crate) fn data_type(mlflow: bool) -> impl Strategy<Value = DataType> {
    let common =
        [Scalar::Boolean, Scalar::Integer, Scalar::Long, Scalar::Float, Scalar::Double, Scalar::String];
    let ours = [Scalar::Int8, Scalar::Uint16, Scalar::Bfloat16, Scalar::Complex64, Scalar::Datetime];
    let scalars = if mlflow { common.to_vec() } else { [common.as_slice(), &ours].concat() };
    let leaf =
        prop_oneof![8 => prop::sample::select(scalars).prop_map(DataType::Scalar), 1 => Just(DataType::Any)];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            inner.clone().prop_map(DataType::array),
            inner.clone().prop_map(DataType::map),
            named(1..3, field(inner, mlflow)).prop_map(DataType::Object),
        ]
    })
}

/// A field with a name to be replaced, of a type from `types`.
fn field(types: impl Strategy<Value = DataType>, mlflow: bool) -> impl Strategy<Value = Field> {
    let texts = || prop::option::of(prop::sample::select(vec!["EUR".to_owned(), "ms".to_owned()]));
    let bound = prop::option::of(-3_i8..3);
    (types, any::<(bool, bool, bool)>(), (bound.clone(), bound), texts(), texts()).prop_map(
        move |(data_type, (required, nullable, has_categories), (a, b), unit, description)| {
            let mut field = Field { required, ..Field::new("?", data_type) };
            if mlflow {
                return field;
            }
            field.nullable = nullable;
            field.unit = unit;
            field.description = description;
            let element = field.data_type.element();
            if element.is_some_and(Scalar::is_number) {
                field.minimum = a.map(f64::from);
                field.maximum = b.map(f64::from).filter(|b| field.minimum.is_none_or(|a| a <= *b));
            }
            if has_categories && element == Some(Scalar::Long) {
                field.categories = Some((0..=a.unwrap_or(0).max(0)).map(|value| json!(value)).collect());
            }
            if nullable && !required {
                field.default = Some(serde_json::Value::Null);
            }
            field
        },
    )
}

/// Fields with different names out of few, so that two lists have names in common.
fn named(
    size: std::ops::Range<usize>,
    field: impl Strategy<Value = Field>,
) -> impl Strategy<Value = Vec<Field>> {
    let names = prop::sample::subsequence(vec!["a", "b", "c.d", "größe"], size).prop_shuffle();
    (names, prop::collection::vec(field, 4)).prop_map(|(names, fields)| {
        names
            .into_iter()
            .zip(fields)
            .map(|(name, field)| Field { name: Some(name.to_owned()), ..field })
            .collect()
    })
}

fn tensor(mlflow: bool) -> impl Strategy<Value = Field> {
    let symbol = if mlflow { Dimension::Free } else { Dimension::Symbol("batch".to_owned()) };
    let dimension = prop_oneof![(1_u32..4).prop_map(Dimension::Fixed), Just(Dimension::Free), Just(symbol)];
    let shape = prop::collection::vec(dimension, 0..4);
    let scalars = vec![Scalar::Float, Scalar::Uint8, Scalar::Long, Scalar::PyObject, Scalar::Float16];
    (prop::sample::select(scalars), shape).prop_map(|(scalar, shape)| Field::tensor("?", scalar, shape))
}

fn unnamed(fields: Vec<Field>) -> Vec<Field> {
    fields.into_iter().map(|field| Field { name: None, required: true, ..field }).collect()
}

pub(crate) fn schema(mlflow: bool) -> impl Strategy<Value = Schema> {
    let columns = || named(1..5, field(data_type(mlflow), mlflow));
    let fields = prop_oneof![
        4 => columns(),
        2 => columns().prop_map(unnamed),
        2 => named(1..4, tensor(mlflow)),
        1 => tensor(mlflow).prop_map(|tensor| unnamed(vec![tensor])),
    ];
    (fields, any::<bool>()).prop_map(move |(fields, closed)| {
        let schema = Schema::new(fields).unwrap();
        if closed && !mlflow { schema.closed() } else { schema }
    })
}

pub(crate) fn signature(mlflow: bool) -> impl Strategy<Value = Signature> {
    let params = named(0..3, field(data_type(mlflow), mlflow)).prop_map(move |params| {
        let with_default = |param: Field| match mlflow {
            true => Field { required: true, ..param.nullable().default_value(serde_json::Value::Null) },
            false => param,
        };
        params.into_iter().map(with_default).collect::<Vec<_>>()
    });
    (schema(mlflow), prop::option::of(schema(mlflow)), params)
        .prop_map(|(inputs, outputs, params)| Signature::new(Some(inputs), outputs, params).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn json_loses_nothing(signature in signature(false)) {
        let text = serde_json::to_string(&signature).unwrap();
        let back = read(&text).unwrap();
        prop_assert_eq!(&back, &signature);
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn mlflow_loses_nothing_that_it_accepts(signature in signature(true)) {
        let texts = signature.to_mlflow_json().unwrap();
        let back = Signature::from_mlflow_json(&texts).unwrap();
        // The order of an object's properties has no meaning and is not kept.
        prop_assert_eq!(diff(&signature, &back), vec![]);
        prop_assert_eq!(back.to_mlflow_json().unwrap(), texts);
    }

    #[test]
    fn reading_never_panics(text in r#"\{("inputs":|"columns":|"type":|"long"|[\[\]{},:]|-1|"shape":|null){0,20}"#) {
        let _ = read(&text);
    }
}

// ---- Forms

#[test]
fn the_written_form_is_the_documented_one() {
    let text = concat!(
        r#"{"inputs":{"columns":[{"name":"amount","type":"double","minimum":0.0,"unit":"EUR"},"#,
        r#"{"name":"country","type":"string","required":false,"default":"DE"},"#,
        r#"{"name":"basket","type":"array","items":{"type":"object","properties":["#,
        r#"{"name":"sku","type":"string"},{"name":"count","type":"long"}]}}],"closed":true},"#,
        r#""outputs":{"tensors":[{"name":"scores","type":"float","shape":["batch",-1,3]}]},"#,
        r#""params":[{"name":"threshold","type":"double","default":0.5}]}"#,
    );
    assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
}

#[test]
fn every_attribute_is_written_and_read_back() {
    let text = concat!(
        r#"{"inputs":{"columns":[{"name":"a","type":"map","values":"any","required":false,"nullable":true,"#,
        r#""default":null,"unit":"u","description":"d"},{"name":"b","type":"long","#,
        r#""categories":[1,2],"minimum":1.0,"maximum":2.0}]}}"#,
    );
    assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
}

#[test]
fn short_forms_mean_the_same_as_the_full_form() {
    let full = r#"{"inputs": {"columns": [{"name": "z", "type": "long"}, {"name": "a", "type": "array", "items": "string"}]}}"#;
    for short in [
        r#"{"inputs": {"z": "int", "a": {"type": "array", "items": "str"}}}"#,
        r#"{"inputs": [{"name": "z", "type": "int64"}, {"name": "a", "type": "array", "items": {"type": "string"}}]}"#,
        r#"{"inputs": {"closed": false, "z": {"name": "z", "type": "long"}, "a": {"type": "array", "items": "str"}}}"#,
    ] {
        assert_eq!(read(short).unwrap(), read(full).unwrap(), "{short}");
    }
    let unnamed = read(r#"{"outputs": ["double", "bool"]}"#).unwrap();
    assert!(!unnamed.outputs().unwrap().is_named());
    let odd =
        read(r#"{"inputs": {"columns": "long", "closed": "bool", "tensors": {"type": "any"}}}"#).unwrap();
    assert_eq!(odd.inputs().unwrap().fields().len(), 3);
    assert!(read(r#"{"inputs": {"a": "long", "closed": true}}"#).unwrap().inputs().unwrap().is_closed());
}

#[test]
fn parameters_may_be_lists_in_mlflows_way() {
    let signature = read(
        r#"{"params": [{"name": "stop", "type": "string", "default": ["a"], "shape": [-1]},
                       {"name": "top", "type": "long", "default": null, "shape": null}]}"#,
    )
    .unwrap();
    assert_eq!(signature.params()[0].data_type, DataType::array(Scalar::String));
    assert!(signature.params()[1].nullable);
    assert!(signature.inputs().is_none());
}

#[test]
fn illegal_texts_are_refused() {
    for (case, text, problem) in [
        ("empty signature", r#"{}"#, "neither"),
        ("only null", r#"{"inputs": null}"#, "neither"),
        ("unknown part", r#"{"input": {"a": "long"}}"#, "input"),
        ("empty schema", r#"{"inputs": {}}"#, "empty"),
        ("empty list", r#"{"inputs": []}"#, "empty"),
        ("schema of another shape", r#"{"inputs": "long"}"#, "a list of fields"),
        ("field of another shape", r#"{"inputs": [1]}"#, "a type such as"),
        ("unknown type", r#"{"inputs": {"a": "decimal"}}"#, "expected one of"),
        ("duplicate in the short form", r#"{"inputs": {"a": "long", "a": "float"}}"#, "used twice"),
        (
            "duplicate property",
            r#"{"inputs": [{"type": "object", "properties": {"a": "long", "a": "any"}}]}"#,
            "twice",
        ),
        ("duplicate key", r#"{"inputs": [{"type": "long", "type": "long"}]}"#, "duplicate"),
        ("two lists", r#"{"inputs": {"columns": ["long"], "tensors": []}}"#, "does not belong"),
        ("list and fields", r#"{"inputs": {"columns": ["long"], "a": "long"}}"#, "beside"),
        ("unknown key of a schema", r#"{"inputs": {"columns": ["long"], "strict": true}}"#, "strict"),
        ("misspelt key", r#"{"inputs": [{"type": "long", "requierd": false}]}"#, "requierd"),
        ("no type", r#"{"inputs": [{"name": "a"}]}"#, "type"),
        ("another name inside", r#"{"inputs": {"a": {"name": "b", "type": "long"}}}"#, "calls itself"),
        (
            "tensor among columns",
            r#"{"inputs": {"columns": [{"type": "float", "shape": []}]}}"#,
            "no `shape`",
        ),
        ("column among tensors", r#"{"inputs": {"tensors": ["float"]}}"#, "needs a `shape`"),
        ("array without items", r#"{"inputs": ["array"]}"#, "needs the key `items`"),
        ("map without values", r#"{"inputs": ["map"]}"#, "needs the key `values`"),
        ("object without properties", r#"{"inputs": ["object"]}"#, "needs the key `properties`"),
        ("tensor without its spec", r#"{"inputs": ["tensor"]}"#, "needs the key `tensor-spec`"),
        ("items of a scalar", r#"{"inputs": [{"type": "long", "items": "long"}]}"#, "no key `items`"),
        (
            "shape of an array",
            r#"{"inputs": [{"type": "array", "items": "long", "shape": []}]}"#,
            "no key `shape`",
        ),
        (
            "unit of items",
            r#"{"inputs": [{"type": "array", "items": {"type": "long", "unit": "s"}}]}"#,
            "only the type",
        ),
        ("negative size", r#"{"inputs": [{"type": "float", "shape": [-2]}]}"#, "a dimension"),
        (
            "enormous size",
            r#"{"inputs": [{"type": "float", "shape": [18446744073709551615]}]}"#,
            "a dimension",
        ),
        ("size with a fraction", r#"{"inputs": [{"type": "float", "shape": [1.5]}]}"#, "a dimension"),
        ("null where null is refused", r#"{"inputs": [{"type": "long", "categories": [null]}]}"#, "category"),
        ("unnamed parameter", r#"{"params": ["long"]}"#, "needs a name"),
        (
            "parameter of another shape",
            r#"{"params": [{"name": "a", "type": "long", "shape": [3]}]}"#,
            "a list",
        ),
        ("tensor as parameter", r#"{"params": {"a": {"type": "float", "shape": [-1, 2]}}}"#, "a list"),
    ] {
        let error = read(text).map(|signature| format!("{signature:?}")).unwrap_err().to_string();
        assert!(error.contains(problem), "{case}: {error}");
    }
}

#[test]
fn hostile_texts_end_in_an_error() {
    let deep = |levels: usize| {
        let open = r#"{"type": "array", "items": "#.repeat(levels);
        format!(r#"{{"inputs": [{open}"long"{}]}}"#, "}".repeat(levels))
    };
    assert!(read(&deep(Schema::DEPTH_MAX - 1)).is_ok());
    assert!(read(&deep(Schema::DEPTH_MAX)).unwrap_err().to_string().contains("deep"));
    assert!(read(&deep(100_000)).is_err());
    let many = format!(r#"{{"inputs": [{}"long"]}}"#, r#""long","#.repeat(Schema::FIELDS_MAX));
    assert!(read(&many).unwrap_err().to_string().contains("more than 10000 fields"));
    let name = "x".repeat(NAME_BYTES_MAX + 1);
    assert!(
        read(&format!(r#"{{"inputs": {{"{name}": "long"}}}}"#)).unwrap_err().to_string().contains("longer")
    );
}

#[test]
fn a_type_alone_is_checked_too() {
    let read = serde_json::from_str::<DataType>;
    assert_eq!(read(r#""int""#).unwrap(), Scalar::Long.into());
    assert_eq!(read(r#"{"type": "map", "values": "any"}"#).unwrap(), DataType::map(DataType::Any));
    assert!(read(r#"{"type": "object", "properties": {}}"#).is_err());
    assert!(read(r#"{"type": "long", "unit": "s"}"#).is_err());
}

// ---- MLflow

fn mlflow(inputs: &str, outputs: &str, params: &str) -> MlflowSignature {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    MlflowSignature { inputs: text(inputs), outputs: text(outputs), params: text(params) }
}

#[test]
fn mlflows_texts_are_read_and_written_alike() {
    let texts = mlflow(
        concat!(
            r#"[{"name":"a","required":true,"type":"long"},{"items":{"type":"double"},"name":"b","required":false,"#,
            r#""type":"array"},{"name":"c","properties":{"x":{"required":true,"type":"string"},"y":{"required":false,"#,
            r#""type":"datetime"}},"required":true,"type":"object"},{"name":"d","required":true,"type":"map","#,
            r#""values":{"type":"any"}},{"name":"e","required":true,"type":"sparkml_vector"}]"#
        ),
        r#"[{"tensor-spec":{"dtype":"float32","shape":[-1,28,28]},"type":"tensor"}]"#,
        concat!(
            r#"[{"default":0.5,"name":"t","shape":null,"type":"double"},"#,
            r#"{"default":["a"],"name":"stop","shape":[-1],"type":"string"}]"#
        ),
    );
    let signature = Signature::from_mlflow_json(&texts).unwrap();
    assert!(signature.outputs().unwrap().is_tensors());
    assert_eq!(signature.to_mlflow_json().unwrap(), texts);
}

#[test]
fn older_mlflow_texts_without_required_are_read() {
    let texts = mlflow(r#"[{"name": "a", "type": "double"}]"#, r#"[{"type": "long"}]"#, "null");
    let signature = Signature::from_mlflow_json(&texts).unwrap();
    assert!(signature.inputs().unwrap().fields()[0].required);
    assert!(signature.params().is_empty());
}

#[test]
fn bad_mlflow_texts_are_refused() {
    for (texts, problem) in [
        (mlflow("", "", ""), "neither"),
        (mlflow("null", "null", "null"), "neither"),
        (mlflow("[]", "", ""), "empty"),
        (mlflow("not json", "", ""), "inputs: "),
        (mlflow("", "", r#"[{"name": "a", "type": "long", "default": NaN, "shape": null}]"#), "params: "),
        (mlflow(r#"[{"type": "tensor", "tensor-spec": {"dtype": "void", "shape": []}}]"#, "", ""), "void"),
    ] {
        let error = Signature::from_mlflow_json(&texts).unwrap_err();
        assert!(error.to_string().contains(problem), "{texts:?}: {error}");
    }
}

#[test]
fn what_mlflow_cannot_say_is_refused_or_listed() {
    let column = || Field::new("a", Scalar::Long);
    let symbol = Field::tensor("a", Scalar::Float, vec![Dimension::Symbol("batch".to_owned())]);
    let nested = Field::new("o", DataType::Object(vec![column().unit("s")]));
    let inputs =
        |field: Field| Signature::new(Some(Schema::new(vec![field]).unwrap()), None, vec![]).unwrap();
    let params = |field: Field| Signature::new(None, None, vec![field]).unwrap();
    let closed = Schema::new(vec![column()]).unwrap().closed();
    for (case, signature, loss) in [
        ("default", inputs(column().default_value(1)), "a: default"),
        ("nullable", inputs(column().nullable()), "a: nullable"),
        ("categories", inputs(column().categories([1])), "a: categories"),
        ("range", inputs(column().range(Some(0.0), None)), "a: range"),
        ("unit", inputs(column().unit("s")), "a: unit"),
        ("description", inputs(column().description("x")), "a: description"),
        ("nested unit", inputs(nested), "a: unit"),
        ("named dimension", inputs(symbol), "a: named dimension"),
        ("optional tensor", inputs(Field::tensor("a", Scalar::Float, vec![]).optional()), "a: optional"),
        ("closed", Signature::new(Some(closed), None, vec![]).unwrap(), "inputs: closed"),
        ("parameter without default", params(column()), "a: no default"),
        ("optional parameter", params(column().default_value(1).optional()), "a: optional"),
        ("nullable parameter", params(column().default_value(1).nullable()), "a: nullable"),
    ] {
        let error = signature.to_mlflow_json().unwrap_err();
        assert_eq!(error.what, "MLflow signature", "{case}");
        let (texts, losses) = signature.to_mlflow_json_with_losses().unwrap();
        assert_eq!(losses, [loss], "{case}");
        assert!(Signature::from_mlflow_json(&texts).is_ok(), "{case}");
    }
    for signature in [
        inputs(Field::new("a", Scalar::Bfloat16)),
        inputs(Field::new("a", DataType::array(Scalar::Uint8))),
        inputs(Field::tensor("a", Scalar::Bfloat16, vec![])),
        params(Field::new("a", Scalar::Int8).default_value(1)),
    ] {
        assert_eq!(signature.to_mlflow_json_with_losses().unwrap_err().what, "MLflow signature");
    }
}
