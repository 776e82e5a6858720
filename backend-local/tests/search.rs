//! Whatever is asked of whatever is there, a search finds what a plain look at every version finds, in memory and
//! in SQLite. The questions and their meaning are written down here a second time, as plainly as possible, and
//! share nothing with the library but the text that is typed.
//!
//! `PROPTEST_CASES=1000 cargo test --release -p backend-local --test search` looks longer.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backend_local::{FolderArtifacts, Options, SqliteLog, Synchronous};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use registry_core::{
    Amendment, By, Content, Digest, Engine, ManualClock, ModelName, ModelState, Need, PromoteOptions, Query,
    Registration, Registry, RegistryExt as _, Stage, Stream, StreamKind, Timestamp, Upload, Version,
    VersionChoice, VersionState,
};
use serde_json::{Value, json};

const NAMES: [&str; 5] = ["a", "a b", "Ab", "a!", "é"];
const VERSIONS: [&str; 8] =
    ["0.1.0", "1.0.0", "1.0.1", "1.1.0", "1.10.0", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0"];
const KEYS: [&str; 2] = ["fraud", "a b"];
const TAG_VALUES: [&str; 3] = ["", "eu", "it's 100%"];
const OWNERS: [&str; 2] = ["ann", "ben"];
const ALIASES: [&str; 2] = ["champion", "rival"];
const NUMBERS: [f64; 4] = [0.0, 0.5, 0.9, 1.0];
const PARENTS: [&str; 2] = ["a@v1.0.0", "é@v2.0.0"];
const WORDS: [&str; 3] = ["Finds FRAUD", "xgboost", "Étude"];
/// The beginning of time, here.
const START: i64 = 1_704_067_200_000_000;
const HOUR: i64 = 3_600_000_000;

/// A version that is registered, and what happens to it and its model afterwards.
#[derive(Debug, Clone)]
struct Made {
    model: usize,
    version: usize,
    content: Value,
    file: usize,
    model_tag: Option<(usize, usize)>,
    words: Option<usize>,
    moves: usize,
    alias: Option<usize>,
    amended_owner: Option<usize>,
    marks: (bool, bool),
    hours: u64,
}

fn texts(values: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(select(values))
}

fn content() -> impl Strategy<Value = Value> {
    let tags = prop::collection::btree_map(select(&KEYS[..]), select(&TAG_VALUES[..]), 0..=2);
    let metrics = prop::collection::btree_map(select(&KEYS[..]), select(&NUMBERS[..]), 0..=2);
    let param =
        select(vec![json!(true), json!(false), json!(3), json!(0.5), json!("3"), json!("eu"), json!([1])]);
    let params = prop::collection::btree_map(select(&KEYS[..]), param, 0..=2);
    let features = select(vec![
        Value::Null,
        json!(["amount", "age"]),
        json!({"set": "card", "version": "7", "features": ["amount"]}),
        json!({"set": "card", "version": "8"}),
        json!({"set": "card:7", "features": ["age"]}),
    ]);
    (
        (tags, metrics, params, features),
        (texts(&OWNERS), texts(&["d1", "d2"]), texts(&["e1", "e2"]), texts(&PARENTS)),
        (texts(&WORDS), texts(&WORDS), texts(&WORDS)),
    )
        .prop_map(|((tags, metrics, params, features), (owner, data, experiment, parent), words)| {
            let mut metadata = json!({"hyperparameters": params});
            let said = [
                ("owner", owner),
                ("training_data_version", data),
                ("experiment", experiment),
                ("parent_model", parent),
                ("algorithm", words.0),
                ("framework", words.1),
            ];
            for (key, text) in said {
                if let Some(text) = text {
                    metadata[key] = json!(text);
                }
            }
            let mut content = json!({"tags": tags, "metrics": metrics, "metadata": metadata});
            if !features.is_null() {
                content["features"] = features;
            }
            if let Some(description) = words.2 {
                content["description"] = json!(description);
            }
            content
        })
}

fn made() -> impl Strategy<Value = Made> {
    (
        (0..NAMES.len(), 0..VERSIONS.len(), content(), 0..4_usize),
        prop::option::weighted(0.3, (0..KEYS.len(), 0..TAG_VALUES.len())),
        (prop::option::weighted(0.2, 0..WORDS.len()), 0..4_usize),
        prop::option::weighted(0.3, 0..ALIASES.len()),
        prop::option::weighted(0.2, 0..OWNERS.len()),
        (prop::bool::weighted(0.2), prop::bool::weighted(0.2)),
        0..30_u64,
    )
        .prop_map(
            |(
                (model, version, content, file),
                model_tag,
                (words, moves),
                alias,
                amended_owner,
                marks,
                hours,
            )| {
                Made {
                    model,
                    version,
                    content,
                    file,
                    model_tag,
                    words,
                    moves,
                    alias,
                    amended_owner,
                    marks,
                    hours,
                }
            },
        )
}

fn weights(file: usize) -> Bytes {
    Bytes::from(format!("weights {file}"))
}

type Shared = Arc<dyn Registry>;

async fn make(registry: &Shared, clock: &ManualClock, made: &Made) {
    clock.advance(Duration::from_secs(made.hours * 3600));
    let by = By::new("alice".parse().unwrap());
    let model: ModelName = NAMES[made.model].parse().unwrap();
    let version: Version = VERSIONS[made.version].parse().unwrap();
    let content: Content = serde_json::from_value(made.content.clone()).unwrap();
    let choice = VersionChoice::Explicit {
        version: version.clone(),
        allow_smaller: Some("numbers are not the matter here".parse().unwrap()),
    };
    let bytes = weights(made.file);
    let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
    let registration = Registration::new(choice, content);
    // The number may be taken, by something else or by the very same.
    match registry.register(&by, &model, registration, &[upload]).await {
        Ok(registered) if !registered.existed => {}
        _ => return,
    }
    if let Some((key, value)) = made.model_tag {
        let tags = [(KEYS[key].parse().unwrap(), TAG_VALUES[value].to_owned())].into();
        registry.change_tags(&by, &model, None, tags, Vec::new()).await.unwrap();
    }
    if let Some(words) = made.words {
        registry.describe(&by, &model, None, Some(WORDS[words].parse().unwrap())).await.unwrap();
    }
    let stages = [Stage::Staging, Stage::Production, Stage::Archived];
    for stage in &stages[..made.moves] {
        registry.promote(&by, &model, &version, *stage, PromoteOptions::default()).await.unwrap();
    }
    if let Some(alias) = made.alias {
        registry.set_alias(&by, &model, &ALIASES[alias].parse().unwrap(), &version).await.unwrap();
    }
    if let Some(owner) = made.amended_owner {
        let metadata = serde_json::from_value(json!({"owner": OWNERS[owner]})).unwrap();
        let amendment = Amendment { metadata, ..Amendment::default() };
        registry.amend(&by, &model, &version, amendment).await.unwrap();
    }
    if made.marks.0 {
        registry.deprecate(&by, &model, &version, None, None).await.unwrap();
    }
    // What is in production cannot be deleted.
    if made.marks.1 && made.moves != 2 {
        registry.delete(&by, &model, &version).await.unwrap();
    }
}

/// All that is known of a version, as plain values.
struct Row {
    name: String,
    version: semver::Version,
    stage: Stage,
    words: BTreeMap<&'static str, Vec<String>>,
    tags: BTreeMap<String, String>,
    metrics: BTreeMap<String, f64>,
    params: serde_json::Map<String, Value>,
    created: i64,
    promoted: Option<i64>,
    deprecated: bool,
    quarantined: bool,
    deleted: bool,
    digests: Vec<String>,
}

fn row(name: &str, model: &ModelState, version: &VersionState) -> Row {
    let content = serde_json::to_value(&*version.content).unwrap();
    let metadata = &content["metadata"];
    let text = |value: &Value| value.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>();
    let features = &content["features"];
    let (set, number) = (text(&features["set"]), text(&features["version"]));
    let both = set.iter().zip(&number).map(|(set, number)| format!("{set}:{number}"));
    let listed = features["features"].as_array().cloned().unwrap_or_default();
    let mut tags: BTreeMap<String, String> =
        model.tags.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let mut said = vec![name.to_owned()];
    said.extend(model.description.iter().map(ToString::to_string));
    said.extend(text(&content["description"]));
    said.extend(text(&metadata["algorithm"]));
    said.extend(text(&metadata["framework"]));
    said.extend(tags.iter().flat_map(|(key, value)| [key.clone(), value.clone()]));
    let own = version.content.tags.iter().map(|(key, value)| (key.to_string(), value.clone()));
    said.extend(own.clone().flat_map(|(key, value)| [key, value]));
    tags.extend(own);
    let aliases = model.aliases.iter().filter(|(_, to)| **to == version.version);
    let mut digests = vec![version.digest.hex()];
    digests.extend(version.content.artifacts.iter().map(|file| file.digest.hex()));
    let is_promoted = version.stage == Stage::Staging || version.stage == Stage::Production;
    Row {
        name: name.to_owned(),
        version: version.version.as_semver().clone(),
        stage: version.stage,
        words: [
            ("name", vec![name.to_owned()]),
            ("owner", text(&metadata["owner"])),
            ("data", text(&metadata["training_data_version"])),
            ("experiment", text(&metadata["experiment"])),
            ("parent", text(&metadata["parent_model"])),
            ("algorithm", text(&metadata["algorithm"])),
            ("framework", text(&metadata["framework"])),
            ("feature", listed.iter().flat_map(text).collect()),
            ("feature_set", set.iter().cloned().chain(both).collect()),
            ("alias", aliases.map(|(alias, _)| alias.to_string()).collect()),
            ("text", said),
        ]
        .into(),
        tags,
        metrics: version.content.metrics.iter().map(|(key, m)| (key.to_string(), m.value.get())).collect(),
        params: metadata["hyperparameters"].as_object().cloned().unwrap_or_default(),
        created: version.registered.at.microseconds(),
        promoted: is_promoted.then(|| version.staged.at.microseconds()),
        deprecated: version.deprecated.is_some(),
        quarantined: version.quarantined.is_some(),
        deleted: version.deleted.is_some(),
        digests,
    }
}

/// A question.
#[derive(Debug, Clone)]
enum Ask {
    Not(Box<Ask>),
    And(Vec<Ask>),
    Or(Vec<Ask>),
    /// A field of words, or `tag` with its key.
    Words(&'static str, Option<&'static str>, Words),
    Metric(&'static str, Numbers),
    Param(&'static str, Params),
    Version(bool, Vec<(&'static str, Option<&'static str>)>),
    VersionBound(&'static str, &'static str),
    Stage(bool, Vec<Stage>),
    /// A field of time, an operator, and hours since the start; a whole day if the flag is set.
    Time(&'static str, &'static str, u32, bool),
    Digest(bool, usize, usize),
    Flag(&'static str, bool),
}

#[derive(Debug, Clone)]
enum Words {
    There,
    Among(bool, Vec<&'static str>),
    Like(bool, &'static str),
}

#[derive(Debug, Clone)]
enum Numbers {
    There,
    Among(bool, Vec<f64>),
    Bound(&'static str, f64),
}

#[derive(Debug, Clone)]
enum Params {
    There,
    Among(bool, Vec<Value>),
    Bound(&'static str, f64),
    Like(bool, &'static str),
}

fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn among(negated: bool, values: Vec<String>) -> String {
    match values.as_slice() {
        [one] => format!("{} {one}", if negated { "!=" } else { "=" }),
        _ => format!("{}in ({})", if negated { "not " } else { "" }, values.join(", ")),
    }
}

fn day(hours: u32) -> i64 {
    START + i64::from(hours) / 24 * 24 * HOUR
}

fn instant(hours: u32, whole_day: bool) -> String {
    let at = if whole_day { day(hours) } else { START + i64::from(hours) * HOUR };
    let at = Timestamp::from_microseconds(at).unwrap();
    if whole_day { at.date() } else { at.to_string() }
}

/// What is typed.
fn typed(ask: &Ask) -> String {
    let joined = |asks: &[Ask], word: &str| {
        asks.iter().map(|ask| format!("({})", typed(ask))).collect::<Vec<_>>().join(word)
    };
    let not = |negated: bool| if negated { "not " } else { "" };
    match ask {
        Ask::Not(inner) => format!("not ({})", typed(inner)),
        Ask::And(asks) => joined(asks, " and "),
        Ask::Or(asks) => joined(asks, " OR "),
        Ask::Words(field, key, words) => {
            let field = key.map_or_else(|| (*field).to_owned(), |key| format!("tag.\"{key}\""));
            match words {
                Words::There => field,
                Words::Among(negated, values) => {
                    format!(
                        "{field} {}",
                        among(*negated, values.iter().map(|value| in_quotes(value)).collect())
                    )
                }
                Words::Like(negated, pattern) => format!("{field} {}like \"{pattern}\"", not(*negated)),
            }
        }
        Ask::Metric(key, Numbers::There) => format!("metric.'{key}'"),
        Ask::Metric(key, Numbers::Among(negated, values)) => {
            format!("metric.'{key}' {}", among(*negated, values.iter().map(ToString::to_string).collect()))
        }
        Ask::Metric(key, Numbers::Bound(sign, bound)) => format!("metric.'{key}' {sign} {bound}"),
        Ask::Param(key, Params::There) => format!("param.'{key}'"),
        Ask::Param(key, Params::Among(negated, values)) => {
            let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), in_quotes);
            format!("param.'{key}' {}", among(*negated, values.iter().map(value).collect()))
        }
        Ask::Param(key, Params::Bound(sign, bound)) => format!("param.'{key}'{sign}{bound}"),
        Ask::Param(key, Params::Like(negated, pattern)) => {
            format!("param.'{key}' {}like '{pattern}'", not(*negated))
        }
        Ask::Version(negated, values) => {
            let value = |(start, end): &(&str, Option<&str>)| match end {
                Some(end) => format!("'>={start}, <{end}'"),
                None => (*start).to_owned(),
            };
            format!("version {}", among(*negated, values.iter().map(value).collect()))
        }
        Ask::VersionBound(sign, bound) => format!("version {sign} v{bound}"),
        Ask::Stage(negated, stages) => {
            format!("stage {}", among(*negated, stages.iter().map(ToString::to_string).collect()))
        }
        Ask::Time(field, sign, hours, whole_day) => format!("{field} {sign} {}", instant(*hours, *whole_day)),
        Ask::Digest(negated, file, digits) => {
            let hex = Digest::of(&weights(*file)).hex();
            format!("digest {} {}", if *negated { "!=" } else { "=" }, &hex[..*digits])
        }
        Ask::Flag(field, true) => (*field).to_owned(),
        Ask::Flag(field, false) => format!("{field} = false"),
    }
}

/// Whether a pattern fits, letter by letter, in any case.
fn fits(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['%', rest @ ..], _) => fits(rest, text) || (!text.is_empty() && fits(pattern, &text[1..])),
        (['_', rest @ ..], [_, after @ ..]) => fits(rest, after),
        ([wanted, rest @ ..], [found, after @ ..]) => {
            wanted.to_lowercase().eq(found.to_lowercase()) && fits(rest, after)
        }
        _ => false,
    }
}

fn like(pattern: &str, text: &str) -> bool {
    fits(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

fn bound(sign: &str, ordering: Ordering) -> bool {
    match sign {
        "<" => ordering == Ordering::Less,
        "<=" => ordering != Ordering::Greater,
        ">" => ordering == Ordering::Greater,
        ">=" => ordering != Ordering::Less,
        other => panic!("{other}"),
    }
}

/// What the question means.
fn wanted(ask: &Ask, row: &Row) -> bool {
    match ask {
        Ask::Not(inner) => !wanted(inner, row),
        Ask::And(asks) => asks.iter().all(|ask| wanted(ask, row)),
        Ask::Or(asks) => asks.iter().any(|ask| wanted(ask, row)),
        Ask::Words(field, key, words) => {
            let found: Vec<String> = match key {
                Some(key) => row.tags.get(*key).cloned().into_iter().collect(),
                None => row.words[field].clone(),
            };
            if found.is_empty() {
                return false;
            }
            match words {
                Words::There => true,
                Words::Among(negated, values) => {
                    let hit = found.iter().any(|found| {
                        values.iter().any(|value| match *field {
                            "text" => found.to_lowercase().contains(&value.to_lowercase()),
                            _ => found == value,
                        })
                    });
                    hit != *negated
                }
                Words::Like(negated, pattern) => found.iter().any(|found| like(pattern, found)) != *negated,
            }
        }
        Ask::Metric(key, numbers) => {
            let Some(found) = row.metrics.get(*key) else { return false };
            match numbers {
                Numbers::There => true,
                Numbers::Among(negated, values) => values.contains(found) != *negated,
                Numbers::Bound(sign, limit) => bound(sign, found.partial_cmp(limit).unwrap()),
            }
        }
        Ask::Param(key, params) => {
            let Some(found) = row.params.get(*key) else { return false };
            match params {
                Params::There => true,
                Params::Among(..) if found.is_array() => false,
                Params::Among(negated, values) => {
                    let same = |value: &Value| match (value.as_f64(), found.as_f64()) {
                        (Some(value), Some(found)) => value == found,
                        _ => value == found,
                    };
                    values.iter().any(same) != *negated
                }
                Params::Bound(sign, limit) => {
                    found.as_f64().is_some_and(|found| bound(sign, found.partial_cmp(limit).unwrap()))
                }
                Params::Like(negated, pattern) => {
                    found.as_str().is_some_and(|found| like(pattern, found) != *negated)
                }
            }
        }
        Ask::Version(negated, values) => {
            let inside = |(start, end): &(&str, Option<&str>)| {
                let start: semver::Version = start.parse().unwrap();
                match end {
                    None => row.version.cmp_precedence(&start) == Ordering::Equal,
                    // A range without a pre-release holds none.
                    Some(end) => {
                        let end: semver::Version = end.parse().unwrap();
                        row.version.pre.is_empty() && start <= row.version && row.version < end
                    }
                }
            };
            values.iter().any(inside) != *negated
        }
        Ask::VersionBound(sign, limit) => {
            let limit: semver::Version = limit.parse().unwrap();
            bound(sign, row.version.cmp_precedence(&limit))
        }
        Ask::Stage(negated, stages) => stages.contains(&row.stage) != *negated,
        Ask::Time(field, sign, hours, whole_day) => {
            let found = if *field == "created" { Some(row.created) } else { row.promoted };
            let Some(found) = found else { return false };
            if *whole_day {
                let (first, next) = (day(*hours), day(*hours) + 24 * HOUR);
                return match *sign {
                    "=" => first <= found && found < next,
                    "!=" => found < first || next <= found,
                    "<" => found < first,
                    "<=" => found < next,
                    ">" => next <= found,
                    _ => first <= found,
                };
            }
            let at = START + i64::from(*hours) * HOUR;
            match *sign {
                "=" => found == at,
                "!=" => found != at,
                sign => bound(sign, found.cmp(&at)),
            }
        }
        Ask::Digest(negated, file, digits) => {
            let hex = Digest::of(&weights(*file)).hex();
            row.digests.iter().any(|digest| digest.starts_with(&hex[..*digits])) != *negated
        }
        Ask::Flag(field, expected) => {
            let found = match *field {
                "deprecated" => row.deprecated,
                "quarantined" => row.quarantined,
                _ => row.deleted,
            };
            found == *expected
        }
    }
}

fn names_deleted(ask: &Ask) -> bool {
    match ask {
        Ask::Not(inner) => names_deleted(inner),
        Ask::And(asks) | Ask::Or(asks) => asks.iter().any(names_deleted),
        Ask::Flag(field, _) => *field == "deleted",
        _ => false,
    }
}

fn ask() -> impl Strategy<Value = Ask> {
    let words = |values: Vec<&'static str>| {
        let patterns = vec!["%", "a%", "%B%", "_", "%:7", "%fraud", "é%", "e_"];
        prop_oneof![
            1 => Just(Words::There),
            4 => (any::<bool>(), prop::collection::vec(select(values), 1..3))
                .prop_map(|(negated, values)| Words::Among(negated, values)),
            2 => (any::<bool>(), select(patterns)).prop_map(|(negated, pattern)| Words::Like(negated, pattern)),
        ]
    };
    let fields: Vec<(&'static str, Vec<&'static str>)> = vec![
        ("name", [&NAMES[..], &["nobody", "a/b"]].concat()),
        ("owner", [&OWNERS[..], &["eve"]].concat()),
        ("data", vec!["d1", "d2"]),
        ("experiment", vec!["e1", "e2"]),
        ("parent", PARENTS.to_vec()),
        ("algorithm", WORDS.to_vec()),
        ("framework", WORDS.to_vec()),
        ("feature", vec!["amount", "age", "none"]),
        ("feature_set", vec!["card", "card:7", "card:8", "other"]),
        ("alias", ALIASES.to_vec()),
        ("text", vec!["fraud", "É", "A", "it's", "%"]),
    ];
    let text = select(fields).prop_flat_map(move |(field, values)| {
        words(values).prop_map(move |words| Ask::Words(field, None, words))
    });
    let tag = (select(&KEYS[..]), words(TAG_VALUES.to_vec()))
        .prop_map(|(key, words)| Ask::Words("tag", Some(key), words));
    let sign = || select(vec!["<", "<=", ">", ">="]);
    let numbers = prop_oneof![
        Just(Numbers::There),
        (any::<bool>(), prop::collection::vec(select(&NUMBERS[..]), 1..3))
            .prop_map(|(negated, values)| Numbers::Among(negated, values)),
        (sign(), select(&NUMBERS[..])).prop_map(|(sign, bound)| Numbers::Bound(sign, bound)),
    ];
    let param = select(vec![json!(true), json!(false), json!(3), json!(0.5), json!("3"), json!("eu")]);
    let params = prop_oneof![
        Just(Params::There),
        (any::<bool>(), prop::collection::vec(param, 1..3))
            .prop_map(|(negated, values)| Params::Among(negated, values)),
        (sign(), select(vec![0.5, 3.0])).prop_map(|(sign, bound)| Params::Bound(sign, bound)),
        (any::<bool>(), select(vec!["%", "E_", "3"])).prop_map(|(negated, like)| Params::Like(negated, like)),
    ];
    let version = || select(&VERSIONS[..]);
    let versions = prop_oneof![
        (version()).prop_map(|version| (version, None)),
        select(vec![("1.0.0", Some("2.0.0")), ("0.1.0", Some("1.0.1"))]),
    ];
    let time_sign = select(vec!["=", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        4 => text,
        2 => tag,
        1 => (select(&KEYS[..]), numbers).prop_map(|(key, numbers)| Ask::Metric(key, numbers)),
        1 => (select(&KEYS[..]), params).prop_map(|(key, params)| Ask::Param(key, params)),
        1 => (any::<bool>(), prop::collection::vec(versions, 1..3))
            .prop_map(|(negated, versions)| Ask::Version(negated, versions)),
        1 => (sign(), version()).prop_map(|(sign, bound)| Ask::VersionBound(sign, bound)),
        1 => (any::<bool>(), prop::collection::vec(select(Stage::ALL.to_vec()), 1..3))
            .prop_map(|(negated, stages)| Ask::Stage(negated, stages)),
        1 => (select(vec!["created", "promoted"]), time_sign, 0..200_u32, any::<bool>())
            .prop_map(|(field, sign, hours, day)| Ask::Time(field, sign, hours, day)),
        1 => (any::<bool>(), 0..5_usize, select(vec![8, 20, 64]))
            .prop_map(|(negated, file, digits)| Ask::Digest(negated, file, digits)),
        1 => (select(vec!["deprecated", "quarantined", "deleted"]), any::<bool>())
            .prop_map(|(field, expected)| Ask::Flag(field, expected)),
    ]
    .prop_recursive(4, 12, 3, |inner| {
        let many = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            1 => inner.clone().prop_map(|inner| Ask::Not(Box::new(inner))),
            2 => many().prop_map(Ask::And),
            2 => many().prop_map(Ask::Or),
        ]
    })
}

/// A value to sort by, as plainly as possible.
fn sort_value(field: &str, row: &Row) -> Option<Vec<SortPart>> {
    let words = |field: &str| row.words[field].last().map(|text| vec![SortPart::Text(text.clone())]);
    match field {
        "name" => Some(vec![SortPart::Text(row.name.clone())]),
        "version" => Some(vec![SortPart::Version(row.version.clone())]),
        "stage" => Some(vec![SortPart::Number(row.stage as i64 as f64)]),
        "created" => Some(vec![SortPart::Time(row.created)]),
        "promoted" => row.promoted.map(|at| vec![SortPart::Time(at)]),
        "tag.fraud" => row.tags.get("fraud").map(|value| vec![SortPart::Text(value.clone())]),
        "metric.fraud" => row.metrics.get("fraud").map(|value| vec![SortPart::Number(*value)]),
        "param.'a b'" => row.params.get("a b").and_then(|value| match value {
            Value::Bool(flag) => Some(vec![SortPart::Number(0.0), SortPart::Number(f64::from(*flag))]),
            Value::Number(number) => {
                Some(vec![SortPart::Number(1.0), SortPart::Number(number.as_f64().unwrap())])
            }
            Value::String(text) => Some(vec![SortPart::Number(2.0), SortPart::Text(text.clone())]),
            _ => None,
        }),
        other => words(other),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum SortPart {
    Number(f64),
    Time(i64),
    Text(String),
    Version(semver::Version),
}

fn compare(a: &[SortPart], b: &[SortPart]) -> Ordering {
    for pair in a.iter().zip(b) {
        let ordering = match pair {
            (SortPart::Number(a), SortPart::Number(b)) => a.partial_cmp(b).unwrap(),
            (SortPart::Time(a), SortPart::Time(b)) => a.cmp(b),
            (SortPart::Text(a), SortPart::Text(b)) => a.cmp(b),
            (SortPart::Version(a), SortPart::Version(b)) => a.cmp_precedence(b),
            other => panic!("{other:?}"),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

type Sorts = Vec<(&'static str, bool)>;

fn sorts() -> impl Strategy<Value = Sorts> {
    let fields = vec![
        "name",
        "version",
        "stage",
        "created",
        "promoted",
        "tag.fraud",
        "metric.fraud",
        "param.'a b'",
        "owner",
        "feature_set",
        "data",
        "parent",
    ];
    let picked = proptest::sample::subsequence(fields, 0..3).prop_shuffle();
    (picked, prop::collection::vec(any::<bool>(), 3))
        .prop_map(|(fields, down)| fields.into_iter().zip(down).collect())
}

fn by_sorts(sorts: &Sorts, a: &Row, b: &Row) -> Ordering {
    for (field, down) in sorts {
        let ordering = match (sort_value(field, a), sort_value(field, b)) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) if *down => compare(&b, &a),
            (Some(a), Some(b)) => compare(&a, &b),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    a.name.cmp(&b.name).then(a.version.cmp_precedence(&b.version))
}

async fn rows(registry: &Shared) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in NAMES {
        let stream = Stream::Model(name.parse().unwrap());
        let state = registry.state(&stream, &Need::Whole).await.unwrap();
        rows.extend(state.versions().map(|version| row(name, &state, version)));
    }
    rows
}

/// All pages, one after the other, each asked for with the end of the one before it as it was shown.
async fn found(registry: &Shared, query: &Query, limit: usize) -> Vec<String> {
    let mut query = Query { limit, ..query.clone() };
    let mut found = Vec::new();
    for _ in 0..1_000 {
        let page = registry.search(&query).await.unwrap();
        assert!(page.matches.len() <= limit);
        assert!(page.next.is_none() || page.matches.len() == limit, "a page that is not the last is full");
        found.extend(page.matches.iter().map(|found| format!("{}@{}", found.model, found.version.version)));
        match page.next {
            None => return found,
            Some(next) => query.after = Some(next.to_string().parse().unwrap()),
        }
    }
    panic!("no end of pages");
}

/// A registry in memory and one in SQLite, which see the same clock.
struct Worlds {
    clock: Arc<ManualClock>,
    both: [Shared; 2],
    _folder: tempfile::TempDir,
}

impl Worlds {
    fn new() -> Worlds {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_microseconds(START).unwrap()));
        let options = Options { synchronous: Synchronous::Normal, ..Options::default() };
        let log = SqliteLog::open(&folder.path().join("registry.db"), &options).unwrap();
        let artifacts = FolderArtifacts::new(folder.path().join("blobs"), false);
        let sqlite = Engine::new(Arc::new(log), Arc::new(artifacts));
        let both: [Shared; 2] = [
            Arc::new(registry_core::in_memory().with_clock(Arc::clone(&clock) as _)),
            Arc::new(sqlite.with_clock(Arc::clone(&clock) as _)),
        ];
        Worlds { clock, both, _folder: folder }
    }

    /// The clock stands alike when each of the two is filled.
    async fn fill(&self, versions: &[Made]) {
        for registry in &self.both {
            self.clock.set(Timestamp::from_microseconds(START).unwrap());
            for made in versions {
                make(registry, &self.clock, made).await;
            }
        }
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 32 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_search_finds_what_a_plain_look_finds(
        versions in prop::collection::vec(made(), 0..24),
        questions in prop::collection::vec((ask(), sorts(), any::<bool>()), 1..24),
    ) {
        run(async {
            let worlds = Worlds::new();
            worlds.fill(&versions).await;
            let rows = rows(&worlds.both[0]).await;
            for (ask, sorts, with_deleted) in &questions {
                let mut expected: Vec<&Row> = rows
                    .iter()
                    .filter(|row| !row.deleted || *with_deleted || names_deleted(ask))
                    .filter(|row| wanted(ask, row))
                    .collect();
                expected.sort_by(|a, b| by_sorts(sorts, a, b));
                let expected: Vec<String> =
                    expected.iter().map(|row| format!("{}@v{}", row.name, row.version)).collect();
                let order: Vec<String> = sorts
                    .iter()
                    .map(|(field, down)| format!("{field}{}", if *down { " desc" } else { "" }))
                    .collect();
                let mut text = typed(ask);
                if !order.is_empty() {
                    text = format!("{text} order by {}", order.join(", "));
                }
                let query = Query { with_deleted: *with_deleted, ..text.parse().unwrap() };
                for registry in &worlds.both {
                    for limit in [1, 3, 1_000] {
                        assert_eq!(found(registry, &query, limit).await, expected, "{text} by {limit}");
                    }
                }
            }
        });
    }

    /// What is registered between two pages may be shown or not; what was there is shown once.
    #[test]
    fn what_is_registered_between_pages_makes_nothing_appear_twice(
        versions in prop::collection::vec(made(), 1..16),
        later in prop::collection::vec(made(), 1..16),
        sorts in sorts(),
    ) {
        run(async {
            // A version that is only registered changes nothing else that is sorted by.
            let plain = |made: &Made| Made { model_tag: None, moves: 0, alias: None, ..made.clone() };
            let worlds = Worlds::new();
            worlds.fill(&versions.iter().map(plain).collect::<Vec<_>>()).await;
            let order: Vec<String> = sorts
                .iter()
                .map(|(field, down)| format!("{field}{}", if *down { " desc" } else { "" }))
                .collect();
            let text = if order.is_empty() { String::new() } else { format!("order by {}", order.join(", ")) };
            for registry in &worlds.both {
                let mut query: Query = text.parse().unwrap();
                let before = found(registry, &query, 1_000).await;
                query.limit = 2;
                let mut later = later.iter();
                let mut seen = Vec::new();
                loop {
                    let page = registry.search(&query).await.unwrap();
                    seen.extend(
                        page.matches.iter().map(|found| format!("{}@{}", found.model, found.version.version)),
                    );
                    let Some(next) = page.next else { break };
                    query.after = Some(next);
                    if let Some(made) = later.next() {
                        make(registry, &worlds.clock, &plain(made)).await;
                    }
                }
                let once: BTreeSet<&String> = seen.iter().collect();
                assert_eq!(once.len(), seen.len(), "{text}: {seen:?}");
                assert!(before.iter().all(|version| once.contains(version)), "{text}: {before:?} {seen:?}");
            }
        });
    }
}

/// Versions with more files or features than have terms of their own.
#[test]
fn a_file_or_a_feature_among_very_many_is_found() {
    run(async {
        let worlds = Worlds::new();
        for registry in &worlds.both {
            let by = By::new("alice".parse().unwrap());
            let files: Vec<Bytes> = (0..65).map(|number| Bytes::from(format!("file {number}"))).collect();
            let uploads: Vec<Upload<'_>> = files
                .iter()
                .enumerate()
                .map(|(number, source)| Upload { path: format!("{number}.bin").parse().unwrap(), source })
                .collect();
            let features: Vec<String> = (0..1_001).map(|number| format!("feature-{number}")).collect();
            let content: Content = serde_json::from_value(json!({"features": features})).unwrap();
            let registration = Registration::new(Version::new(1, 0, 0), content);
            registry.register(&by, &"large".parse().unwrap(), registration, &uploads).await.unwrap();
            let small = Registration::new(Version::new(1, 0, 0), Content::default());
            registry.register(&by, &"small".parse().unwrap(), small, &uploads[..1]).await.unwrap();
            for (text, expected) in [
                (format!("digest = {}", Digest::of(b"file 64")), vec!["large@v1.0.0"]),
                (format!("digest = {}", Digest::of(b"file 0")), vec!["large@v1.0.0", "small@v1.0.0"]),
                ("feature = 'feature-0'".to_owned(), vec!["large@v1.0.0"]),
                ("feature = 'feature-1000'".to_owned(), vec!["large@v1.0.0"]),
                ("feature = 'feature-1001'".to_owned(), vec![]),
            ] {
                assert_eq!(found(registry, &text.parse().unwrap(), 10).await, expected, "{text}");
            }
        }
    });
}

/// More models than are listed at once, on both sides of a union.
#[test]
fn many_models_are_found_by_two_terms_each_once() {
    run(async {
        let registry: Shared = Arc::new(registry_core::in_memory());
        let by = By::new("alice".parse().unwrap());
        for number in 0..600 {
            let mut tags = BTreeMap::new();
            if number % 2 == 0 {
                tags.insert("even".parse().unwrap(), String::new());
            }
            if number % 3 == 0 {
                tags.insert("third".parse().unwrap(), String::new());
            }
            let content = Content { tags, ..Content::default() };
            let model = format!("m{number:03}").parse().unwrap();
            let registration = Registration::new(Version::new(1, 0, 0), content);
            registry.register(&by, &model, registration, &[]).await.unwrap();
        }
        let expected: Vec<String> = (0..600)
            .filter(|number| number % 2 == 0 || number % 3 == 0 || [1, 599].contains(number))
            .map(|number| format!("m{number:03}@v1.0.0"))
            .collect();
        let query: Query = "tag.even or tag.third or name in ('m599', 'm001', 'm002')".parse().unwrap();
        for limit in [7, 256, 1_000] {
            assert_eq!(found(&registry, &query, limit).await, expected, "{limit}");
        }
        assert_eq!(registry.streams(StreamKind::Model, None, None, 1_000).await.unwrap().len(), 600);
    });
}
