//! The reference table row by row, each judged as inputs and as outputs; then what must hold for
//! any two signatures; then the reports.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::features::FeatureSchema;
use crate::signature::tests::{read, signature};
use crate::signature::{DataType, Dimension, Field, Scalar, Schema};

use Bump::{Major, Minor, Patch};

fn inputs(schema: &Schema) -> Signature {
    Signature::new(Some(schema.clone()), None, vec![]).unwrap()
}

fn outputs(schema: &Schema) -> Signature {
    Signature::new(None, Some(schema.clone()), vec![]).unwrap()
}

fn open(fields: &[Field]) -> Schema {
    Schema::new(fields.to_vec()).unwrap()
}

fn told(findings: &[Finding]) -> Vec<(&str, &str, Bump)> {
    findings.iter().map(|finding| (finding.id.as_str(), finding.path.as_str(), finding.required)).collect()
}

/// One row: the findings by id and path below the side, and the bump on either side.
struct Row {
    name: &'static str,
    old: Schema,
    new: Schema,
    ids: &'static [&'static str],
    path: &'static str,
    as_inputs: Bump,
    as_outputs: Bump,
}

impl Row {
    fn check(&self) {
        for (side, findings, expected) in [
            ("inputs", diff(&inputs(&self.old), &inputs(&self.new)), self.as_inputs),
            ("outputs", diff(&outputs(&self.old), &outputs(&self.new)), self.as_outputs),
        ] {
            let name = self.name;
            let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
            let mut expected_ids = self.ids.to_vec();
            expected_ids.sort_unstable();
            let mut sorted_ids = ids.clone();
            sorted_ids.sort_unstable();
            assert_eq!(sorted_ids, expected_ids, "{name}, {side}: {findings:#?}");
            assert_eq!(required_bump(&findings), expected, "{name}, {side}: {findings:#?}");
            if let [finding] = findings.as_slice() {
                assert_eq!(finding.path, format!("{side}{}", self.path), "{name}");
            }
        }
    }
}

fn row(
    name: &'static str,
    old: Schema,
    new: Schema,
    ids: &'static [&'static str],
    path: &'static str,
    as_inputs: Bump,
    as_outputs: Bump,
) -> Row {
    Row { name, old, new, ids, path, as_inputs, as_outputs }
}

fn tensor(dimensions: &[Dimension]) -> Field {
    Field::tensor("t", Scalar::Float, dimensions.to_vec())
}

#[test]
fn every_row_of_the_reference_table() {
    let a = || Field::new("a", Scalar::Long);
    let b = || Field::new("b", Scalar::String);
    let of = |data_type: DataType| open(&[Field::new("a", data_type)]);
    let scalar = |scalar: Scalar| of(scalar.into());
    let unnamed = |scalars: &[Scalar]| open(&scalars.iter().map(|s| Field::unnamed(*s)).collect::<Vec<_>>());
    let fixed = Dimension::Fixed;
    let free = || Dimension::Free;
    let symbol = |name: &str| Dimension::Symbol(name.to_owned());
    let shaped = |dimensions: &[Dimension]| open(&[tensor(dimensions)]);
    let with = |field: Field| open(&[field]);
    let classes = |classes: &[&str]| with(b().categories(classes.iter().copied()));
    let range = |low: Option<f64>, high: Option<f64>| with(a().range(low, high));

    let rows = [
        // Fields that come and go.
        row("add required", open(&[a()]), open(&[a(), b()]), &["required-field-added"], ".b", Major, Minor),
        row(
            "add optional",
            open(&[a()]),
            open(&[a(), b().optional()]),
            &["optional-field-added"],
            ".b",
            Minor,
            Minor,
        ),
        row(
            "add required with default",
            open(&[a()]),
            open(&[a(), b().default_value("x")]),
            &["optional-field-added"],
            ".b",
            Minor,
            Minor,
        ),
        row(
            "add required, closed",
            open(&[a()]).closed(),
            open(&[a(), b()]).closed(),
            &["required-field-added"],
            ".b",
            Major,
            Major,
        ),
        row(
            "add optional, closed",
            open(&[a()]).closed(),
            open(&[a(), b().optional()]).closed(),
            &["optional-field-added"],
            ".b",
            Minor,
            Major,
        ),
        row(
            "add by position",
            unnamed(&[Scalar::Long]),
            unnamed(&[Scalar::Long, Scalar::Long]),
            &["required-field-added"],
            "[1]",
            Major,
            Major,
        ),
        row("remove, open", open(&[a(), b()]), open(&[a()]), &["field-removed"], ".b", Minor, Major),
        row(
            "remove, closed",
            open(&[a(), b()]).closed(),
            open(&[a()]).closed(),
            &["field-removed"],
            ".b",
            Major,
            Major,
        ),
        row(
            "remove by position",
            unnamed(&[Scalar::Long, Scalar::Long]),
            unnamed(&[Scalar::Long]),
            &["field-removed"],
            "[1]",
            Major,
            Major,
        ),
        row(
            "rename",
            open(&[a()]),
            open(&[b()]),
            &["field-removed", "required-field-added"],
            "",
            Major,
            Major,
        ),
        row(
            "remove named tensor, open",
            open(&[a_tensor("x"), a_tensor("y")]),
            open(&[a_tensor("x")]),
            &["field-removed"],
            ".y",
            Minor,
            Major,
        ),
        // Presence.
        row(
            "optional → required",
            with(a().optional()),
            with(a()),
            &["field-made-required"],
            ".a",
            Major,
            Minor,
        ),
        row(
            "required → optional",
            with(a()),
            with(a().optional()),
            &["field-made-optional"],
            ".a",
            Minor,
            Major,
        ),
        row("nullable added", with(a()), with(a().nullable()), &["nullable-added"], ".a", Minor, Major),
        row("nullable removed", with(a().nullable()), with(a()), &["nullable-removed"], ".a", Major, Minor),
        // Types of columns.
        row(
            "integer → long",
            scalar(Scalar::Integer),
            scalar(Scalar::Long),
            &["type-widened"],
            ".a",
            Minor,
            Major,
        ),
        row(
            "float → double",
            scalar(Scalar::Float),
            scalar(Scalar::Double),
            &["type-widened"],
            ".a",
            Minor,
            Major,
        ),
        row(
            "integer → double",
            scalar(Scalar::Integer),
            scalar(Scalar::Double),
            &["type-widened"],
            ".a",
            Minor,
            Major,
        ),
        row("long → any", scalar(Scalar::Long), of(DataType::Any), &["type-widened"], ".a", Minor, Major),
        row(
            "array → any",
            of(DataType::array(Scalar::Long)),
            of(DataType::Any),
            &["type-widened"],
            ".a",
            Minor,
            Major,
        ),
        row(
            "long → integer",
            scalar(Scalar::Long),
            scalar(Scalar::Integer),
            &["type-narrowed"],
            ".a",
            Major,
            Minor,
        ),
        row(
            "double → float",
            scalar(Scalar::Double),
            scalar(Scalar::Float),
            &["type-narrowed"],
            ".a",
            Major,
            Minor,
        ),
        row("any → long", of(DataType::Any), scalar(Scalar::Long), &["type-narrowed"], ".a", Major, Minor),
        row(
            "long → double",
            scalar(Scalar::Long),
            scalar(Scalar::Double),
            &["type-changed"],
            ".a",
            Major,
            Major,
        ),
        row(
            "long → string",
            scalar(Scalar::Long),
            scalar(Scalar::String),
            &["type-changed"],
            ".a",
            Major,
            Major,
        ),
        row(
            "scalar → array",
            scalar(Scalar::Long),
            of(DataType::array(Scalar::Long)),
            &["type-changed"],
            ".a",
            Major,
            Major,
        ),
        // Tensors.
        row(
            "tensor dtype",
            open(&[Field::tensor("t", Scalar::Float, vec![])]),
            open(&[Field::tensor("t", Scalar::Double, vec![])]),
            &["type-changed"],
            ".t",
            Major,
            Major,
        ),
        row(
            "fixed → free",
            shaped(&[fixed(3)]),
            shaped(&[free()]),
            &["dimension-freed"],
            ".t.shape[0]",
            Minor,
            Major,
        ),
        row(
            "fixed → named",
            shaped(&[fixed(3)]),
            shaped(&[symbol("n")]),
            &["dimension-freed"],
            ".t.shape[0]",
            Minor,
            Major,
        ),
        row(
            "free → fixed",
            shaped(&[free()]),
            shaped(&[fixed(3)]),
            &["dimension-fixed"],
            ".t.shape[0]",
            Major,
            Minor,
        ),
        row(
            "named → fixed",
            shaped(&[symbol("n")]),
            shaped(&[fixed(3)]),
            &["dimension-fixed"],
            ".t.shape[0]",
            Major,
            Minor,
        ),
        row(
            "fixed → other fixed",
            shaped(&[free(), fixed(3)]),
            shaped(&[free(), fixed(4)]),
            &["dimension-changed"],
            ".t.shape[1]",
            Major,
            Major,
        ),
        row(
            "named → other name",
            shaped(&[symbol("n")]),
            shaped(&[symbol("m")]),
            &["dimension-renamed"],
            ".t.shape[0]",
            Patch,
            Patch,
        ),
        row(
            "free → named",
            shaped(&[free()]),
            shaped(&[symbol("n")]),
            &["dimension-renamed"],
            ".t.shape[0]",
            Patch,
            Patch,
        ),
        row("rank", shaped(&[free()]), shaped(&[free(), free()]), &["rank-changed"], ".t", Major, Major),
        // Order and form.
        row("reorder, named", open(&[a(), b()]), open(&[b(), a()]), &["fields-reordered"], "", Patch, Patch),
        row(
            "reorder, unnamed",
            unnamed(&[Scalar::Long, Scalar::String]),
            unnamed(&[Scalar::String, Scalar::Long]),
            &["positions-changed"],
            "",
            Major,
            Major,
        ),
        row(
            "reorder, unnamed, along the lattice",
            unnamed(&[Scalar::Integer, Scalar::Long]),
            unnamed(&[Scalar::Long, Scalar::Integer]),
            &["positions-changed"],
            "",
            Major,
            Major,
        ),
        row("columns → tensors", open(&[a()]), shaped(&[]), &["form-changed"], "", Major, Major),
        row("tensors → columns", shaped(&[]), open(&[a()]), &["form-changed"], "", Major, Major),
        row("named → unnamed", open(&[a()]), unnamed(&[Scalar::Long]), &["naming-changed"], "", Major, Major),
        row("unnamed → named", unnamed(&[Scalar::Long]), open(&[a()]), &["naming-changed"], "", Major, Major),
        row("open → closed", open(&[a()]), open(&[a()]).closed(), &["content-closed"], "", Major, Minor),
        row("closed → open", open(&[a()]).closed(), open(&[a()]), &["content-opened"], "", Minor, Major),
        // Values.
        row(
            "categories extended",
            classes(&["x"]),
            classes(&["x", "y"]),
            &["categories-extended"],
            ".b",
            Minor,
            Major,
        ),
        row("categories given up", classes(&["x"]), with(b()), &["categories-extended"], ".b", Minor, Major),
        row(
            "categories narrowed",
            classes(&["x", "y"]),
            classes(&["y"]),
            &["categories-narrowed"],
            ".b",
            Major,
            Minor,
        ),
        row(
            "categories introduced",
            with(b()),
            classes(&["x"]),
            &["categories-narrowed"],
            ".b",
            Major,
            Minor,
        ),
        row(
            "categories replaced",
            classes(&["x"]),
            classes(&["y"]),
            &["categories-extended", "categories-narrowed"],
            "",
            Major,
            Major,
        ),
        row("categories reordered", classes(&["x", "y"]), classes(&["y", "x"]), &[], "", Patch, Patch),
        row(
            "maximum raised",
            range(None, Some(1.0)),
            range(None, Some(2.0)),
            &["range-relaxed"],
            ".a",
            Minor,
            Major,
        ),
        row(
            "minimum dropped",
            range(Some(1.0), None),
            range(None, None),
            &["range-relaxed"],
            ".a",
            Minor,
            Major,
        ),
        row(
            "minimum raised",
            range(Some(1.0), None),
            range(Some(2.0), None),
            &["range-tightened"],
            ".a",
            Major,
            Minor,
        ),
        row(
            "maximum introduced",
            range(None, None),
            range(None, Some(2.0)),
            &["range-tightened"],
            ".a",
            Major,
            Minor,
        ),
        row(
            "range moved",
            range(Some(0.0), Some(1.0)),
            range(Some(1.0), Some(2.0)),
            &["range-relaxed", "range-tightened"],
            "",
            Major,
            Major,
        ),
        // Meaning.
        row("unit", with(a().unit("s")), with(a().unit("ms")), &["unit-changed"], ".a", Major, Major),
        row("unit recorded", with(a()), with(a().unit("ms")), &["declared-on-one-side"], ".a", Patch, Patch),
        row(
            "description",
            with(a()),
            with(a().description("x")),
            &["description-changed"],
            ".a",
            Patch,
            Patch,
        ),
        row(
            "default changed",
            with(a().default_value(1)),
            with(a().default_value(2)),
            &["default-changed"],
            ".a",
            Minor,
            Minor,
        ),
    ];
    for row in &rows {
        row.check();
    }
    // Each row is in the table once, and none was lost in editing.
    let names: std::collections::HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
}

fn a_tensor(name: &str) -> Field {
    Field { name: Some(name.to_owned()), ..tensor(&[Dimension::Free]) }
}

#[test]
fn a_default_lets_callers_omit_an_input_but_says_nothing_about_an_output() {
    let required = open(&[Field::new("a", Scalar::Long)]);
    let with_default = open(&[Field::new("a", Scalar::Long).default_value(1)]);
    assert_eq!(
        told(&diff(&inputs(&required), &inputs(&with_default))),
        [("default-changed", "inputs.a", Minor), ("field-made-optional", "inputs.a", Minor)]
    );
    assert_eq!(
        told(&diff(&inputs(&with_default), &inputs(&required))),
        [("field-made-required", "inputs.a", Major), ("default-changed", "inputs.a", Minor)]
    );
    assert_eq!(
        told(&diff(&outputs(&required), &outputs(&with_default))),
        [("default-changed", "outputs.a", Minor)]
    );
}

#[test]
fn the_side_that_reads_decides_whether_extra_fields_break() {
    let one = open(&[Field::new("a", Scalar::Long)]);
    let two = open(&[Field::new("a", Scalar::Long), Field::new("b", Scalar::Long)]);
    let required = |findings: Vec<Finding>, id: FindingId| {
        findings.iter().find(|finding| finding.id == id).map(|finding| finding.required)
    };
    // The new version reads what callers of the old one send.
    let removed = FindingId::FieldRemoved;
    assert_eq!(required(diff(&inputs(&two), &inputs(&one.clone().closed())), removed), Some(Major));
    assert_eq!(required(diff(&inputs(&two.clone().closed()), &inputs(&one)), removed), Some(Minor));
    // Consumers of the old version read what the new one gives.
    let added = FindingId::RequiredFieldAdded;
    assert_eq!(required(diff(&outputs(&one.clone().closed()), &outputs(&two)), added), Some(Major));
    assert_eq!(required(diff(&outputs(&one), &outputs(&two.closed())), added), Some(Minor));
}

#[test]
fn arrays_maps_and_objects_are_compared_inside() {
    let nested = |inner: Scalar, extra: &[Field]| {
        let mut properties = vec![Field::new("label", inner)];
        properties.extend_from_slice(extra);
        open(&[
            Field::new("scores", DataType::array(DataType::Object(properties))),
            Field::new("by.key", DataType::map(inner)),
        ])
    };
    let old = nested(Scalar::Float, &[]);
    let new = nested(Scalar::Double, &[Field::new("rank", Scalar::Long)]);
    assert_eq!(
        told(&diff(&outputs(&old), &outputs(&new))),
        [
            ("type-widened", "outputs.scores[].label", Major),
            ("type-widened", r#"outputs["by.key"]{}"#, Major),
            ("required-field-added", "outputs.scores[].rank", Minor),
        ]
    );
    assert_eq!(
        told(&diff(&inputs(&old), &inputs(&new))),
        [
            ("required-field-added", "inputs.scores[].rank", Major),
            ("type-widened", "inputs.scores[].label", Minor),
            ("type-widened", r#"inputs["by.key"]{}"#, Minor),
        ]
    );
}

#[test]
fn every_row_about_parameters() {
    let with = |params: &[Field]| {
        Signature::new(Some(open(&[Field::new("a", Scalar::Long)])), None, params.to_vec()).unwrap()
    };
    let p = |scalar: Scalar| Field::new("p", scalar).default_value(1);
    let list = Field::new("p", DataType::array(Scalar::Long)).default_value(json!([1]));
    for (name, old, new, expected) in [
        ("new with default", with(&[]), with(&[p(Scalar::Long)]), ("optional-field-added", Minor)),
        (
            "new without default",
            with(&[]),
            with(&[Field::new("p", Scalar::Long)]),
            ("required-field-added", Major),
        ),
        ("removed", with(&[p(Scalar::Long)]), with(&[]), ("field-removed", Major)),
        ("wider", with(&[p(Scalar::Integer)]), with(&[p(Scalar::Long)]), ("type-widened", Minor)),
        ("narrower", with(&[p(Scalar::Long)]), with(&[p(Scalar::Integer)]), ("type-narrowed", Major)),
        (
            "default changed",
            with(&[p(Scalar::Long)]),
            with(&[Field::new("p", Scalar::Long).default_value(2)]),
            ("default-changed", Minor),
        ),
    ] {
        assert_eq!(told(&diff(&old, &new)), [(expected.0, "params.p", expected.1)], "{name}");
    }
    let to_list = diff(&with(&[p(Scalar::Long)]), &with(&[list]));
    assert_eq!(told(&to_list), [("type-changed", "params.p", Major), ("default-changed", "params.p", Minor)]);
    let unordered = diff(
        &with(&[p(Scalar::Long), Field::new("q", Scalar::Long)]),
        &with(&[Field::new("q", Scalar::Long), p(Scalar::Long)]),
    );
    assert_eq!(unordered, []);
}

#[test]
fn every_row_about_features() {
    let read = |text: &str| serde_json::from_str::<FeatureSchema>(text).unwrap();
    let set =
        |feature: &str| read(&format!(r#"{{"set": "s", "version": "v1", "features": ["a", {feature}]}}"#));
    for (name, old, new, expected) in [
        (
            "removed",
            set(r#""b""#),
            read(r#"{"set": "s", "version": "v1", "features": ["a"]}"#),
            ("feature-removed", Major),
        ),
        (
            "added",
            read(r#"{"set": "s", "version": "v1", "features": ["a"]}"#),
            set(r#""b""#),
            ("feature-added", Minor),
        ),
        (
            "widened",
            set(r#"{"name": "b", "type": "integer"}"#),
            set(r#"{"name": "b", "type": "long"}"#),
            ("type-widened", Minor),
        ),
        (
            "narrowed",
            set(r#"{"name": "b", "type": "long"}"#),
            set(r#"{"name": "b", "type": "integer"}"#),
            ("type-narrowed", Major),
        ),
        (
            "other type",
            set(r#"{"name": "b", "type": "long"}"#),
            set(r#"{"name": "b", "type": "string"}"#),
            ("type-changed", Major),
        ),
        (
            "type recorded",
            set(r#""b""#),
            set(r#"{"name": "b", "type": "string"}"#),
            ("declared-on-one-side", Patch),
        ),
        (
            "unit",
            set(r#"{"name": "b", "unit": "s"}"#),
            set(r#"{"name": "b", "unit": "ms"}"#),
            ("unit-changed", Major),
        ),
        (
            "transform",
            set(r#"{"name": "b", "transform": "mean(a)"}"#),
            set(r#"{"name": "b", "transform": "median(a)"}"#),
            ("transform-changed", Minor),
        ),
        (
            "description",
            set(r#""b""#),
            set(r#"{"name": "b", "description": "x"}"#),
            ("description-changed", Patch),
        ),
    ] {
        assert_eq!(told(&diff_features(&old, &new)), [(expected.0, "features.b", expected.1)], "{name}");
    }
    let one = |text: &str| {
        diff_features(&read(r#"{"set": "s", "version": "v1", "features": ["a", "b"]}"#), &read(text))
    };
    let version = one(r#"{"set": "s", "version": "v2", "features": ["a", "b"]}"#);
    assert_eq!(told(&version), [("feature-set-version-changed", "feature_set.version", Minor)]);
    let other_set = one(r#"{"set": "t", "version": "v1", "features": ["a", "b"]}"#);
    assert_eq!(told(&other_set), [("feature-set-changed", "feature_set", Minor)]);
    let reordered = one(r#"{"set": "s", "version": "v1", "features": ["b", "a"]}"#);
    assert_eq!(told(&reordered), [("features-reordered", "features", Patch)]);
}

#[test]
fn everything_else_that_is_recorded_counts_too() {
    let signature = inputs(&open(&[Field::new("a", Scalar::Long)]));
    let base = Interface { signature: Some(&signature), ..Interface::default() };
    type Edit = for<'a> fn(Interface<'a>, &'a str) -> Interface<'a>;
    let cases: [(&str, &str, Edit); 4] = [
        ("framework-changed", "framework", |i, v| Interface { framework: Some(v), ..i }),
        ("algorithm-changed", "algorithm", |i, v| Interface { algorithm: Some(v), ..i }),
        ("training-data-changed", "training_data", |i, v| Interface { training_data: Some(v), ..i }),
        ("feature-set-changed", "feature_set", |i, v| Interface { feature_set: Some(v), ..i }),
    ];
    for (id, path, edit) in cases {
        let changed = compare_interfaces(&edit(base, "v1"), &edit(base, "v2"));
        assert_eq!(told(&changed.findings), [(id, path, Minor)]);
        assert_eq!(changed.required_bump(), Some(Minor));
        let recorded = compare_interfaces(&base, &edit(base, "v2"));
        assert_eq!(told(&recorded.findings), [("declared-on-one-side", path, Patch)]);
        assert_eq!(compare_interfaces(&edit(base, "v1"), &edit(base, "v1")).findings, []);
    }
    let features = serde_json::from_str::<FeatureSchema>(r#"["a"]"#).unwrap();
    let with_features = Interface { features: Some(&features), ..base };
    let recorded = compare_interfaces(&base, &with_features);
    assert_eq!(told(&recorded.findings), [("declared-on-one-side", "features", Patch)]);
}

#[test]
fn a_missing_signature_asks_for_a_person() {
    let known = inputs(&open(&[Field::new("a", Scalar::Long)]));
    let other_side = outputs(&open(&[Field::new("a", Scalar::Long)]));
    let both = Signature::new(known.inputs().cloned(), other_side.outputs().cloned(), vec![]).unwrap();
    let of = |signature| Interface { signature, framework: Some("sklearn"), ..Interface::default() };
    let moved = Interface { framework: Some("xgboost"), ..Interface::default() };
    for (old, new, findings) in [
        (of(None), of(None), 0),
        (of(None), of(Some(&known)), 1),
        (of(Some(&known)), of(None), 1),
        (of(Some(&known)), of(Some(&other_side)), 2),
        (of(Some(&known)), of(Some(&both)), 1),
        (of(Some(&other_side)), of(Some(&both)), 1),
        (of(None), moved, 1),
    ] {
        let comparison = compare_interfaces(&old, &new);
        assert!(comparison.signature_unknown);
        assert_eq!(comparison.required_bump(), None);
        assert_eq!(comparison.findings.len(), findings, "{comparison:?}");
    }
    let comparison = compare_interfaces(&of(Some(&known)), &of(Some(&known)));
    assert!(!comparison.signature_unknown);
    assert_eq!(comparison.required_bump(), Some(Patch), "new weights");
}

#[test]
fn going_back_is_judged_for_clients_of_the_new_version() {
    let old = outputs(&open(&[Field::new("score", Scalar::Double)]));
    let new = outputs(&open(&[Field::new("score", Scalar::Double), Field::new("reason", Scalar::String)]));
    assert_eq!(required_bump(&diff(&old, &new)), Minor);
    let back = rollback_findings(&new, &old);
    assert_eq!(told(&back), [("field-removed", "outputs.reason", Major)]);
    assert!(!is_rollback_safe(&back));
    assert!(is_rollback_safe(&rollback_findings(&old, &old)));
}

// ---- What holds for any two signatures

/// The finding that the comparison the other way round must have in the same place.
fn mirror(id: FindingId) -> Option<FindingId> {
    use FindingId as Id;
    let pairs = [
        (Id::TypeWidened, Id::TypeNarrowed),
        (Id::FieldMadeOptional, Id::FieldMadeRequired),
        (Id::NullableAdded, Id::NullableRemoved),
        (Id::CategoriesExtended, Id::CategoriesNarrowed),
        (Id::RangeRelaxed, Id::RangeTightened),
        (Id::DimensionFreed, Id::DimensionFixed),
        (Id::ContentOpened, Id::ContentClosed),
    ];
    pairs.iter().find_map(|&(a, b)| if id == a { Some(b) } else { (id == b).then_some(a) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_changes_between_a_signature_and_itself(a in signature(false)) {
        prop_assert_eq!(diff(&a, &a), vec![]);
    }

    #[test]
    fn each_change_is_seen_from_both_sides(a in signature(false), b in signature(false)) {
        let back = diff(&b, &a);
        for finding in diff(&a, &b) {
            if let Some(mirrored) = mirror(finding.id) {
                let other = back.iter().find(|other| other.id == mirrored && other.path == finding.path);
                let other = other.ok_or_else(|| TestCaseError::fail(format!("{finding:?} has no mirror in {back:?}")))?;
                let both = (finding.required.min(other.required), finding.required.max(other.required));
                prop_assert_eq!(both, (Minor, Major));
                prop_assert_eq!((&finding.from, &finding.to), (&other.to, &other.from));
            }
        }
    }

    #[test]
    fn different_signatures_differ_in_a_finding(a in signature(false), b in signature(false)) {
        // The order of properties and of parameters is all that may differ unseen.
        let text = |signature: &Signature| {
            let mut bytes = serde_json::to_vec(signature).unwrap();
            bytes.sort_unstable();
            bytes
        };
        prop_assert!(text(&a) == text(&b) || !diff(&a, &b).is_empty());
    }

    #[test]
    fn a_union_requires_the_most_demanding_of_its_parts(a in signature(false), b in signature(false), c in signature(false)) {
        let (one, two) = (diff(&a, &b), diff(&b, &c));
        let union: Vec<_> = one.iter().chain(&two).cloned().collect();
        prop_assert_eq!(required_bump(&union), required_bump(&one).max(required_bump(&two)));
    }

    #[test]
    fn findings_are_sorted_unique_and_survive_json(a in signature(false), b in signature(false)) {
        let findings = diff(&a, &b);
        let keys: Vec<_> = findings.iter().map(|f| (std::cmp::Reverse(f.required), f.path.clone(), f.id.as_str())).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(&keys, &sorted);
        let back: Vec<Finding> = serde_json::from_str(&serde_json::to_string(&findings).unwrap()).unwrap();
        prop_assert_eq!(back, findings);
    }
}

// ---- Ids and reports

#[test]
fn ids_are_stable_text() {
    let ids: Vec<_> = FindingId::ALL.iter().map(|id| id.as_str()).collect();
    insta::assert_snapshot!(ids.join("\n"), @r###"
    required-field-added
    optional-field-added
    field-removed
    field-made-required
    field-made-optional
    type-widened
    type-narrowed
    type-changed
    dimension-freed
    dimension-fixed
    dimension-changed
    dimension-renamed
    rank-changed
    fields-reordered
    positions-changed
    categories-extended
    categories-narrowed
    range-relaxed
    range-tightened
    nullable-added
    nullable-removed
    unit-changed
    default-changed
    description-changed
    form-changed
    naming-changed
    content-opened
    content-closed
    feature-added
    feature-removed
    features-reordered
    transform-changed
    feature-set-changed
    feature-set-version-changed
    framework-changed
    algorithm-changed
    training-data-changed
    declared-on-one-side
    "###);
    for id in FindingId::ALL {
        assert_eq!(id.as_str().parse::<FindingId>().unwrap(), *id);
        assert!(!id.rule().is_empty());
    }
    assert_eq!("no-such-thing".parse::<FindingId>().unwrap_err().what, "finding");
}

fn example() -> Comparison {
    let old = read(
        r#"{"inputs": {"amount": "float", "merchant_id": "int", "location": "str"},
            "outputs": {"fraud_probability": "float", "fraud_flag": "bool"}}"#,
    )
    .unwrap();
    let new = read(
        r#"{"inputs": {"amount": "double", "merchant_id": "int", "a|`b`": "str"},
            "outputs": {"fraud_probability": "double", "fraud_flag": "bool", "risk_score": "float"}}"#,
    )
    .unwrap();
    compare_interfaces(
        &Interface { signature: Some(&old), framework: Some("xgboost==1.7.0"), ..Interface::default() },
        &Interface { signature: Some(&new), framework: Some("xgboost\n==2.0.0"), ..Interface::default() },
    )
}

#[test]
fn reports_are_readable_by_people() {
    insta::assert_snapshot!(example().to_text(), @r###"
    Required bump: major.

    major  inputs["a|`b`"]: required-field-added (now string)
           Callers of the old version do not send it.

    major  outputs.fraud_probability: type-widened (float → double)
           Consumers of the old version may meet values they cannot take.

    minor  framework: framework-changed (xgboost==1.7.0 → xgboost ==2.0.0)
           Whoever loads the model needs another environment.

    minor  inputs.amount: type-widened (float → double)
           All values of the old version are still taken.

    minor  inputs.location: field-removed (was string)
           Callers of the old version may go on sending it; it is ignored.

    minor  outputs.risk_score: required-field-added (now float)
           Consumers of the old version ignore it.
    "###);
    insta::assert_snapshot!(example().to_markdown(), @r###"
    **Required bump: major.**

    | Bump | Where | Change | Why |
    |---|---|---|---|
    | major | `` inputs["a\|`b`"] `` | required-field-added: `now string` | Callers of the old version do not send it. |
    | major | `outputs.fraud_probability` | type-widened: `float → double` | Consumers of the old version may meet values they cannot take. |
    | minor | `framework` | framework-changed: `xgboost==1.7.0 → xgboost ==2.0.0` | Whoever loads the model needs another environment. |
    | minor | `inputs.amount` | type-widened: `float → double` | All values of the old version are still taken. |
    | minor | `inputs.location` | field-removed: `was string` | Callers of the old version may go on sending it; it is ignored. |
    | minor | `outputs.risk_score` | required-field-added: `now float` | Consumers of the old version ignore it. |
    "###);
    let same = Comparison { findings: vec![], signature_unknown: false };
    insta::assert_snapshot!(same.to_text(), @r###"
    Required bump: patch (no change that callers can see).
    "###);
    let unknown = Comparison { findings: vec![], signature_unknown: true };
    insta::assert_snapshot!(unknown.to_markdown(), @r###"
    **Required bump: not known, since a signature or a side of one is missing; say which it is.**
    "###);
}

#[test]
fn reports_are_readable_by_machines() {
    let comparison = example();
    insta::assert_snapshot!(serde_json::to_string_pretty(&comparison).unwrap(), @r###"
    {
      "findings": [
        {
          "id": "required-field-added",
          "path": "inputs[\"a|`b`\"]",
          "to": "string",
          "required": "major"
        },
        {
          "id": "type-widened",
          "path": "outputs.fraud_probability",
          "from": "float",
          "to": "double",
          "required": "major"
        },
        {
          "id": "framework-changed",
          "path": "framework",
          "from": "xgboost==1.7.0",
          "to": "xgboost\n==2.0.0",
          "required": "minor"
        },
        {
          "id": "type-widened",
          "path": "inputs.amount",
          "from": "float",
          "to": "double",
          "required": "minor"
        },
        {
          "id": "field-removed",
          "path": "inputs.location",
          "from": "string",
          "required": "minor"
        },
        {
          "id": "required-field-added",
          "path": "outputs.risk_score",
          "to": "float",
          "required": "minor"
        }
      ],
      "signature_unknown": false
    }
    "###);
    assert_eq!(
        serde_json::from_str::<Comparison>(&serde_json::to_string(&comparison).unwrap()).unwrap(),
        comparison
    );
}

#[test]
fn long_values_are_shortened_in_findings() {
    let with = |text: String| inputs(&open(&[Field::new("a", Scalar::Long).description(text)]));
    let findings = diff(&with("ä".repeat(500)), &with("x".to_owned()));
    assert_eq!(findings[0].from.as_ref().unwrap().chars().count(), Finding::VALUE_CHARS_MAX + 1);
}
