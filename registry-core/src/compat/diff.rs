//! Why this exists: the comparison of two signatures. It asks one question: do those who call the
//! old version keep working with the new one?
//!
//! The whole table follows from one rule. Each change of a field either *relaxes* it (it takes
//! more: a wider type, null, another category), or *tightens* it, or does neither. A model reads
//! its inputs, so relaxing them is harmless and tightening them breaks callers. It writes its
//! outputs, so there it is the other way round. That rule is [`Differ::vary`]; the functions
//! below only name the change. Adding and removing fields is decided apart, since there it matters
//! whether the other side ignores what it does not know.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::finding::{Finding, FindingId as Id, described, one_sided, recorded};
use crate::signature::{DataType, Dimension, Field, Schema, Signature};
use crate::version::Bump;

/// Every change from `old` to `new` that a caller of `old` might notice, the most demanding first.
/// The order depends on nothing but the two signatures.
pub fn diff(old: &Signature, new: &Signature) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(schemas(Side::Inputs, old.inputs(), new.inputs()));
    findings.extend(schemas(Side::Outputs, old.outputs(), new.outputs()));
    // A parameter that is not known is an error to every server that serves models.
    let mut params = Differ { side: Side::Inputs, extras_break: true, findings };
    params.named_fields("params", old.params(), new.params());
    sorted(params.findings)
}

/// How the type of a feature changed; features are judged like inputs.
pub(super) fn feature_type(path: &str, old: &DataType, new: &DataType) -> Vec<Finding> {
    let mut differ = Differ { side: Side::Inputs, extras_break: false, findings: Vec::new() };
    differ.data_type(path, old, new);
    differ.findings
}

/// The order in which findings are told.
pub(super) fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        b.required.cmp(&a.required).then_with(|| (&a.path, a.id.as_str()).cmp(&(&b.path, b.id.as_str())))
    });
    findings
}

/// Whether the names that both sides have stand in another order.
pub(super) fn reordered(id: Id, path: &str, old: Vec<String>, new: Vec<String>) -> Option<Finding> {
    let keep = |names: &[String], others: &[String]| -> Vec<String> {
        let others: HashSet<_> = others.iter().collect();
        names.iter().filter(|name| others.contains(name)).cloned().collect()
    };
    let (from, to) = (keep(&old, &new), keep(&new, &old));
    (from != to).then(|| Finding::new(id, path, Some(from.join(", ")), Some(to.join(", ")), Bump::Patch))
}

/// A step down in a path. Names that could be mistaken for syntax are quoted.
pub(super) fn step(path: &str, name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if is_plain { format!("{path}.{name}") } else { format!("{path}[{}]", Value::from(name)) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Inputs,
    Outputs,
}

/// What a change of one field does to the set of values that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Relaxed,
    Tightened,
}

fn schemas(side: Side, old: Option<&Schema>, new: Option<&Schema>) -> Vec<Finding> {
    let path = match side {
        Side::Inputs => "inputs",
        Side::Outputs => "outputs",
    };
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (old, new) => return one_sided(path, old, new).into_iter().collect(),
    };
    // Whoever reads must cope with extra fields: the new version its inputs, old consumers its outputs.
    let reader = match side {
        Side::Inputs => new,
        Side::Outputs => old,
    };
    let mut differ = Differ { side, extras_break: reader.is_closed(), findings: Vec::new() };
    differ.schema(path, old, new);
    differ.findings
}

struct Differ {
    side: Side,
    /// Whether the reading side fails on fields that it does not know.
    extras_break: bool,
    findings: Vec<Finding>,
}

impl Differ {
    fn add(&mut self, id: Id, path: &str, from: Option<String>, to: Option<String>, required: Bump) {
        self.findings.push(Finding::new(id, path, from, to, required));
    }

    /// The rule of the module: what relaxes is minor where the model reads and major where it writes.
    fn vary(&mut self, effect: Effect, id: Id, path: &str, from: Option<String>, to: Option<String>) {
        let required = match (self.side, effect) {
            (Side::Inputs, Effect::Relaxed) | (Side::Outputs, Effect::Tightened) => Bump::Minor,
            (Side::Inputs, Effect::Tightened) | (Side::Outputs, Effect::Relaxed) => Bump::Major,
        };
        self.add(id, path, from, to, required);
    }

    /// A flag that relaxes when it is set.
    fn vary_flag(&mut self, path: &str, old: bool, new: bool, relaxed: Id, tightened: Id) {
        match (old, new) {
            (false, true) => self.vary(Effect::Relaxed, relaxed, path, None, None),
            (true, false) => self.vary(Effect::Tightened, tightened, path, None, None),
            _ => {}
        }
    }

    fn schema(&mut self, path: &str, old: &Schema, new: &Schema) {
        let form = |schema: &Schema| Some(if schema.is_tensors() { "tensors" } else { "columns" }.to_owned());
        let naming = |schema: &Schema| Some(if schema.is_named() { "named" } else { "unnamed" }.to_owned());
        if old.is_tensors() != new.is_tensors() {
            return self.add(Id::FormChanged, path, form(old), form(new), Bump::Major);
        }
        if old.is_named() != new.is_named() {
            return self.add(Id::NamingChanged, path, naming(old), naming(new), Bump::Major);
        }
        self.vary_flag(path, !old.is_closed(), !new.is_closed(), Id::ContentOpened, Id::ContentClosed);
        if old.is_named() {
            self.named_fields(path, old.fields(), new.fields());
            let names =
                |schema: &Schema| schema.fields().iter().filter_map(|field| field.name.clone()).collect();
            self.findings.extend(reordered(Id::FieldsReordered, path, names(old), names(new)));
        } else {
            self.unnamed_fields(path, old.fields(), new.fields());
        }
    }

    fn named_fields(&mut self, path: &str, old: &[Field], new: &[Field]) {
        let olds: HashMap<_, _> = old.iter().map(|field| (&field.name, field)).collect();
        let news: HashMap<_, _> = new.iter().map(|field| (&field.name, field)).collect();
        let inner = |field: &Field| step(path, field.name.as_deref().unwrap_or_default());
        for field in old {
            match news.get(&field.name) {
                Some(new) => self.field(&inner(field), field, new),
                None => self.removed(&inner(field), field),
            }
        }
        for field in new.iter().filter(|field| !olds.contains_key(&field.name)) {
            self.added(&inner(field), field);
        }
    }

    fn unnamed_fields(&mut self, path: &str, old: &[Field], new: &[Field]) {
        self.extras_break = true;
        if old != new && is_permutation(old, new) {
            return self.add(Id::PositionsChanged, path, Some(types(old)), Some(types(new)), Bump::Major);
        }
        for index in 0..old.len().max(new.len()) {
            let path = format!("{path}[{index}]");
            match (old.get(index), new.get(index)) {
                (Some(old), Some(new)) => self.field(&path, old, new),
                (Some(old), None) => self.removed(&path, old),
                (None, Some(new)) => self.added(&path, new),
                (None, None) => {}
            }
        }
    }

    fn removed(&mut self, path: &str, field: &Field) {
        let breaks = self.side == Side::Outputs || self.extras_break;
        let required = if breaks { Bump::Major } else { Bump::Minor };
        self.add(Id::FieldRemoved, path, Some(field.data_type.to_string()), None, required);
    }

    fn added(&mut self, path: &str, field: &Field) {
        let breaks = match self.side {
            Side::Inputs => !field.may_be_omitted(),
            Side::Outputs => self.extras_break,
        };
        let id = if field.may_be_omitted() { Id::OptionalFieldAdded } else { Id::RequiredFieldAdded };
        let required = if breaks { Bump::Major } else { Bump::Minor };
        self.add(id, path, None, Some(field.data_type.to_string()), required);
    }

    fn field(&mut self, path: &str, old: &Field, new: &Field) {
        // A default helps whoever sends; in an output, absent is absent.
        let is_optional = |field: &Field| match self.side {
            Side::Inputs => field.may_be_omitted(),
            Side::Outputs => !field.required,
        };
        let (was_optional, is_optional) = (is_optional(old), is_optional(new));
        self.vary_flag(path, was_optional, is_optional, Id::FieldMadeOptional, Id::FieldMadeRequired);
        self.vary_flag(path, old.nullable, new.nullable, Id::NullableAdded, Id::NullableRemoved);
        self.data_type(path, &old.data_type, &new.data_type);
        self.categories(path, old.categories.as_deref(), new.categories.as_deref());
        self.range(path, old, new);
        let (from, to) = (shown(old.default.as_ref()), shown(new.default.as_ref()));
        if from != to {
            self.add(Id::DefaultChanged, path, from, to, Bump::Minor);
        }
        let unit = recorded(Id::UnitChanged, path, old.unit.clone(), new.unit.clone(), Bump::Major);
        self.findings.extend(unit);
        self.findings.extend(described(path, old.description.clone(), new.description.clone()));
    }

    fn data_type(&mut self, path: &str, old: &DataType, new: &DataType) {
        match (old, new) {
            _ if old == new => {}
            (DataType::Array(old), DataType::Array(new)) => self.data_type(&format!("{path}[]"), old, new),
            (DataType::Map(old), DataType::Map(new)) => self.data_type(&format!("{path}{{}}"), old, new),
            (DataType::Object(old), DataType::Object(new)) => self.named_fields(path, old, new),
            (DataType::Tensor { scalar: a, shape: old }, DataType::Tensor { scalar: b, shape: new }) => {
                if a != b {
                    self.add(Id::TypeChanged, path, Some(a.to_string()), Some(b.to_string()), Bump::Major);
                }
                self.shape(path, old, new);
            }
            _ => {
                let (from, to) = (Some(old.to_string()), Some(new.to_string()));
                if is_wider(old, new) {
                    self.vary(Effect::Relaxed, Id::TypeWidened, path, from, to);
                } else if is_wider(new, old) {
                    self.vary(Effect::Tightened, Id::TypeNarrowed, path, from, to);
                } else {
                    self.add(Id::TypeChanged, path, from, to, Bump::Major);
                }
            }
        }
    }

    fn shape(&mut self, path: &str, old: &[Dimension], new: &[Dimension]) {
        if old.len() != new.len() {
            let (from, to) = (Some(old.len().to_string()), Some(new.len().to_string()));
            return self.add(Id::RankChanged, path, from, to, Bump::Major);
        }
        for (index, (old, new)) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
            let path = format!("{path}.shape[{index}]");
            let (from, to) = (Some(old.to_string()), Some(new.to_string()));
            match (old, new) {
                (Dimension::Fixed(_), Dimension::Fixed(_)) => {
                    self.add(Id::DimensionChanged, &path, from, to, Bump::Major);
                }
                (Dimension::Fixed(_), _) => self.vary(Effect::Relaxed, Id::DimensionFreed, &path, from, to),
                (_, Dimension::Fixed(_)) => self.vary(Effect::Tightened, Id::DimensionFixed, &path, from, to),
                _ => self.add(Id::DimensionRenamed, &path, from, to, Bump::Patch),
            }
        }
    }

    fn categories(&mut self, path: &str, old: Option<&[Value]>, new: Option<&[Value]>) {
        let (extended, narrowed) = match (old, new) {
            (None, None) => return,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(old), Some(new)) => {
                let olds: HashSet<_> = old.iter().collect();
                let news: HashSet<_> = new.iter().collect();
                (!news.is_subset(&olds), !olds.is_subset(&news))
            }
        };
        let (from, to) = (list(old), list(new));
        if extended {
            self.vary(Effect::Relaxed, Id::CategoriesExtended, path, from.clone(), to.clone());
        }
        if narrowed {
            self.vary(Effect::Tightened, Id::CategoriesNarrowed, path, from, to);
        }
    }

    fn range(&mut self, path: &str, old: &Field, new: &Field) {
        let low = |field: &Field| field.minimum.unwrap_or(f64::NEG_INFINITY);
        let high = |field: &Field| field.maximum.unwrap_or(f64::INFINITY);
        let shown = |field: &Field| {
            let is_known = field.minimum.is_some() || field.maximum.is_some();
            is_known.then(|| format!("{} to {}", low(field), high(field)))
        };
        if low(new) < low(old) || high(new) > high(old) {
            self.vary(Effect::Relaxed, Id::RangeRelaxed, path, shown(old), shown(new));
        }
        if low(new) > low(old) || high(new) < high(old) {
            self.vary(Effect::Tightened, Id::RangeTightened, path, shown(old), shown(new));
        }
    }
}

/// Whether every value of `narrow` is one of `wide`, for two different types that are not both
/// arrays, maps, objects or tensors.
fn is_wider(narrow: &DataType, wide: &DataType) -> bool {
    match (narrow, wide) {
        (_, DataType::Any) => true,
        (DataType::Scalar(narrow), DataType::Scalar(wide)) => narrow.widens_to(*wide),
        _ => false,
    }
}

fn is_permutation(old: &[Field], new: &[Field]) -> bool {
    let texts = |fields: &[Field]| {
        let mut texts: Vec<_> = fields.iter().map(|field| serde_json::to_string(field).ok()).collect();
        texts.sort();
        texts
    };
    old.len() == new.len() && texts(old) == texts(new)
}

fn types(fields: &[Field]) -> String {
    let types: Vec<_> = fields.iter().map(|field| field.data_type.to_string()).collect();
    types.join(", ")
}

fn shown(value: Option<&Value>) -> Option<String> {
    value.map(Value::to_string)
}

fn list(values: Option<&[Value]>) -> Option<String> {
    let texts: Vec<_> = values?.iter().map(Value::to_string).collect();
    Some(texts.join(", "))
}
