//! What a filter reads as, prints as, and is refused for.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::content::Finite;
use crate::digest::Digest;
use crate::name::Key;
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::version::Version;

fn refusal(text: &str) -> String {
    match text.parse::<Query>() {
        Ok(query) => panic!("{text} is read as {query:?}"),
        Err(invalid) => invalid.problem,
    }
}

#[test]
fn every_form_is_read_and_printed_in_one_way() {
    let printed = |text: &str| {
        let query: Query = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let filter = query.filter.map(|filter| filter.to_string()).unwrap_or_default();
        let order = query.order.to_string();
        if order.is_empty() { filter } else { format!("{filter} | {order}") }
    };
    let cases: Vec<String> = [
        "",
        "  ",
        "name = fraud",
        "NAME='fraud'",
        r#"name = "it's""#,
        r"name = 'a\\b\n\u{e9}\u{7}'",
        "name = 'and'",
        "version = 3.1",
        "version = ^3.1",
        "version in (v3, '>=4, <5', '3.*')",
        "version >= 3.1.0-rc.1",
        "stage = PROD",
        "Stage Not In (dev, 'Archived')",
        "tag.fraud",
        "tag.team/a-b = 'x' AND tag.\"a b\" != y",
        "tag.'a b' like '100\\%\\_%'",
        "owner not like \"%@example.com\"",
        "metric.auc>=0.9",
        "metric.auc = -1e-3",
        "metric.auc in (1, .5, 1e300)",
        "param.depth = 3 or param.depth = '3' or param.depth = three or param.depth = TRUE",
        "param.\"\" = '' and param.'it\\'s' > 1",
        "created >= 2024-01-01 and created < 2024-02-01T10:30:00+02:00",
        "promoted",
        "deprecated and not quarantined and deleted = false and deprecated != false",
        "digest = BA7816BF or digest in (sha256:ba7816bf, 'ba7816bf8')",
        "parent = card@v1",
        "feature_set = card:7",
        "a = 1 or b = 2".replace("a =", "metric.a =").replace("b =", "metric.b =").leak(),
        "tag.a or tag.b and not tag.c",
        "(tag.a or tag.b) and not (tag.c and tag.d)",
        "((tag.a))",
        "not not tag.a",
        "tag.a and tag.b and tag.c",
        "(tag.a and tag.b) and tag.c",
        "order by version desc, metric.accuracy",
        "tag.a ORDER BY name ASC, tag.\"a b\" DESC",
    ]
    .iter()
    .map(|text| format!("{text}\n    {}", printed(text)))
    .collect();
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases: Vec<String> = [
        "stge = prod",
        "fraud",
        "wibble = 1",
        "stage > staging",
        "stage like 's%'",
        "stage = live",
        "stage",
        "digest",
        "metric.a like 'x'",
        "metric.a = 'x'",
        "metric.a = '1'",
        "metric.a = 1e999",
        "metric.a >",
        "metric = 1",
        "metric. = 1",
        "metric.a,b = 1",
        "tag.'a=b'",
        "owner.x = 1",
        "owner < 'x'",
        "owner = and",
        "owner = ",
        "owner == 'x'",
        "owner = 'x",
        "owner = 'x\\y'",
        "owner = '\\u{110000}'",
        "owner like x",
        "owner like 'x\\n%\\q'",
        "owner in 'x'",
        "owner in ()",
        "owner in ('a' 'b')",
        "owner in ('a',",
        "deprecated = maybe",
        "deprecated in (true)",
        "created = yesterday",
        "created > 2024-13-01",
        "version > ^3",
        "version = latest",
        "parent = card",
        "digest = abc",
        "param.x < 'a'",
        "(tag.a",
        "tag.a)",
        "tag.a tag.b",
        "tag.a and",
        "and tag.a",
        "not",
        "tag.ä = 'é' and ö",
        "order version",
        "order by",
        "order by feature",
        "order by name, name desc",
        "tag.a order by name or tag.b",
        "tag.a; drop table commits",
    ]
    .iter()
    .map(|text| format!("{text}\n    {}", refusal(text)))
    .collect();
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn a_filter_is_bounded_in_length_depth_number_and_lists() {
    let nested = |depth: usize| format!("{}tag.a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(63).parse::<Filter>().is_ok());
    assert!(refusal(&nested(64)).contains("nested more than 64 deep"));
    assert!(refusal(&nested(4_000)).contains("nested more than 64 deep"));
    let negated = |depth: usize| format!("{}tag.a", "not ".repeat(depth));
    assert!(negated(63).parse::<Filter>().is_ok());
    assert!(refusal(&negated(64)).contains("nested more than 64 deep"));

    let many = |number: usize| vec!["tag.a"; number].join(" or ");
    assert!(many(999).parse::<Filter>().is_ok());
    assert!(refusal(&many(1_000)).contains("more than 1000 conditions"));
    let list = |number: usize| format!("metric.a in ({})", vec!["1.0"; number].join(","));
    assert!(list(1_000).parse::<Filter>().is_ok());
    assert!(refusal(&list(1_001)).contains("more than 1000 values"));

    let long = |bytes: usize| format!("name = '{}'", "x".repeat(bytes - "name = ''".len()));
    assert!(long(Filter::BYTES_MAX).parse::<Filter>().is_ok());
    assert!(refusal(&long(Filter::BYTES_MAX + 1)).contains("longer than 10000 bytes"));
    // What is longer as it is printed is not accepted either, since it could not be read again.
    let grows = format!("name = {}", "x".repeat(Filter::BYTES_MAX - "name = ".len()));
    assert!(refusal(&grows).contains("longer than 10000 bytes"));

    let mut deep: Filter = "tag.a".parse().unwrap();
    for _ in 1..Filter::DEPTH_MAX {
        deep = deep.negated().unwrap();
    }
    assert!(deep.negated().is_err());
    assert!(Filter::all([]).is_err());
    assert!(OneOf::<Stage>::new([]).is_err());
}

#[test]
fn cursors_that_are_none_are_refused() {
    for bad in ["", "0", "zz", "7b7d", "é", &"00".repeat(40_000)] {
        let error = bad.parse::<Cursor>().unwrap_err();
        assert!(error.problem.contains("not the end of a page"), "{error}");
    }
}

/// Texts with everything that could end a quote, or look like something else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "",
            "and",
            "true",
            "3",
            "3.1",
            "'",
            "\"",
            "\\",
            "\\'",
            "a' or 'a' = 'a",
            "%",
            "é\u{202e}\0\n"
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| text.chars().take(20).collect()),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    select(vec!["a", "a b", "team/a.b:c-d_e", "and", "é", "1"]).prop_map(|key| key.parse().unwrap())
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = OneOf<T>> {
    (prop::collection::vec(value, 1..4), any::<bool>()).prop_map(|(values, negated)| {
        let values = OneOf::new(values).unwrap();
        if negated { values.negated() } else { values }
    })
}

fn number() -> impl Strategy<Value = Finite> {
    use proptest::num::f64;
    (f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::NEGATIVE | f64::POSITIVE)
        .prop_map(|number| Finite::new(number).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    select(vec!["0.1.0", "3.1.0-rc.1", "18446744073709551615.0.0", "1.0.0+build.5"])
        .prop_map(|version| version.parse().unwrap())
}

fn version_match() -> impl Strategy<Value = VersionMatch> {
    prop_oneof![
        version().prop_map(VersionMatch::Exactly),
        select(vec!["^3.1", "3.1", ">=2, <3", "*", "3.*", "=1.0.0", "~1.2.3-rc.1"])
            .prop_map(|range| VersionMatch::Range(range.parse().unwrap())),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        select(vec!["2024-01-15", "0000-01-01", "9999-12-29"]).prop_map(|day| day.parse().unwrap()),
        (-377_000_000_000_000_000..250_000_000_000_000_000_i64).prop_map(|us| Timestamp::from_microseconds(
            us
        )
        .unwrap()
        .into()),
    ]
}

fn relation() -> impl Strategy<Value = Relation> {
    select(vec![Relation::Less, Relation::AtMost, Relation::More, Relation::AtLeast])
}

fn like() -> impl Strategy<Value = Like> {
    let part = prop_oneof![
        select(vec!["%", "_", "\\%", "\\_", "\\\\", "'", "\"", "\n"]).prop_map(str::to_owned),
        text().prop_map(|text| text.replace('\\', "\\\\")),
    ];
    (prop::collection::vec(part, 0..4), any::<bool>())
        .prop_map(|(parts, negated)| Like { pattern: parts.concat().parse().unwrap(), negated })
}

fn text_field() -> impl Strategy<Value = TextField> {
    use TextField::*;
    let plain = vec![Name, Owner, Feature, FeatureSet, Data, Experiment, Algorithm, Framework, Alias, Text];
    prop_oneof![select(plain), key().prop_map(Tag)]
}

fn condition() -> impl Strategy<Value = Condition> {
    let text_test = prop_oneof![
        Just(TextTest::Present),
        one_of(text()).prop_map(TextTest::OneOf),
        like().prop_map(TextTest::Like),
    ];
    let parents = select(vec!["card@v1.0.0", "a b@v2.0.0-rc.1+x"]).prop_map(str::to_owned);
    let numbers = prop_oneof![
        Just(Test::Present),
        one_of(number()).prop_map(Test::OneOf),
        (relation(), number()).prop_map(|(relation, bound)| Test::Ordered(relation, bound)),
    ];
    let param = prop_oneof![
        any::<bool>().prop_map(ParamValue::Flag),
        number().prop_map(ParamValue::Number),
        text().prop_map(ParamValue::Text),
    ];
    let params = prop_oneof![
        Just(ParamTest::Present),
        one_of(param).prop_map(ParamTest::OneOf),
        (relation(), number()).prop_map(|(relation, bound)| ParamTest::Ordered(relation, bound)),
        like().prop_map(ParamTest::Like),
    ];
    let versions = prop_oneof![
        Just(Test::Present),
        one_of(version_match()).prop_map(Test::OneOf),
        (relation(), version()).prop_map(|(relation, bound)| Test::Ordered(relation, bound)),
    ];
    let moments = prop_oneof![
        Just(Test::Present),
        one_of(moment()).prop_map(Test::OneOf),
        (relation(), moment()).prop_map(|(relation, bound)| Test::Ordered(relation, bound)),
    ];
    let digest = ("[0-9a-f]{8,64}", any::<bool>()).prop_map(|(digits, whole)| match whole {
        true => Digest::of(digits.as_bytes()).into(),
        false => digits.parse::<DigestPrefix>().unwrap(),
    });
    prop_oneof![
        (text_field(), text_test).prop_map(|(field, test)| Condition::Text(field, test)),
        one_of(parents).prop_map(|of| Condition::Text(TextField::Parent, TextTest::OneOf(of))),
        (key(), numbers).prop_map(|(key, test)| Condition::Metric(key, test)),
        (text(), params).prop_map(|(key, test)| Condition::Param(key, test)),
        versions.prop_map(Condition::Version),
        one_of(select(Stage::ALL.to_vec())).prop_map(Condition::Stage),
        (select(vec![TimeField::Created, TimeField::Promoted]), moments)
            .prop_map(|(field, test)| Condition::Time(field, test)),
        one_of(digest).prop_map(Condition::Digest),
        (select(vec![FlagField::Deprecated, FlagField::Quarantined, FlagField::Deleted]), any::<bool>())
            .prop_map(|(field, expected)| Condition::Flag(field, expected)),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let leaf = condition().prop_map(|condition| Filter::new(condition).unwrap());
    leaf.prop_recursive(8, 24, 4, |inner| {
        let parts = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            inner.clone().prop_map(|inner| inner.negated().unwrap()),
            parts().prop_map(|parts| Filter::all(parts).unwrap()),
            parts().prop_map(|parts| Filter::any(parts).unwrap()),
        ]
    })
}

fn sort() -> impl Strategy<Value = Sort> {
    use SortField::*;
    let plain = vec![
        Name,
        Version,
        Stage,
        Time(TimeField::Created),
        Time(TimeField::Promoted),
        Owner,
        FeatureSet,
        Data,
        Experiment,
        Parent,
        Algorithm,
        Framework,
    ];
    let field =
        prop_oneof![select(plain), key().prop_map(Tag), key().prop_map(Metric), text().prop_map(Param)];
    (field, any::<bool>()).prop_map(|(field, descending)| Sort { field, descending })
}

/// Text that is nearly a filter.
fn near_filter() -> impl Strategy<Value = String> {
    let words = vec![
        "and",
        "or",
        "not",
        "in",
        "like",
        "order",
        "by",
        "desc",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        ">=",
        "'a'",
        "\"b\"",
        "'",
        "\\",
        "stage",
        "tag.a",
        "tag.",
        "metric.x",
        "param.'é'",
        "version",
        "prod",
        "1",
        "^3",
        "-",
        "created",
        "2024-01-01",
        "deprecated",
        "true",
        "%",
        "\u{1f600}",
        "\n",
        "\\u{41}",
        "order by name",
    ];
    prop::collection::vec(select(words), 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_prints_as_text_that_reads_back_as_the_same_tree(filter in filter()) {
        let text = filter.to_string();
        prop_assert!(!text.contains('\n'), "{text}");
        let read = text.parse::<Filter>();
        prop_assert_eq!(read.as_ref(), Ok(&filter), "{}", text);
    }

    #[test]
    fn the_counted_size_is_the_printed_size(filter in filter()) {
        // A filter that is as long as it may be, but for this one, is refused exactly if it gets too long.
        let text = filter.to_string();
        let fill = |bytes: usize| {
            let name = "x".repeat(bytes - "name = ''".len());
            Filter::new(Condition::Text(TextField::Name, TextTest::equal(name))).unwrap()
        };
        let wrapped = if text.parse::<Filter>() == Ok(filter.clone()) && filter.clone().negated().is_ok() {
            filter.negated().unwrap()
        } else {
            return Ok(());
        };
        let taken = wrapped.to_string().len() + " and ".len();
        let fits = Filter::all([wrapped.clone(), fill(Filter::BYTES_MAX - taken)]).unwrap();
        prop_assert_eq!(fits.to_string().len(), Filter::BYTES_MAX);
        prop_assert!(Filter::all([wrapped, fill(Filter::BYTES_MAX - taken + 1)]).is_err());
    }

    #[test]
    fn an_order_prints_as_text_that_reads_back_as_the_same_order(
        sorts in prop::collection::vec(sort(), 1..6),
    ) {
        let Ok(order) = Order::new(sorts) else { return Ok(()) };
        prop_assert_eq!(order.to_string().parse::<Order>(), Ok(order));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), near in near_filter()) {
        for text in [text, near] {
            match text.parse::<Query>() {
                Ok(query) => {
                    let filter = query.filter.as_ref().map(ToString::to_string).unwrap_or_default();
                    let again: Query = filter.parse().unwrap();
                    prop_assert_eq!(query.filter, again.filter);
                }
                Err(invalid) => {
                    prop_assert!(invalid.problem.starts_with("at character "), "{}", invalid);
                }
            }
            let _ = text.parse::<Cursor>();
        }
    }
}

#[tokio::test]
async fn what_is_linked_is_found_like_what_the_metadata_name() {
    let registry = crate::memory::in_memory();
    let by = crate::By::new("ann".parse().unwrap());
    let content: crate::Content = serde_json::from_value(serde_json::json!({"links": [
        {"link": "input", "kind": "data", "id": "transactions", "version": "v7"},
        {"link": "input", "kind": "experiment", "id": "run-1"},
        {"link": "input", "kind": "feature_set", "id": "card"},
        {"link": "derived_from", "model": "base@v1.0.0"},
    ]}))
    .unwrap();
    let registration = crate::Registration::new(Version::new(1, 0, 0), content);
    use crate::RegistryExt as _;
    registry.register(&by, &"linked".parse().unwrap(), registration, &[]).await.unwrap();
    for (filter, found) in [
        ("data = 'transactions'", 1),
        ("data = 'transactions:v7'", 1),
        ("data = 'transactions:v8'", 0),
        ("data like 'trans%'", 1),
        ("experiment in ('run-1', 'run-2')", 1),
        ("feature_set = card", 1),
        ("parent = base@v1", 1),
        ("parent = base@v2", 0),
    ] {
        let page = registry.search(&filter.parse().unwrap()).await.unwrap();
        assert_eq!(page.matches.len(), found, "{filter}");
    }
}
