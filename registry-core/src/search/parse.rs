//! Why this exists: people type filters. The grammar, where words in quotes stand as they are and keywords and
//! fields may be in any case:
//!
//! ```text
//! query     = [ filter ] [ "order" "by" sort { "," sort } ]
//! filter    = all { "or" all }
//! all       = term { "and" term }
//! term      = "not" term | "(" filter ")" | condition
//! condition = field [ comparison ]
//! field     = name [ "." key ]                     key: a word, or a text in quotes
//! comparison= ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!           | [ "not" ] "in" "(" value { "," value } ")"
//!           | [ "not" ] "like" text
//! value     = word | text
//! text      = "'" … "'" | '"' … '"'                with \\ \' \" \n \r \t \u{1f600}
//! sort      = field [ "asc" | "desc" ]
//! word      = letters, digits and _ - . : / @ + ^ ~ *
//! ```
//!
//! What a field may be compared with is checked here, so that a filter that is read has a meaning. Why a parser
//! of combinators, and no hand-written one? Alternatives, repetition and going back are where those go wrong.

use winnow::Parser as _;
use winnow::combinator::{alt, opt, peek, preceded, separated};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{LocatingSlice, Location as _};
use winnow::token::{any, take_while};

use super::filter::{Condition, Filter, FlagField, ParamTest, Test, TextField, TextTest, TimeField};
use super::order::{Order, Sort, SortField};
use super::value::{Like, OneOf, ParamValue, Relation, VersionMatch, is_keyword, is_numeric, is_word_char};
use crate::content::Finite;
use crate::invalid::{Invalid, nearest};
use crate::name::{Key, ModelVersion};
use crate::version::Version;

type Input<'a> = LocatingSlice<&'a str>;
type Parsed<T> = Result<T, ErrMode<Refused>>;

/// What is wrong, and where, in bytes from the beginning.
#[derive(Debug)]
struct Refused {
    at: usize,
    problem: String,
}

impl ParserError<Input<'_>> for Refused {
    type Inner = Refused;

    fn from_input(input: &Input<'_>) -> Self {
        Refused { at: input.current_token_start(), problem: format!("unexpected: {}", found(input)) }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// All fields, by the names that people type.
const FIELDS: [&str; 22] = [
    "name",
    "version",
    "stage",
    "tag",
    "metric",
    "param",
    "owner",
    "created",
    "promoted",
    "deprecated",
    "quarantined",
    "deleted",
    "feature",
    "feature_set",
    "data",
    "experiment",
    "digest",
    "parent",
    "algorithm",
    "framework",
    "alias",
    "text",
];

/// Reads a filter, an order, both or neither.
pub(super) fn query(text: &str) -> Result<(Option<Filter>, Option<Order>), Invalid> {
    whole("filter", text, |input| {
        let is_empty = peek(opt(alt((end, keyword("order"))))).parse_next(input)?.is_some();
        let filter = if is_empty { None } else { Some(disjunction(input, 0)?) };
        let order = match opt(keyword("order")).parse_next(input)? {
            None => None,
            Some(()) => {
                let at = place(input);
                if opt(keyword("by")).parse_next(input)?.is_none() {
                    return refuse(at, format!("expected `by` after `order`; {}", found(input)));
                }
                Some(sorts(input)?)
            }
        };
        Ok((filter, order))
    })
}

/// Reads a filter alone.
pub(super) fn filter(text: &str) -> Result<Filter, Invalid> {
    whole("filter", text, |input| disjunction(input, 0))
}

/// Reads what stands after `order by`.
pub(super) fn order(text: &str) -> Result<Order, Invalid> {
    whole("order", text, sorts)
}

/// Reads all of a text.
fn whole<T>(
    what: &'static str,
    text: &str,
    read: impl FnOnce(&mut Input<'_>) -> Parsed<T>,
) -> Result<T, Invalid> {
    if Filter::BYTES_MAX < text.len() {
        let problem = format!("is longer than {} bytes; ask in parts", Filter::BYTES_MAX);
        return Err(Invalid::new(what, text, problem));
    }
    let mut input = LocatingSlice::new(text);
    let read = read(&mut input).and_then(|read| {
        let at = place(&mut input);
        match opt(end).parse_next(&mut input)? {
            Some(()) => Ok(read),
            None => refuse(at, format!("expected `and`, `or` or the end; {}", found(&input))),
        }
    });
    read.map_err(|error| {
        let Refused { at, problem } = match error {
            ErrMode::Backtrack(refused) | ErrMode::Cut(refused) => refused,
            ErrMode::Incomplete(_) => Refused { at: text.len(), problem: "is not complete".to_owned() },
        };
        let character = text.get(..at).unwrap_or(text).chars().count() + 1;
        Invalid::new(what, text, format!("at character {character}: {problem}"))
    })
}

fn refuse<T>(at: usize, problem: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(Refused { at, problem: problem.into() }))
}

/// What stands at the present place, for messages.
fn found(input: &Input<'_>) -> String {
    let rest = input.trim_start();
    let word: String = rest.chars().take_while(|c| is_word_char(*c)).take(40).collect();
    match rest.chars().next() {
        None => "found the end".to_owned(),
        Some(sign) if word.is_empty() && sign.is_control() => format!("found {sign:?}"),
        Some(sign) if word.is_empty() => format!("found `{sign}`"),
        Some(_) => format!("found `{word}`"),
    }
}

fn spaces(input: &mut Input<'_>) -> Parsed<()> {
    take_while(0.., char::is_whitespace).void().parse_next(input)
}

/// The place after the spaces.
fn place(input: &mut Input<'_>) -> usize {
    // Any number of spaces can be read, also none.
    let _ = spaces(input);
    input.current_token_start()
}

fn end(input: &mut Input<'_>) -> Parsed<()> {
    preceded(spaces, winnow::combinator::eof).void().parse_next(input)
}

fn word<'a>(input: &mut Input<'a>) -> Parsed<&'a str> {
    preceded(spaces, take_while(1.., is_word_char)).parse_next(input)
}

fn keyword<'a>(expected: &'static str) -> impl winnow::Parser<Input<'a>, (), ErrMode<Refused>> {
    word.verify(move |found: &str| found.eq_ignore_ascii_case(expected)).void()
}

fn sign<'a>(expected: &'static str) -> impl winnow::Parser<Input<'a>, (), ErrMode<Refused>> {
    preceded(spaces, expected).void()
}

/// Puts a filter together; what it is too large for is said of the place where it begins.
fn joined(at: usize, filter: Result<Filter, Invalid>) -> Parsed<Filter> {
    filter.or_else(|invalid| refuse(at, format!("the filter {}", invalid.problem)))
}

fn disjunction(input: &mut Input<'_>, depth: usize) -> Parsed<Filter> {
    let at = place(input);
    let all = |input: &mut Input<'_>| conjunction(input, depth);
    let parts: Vec<Filter> = separated(1.., all, keyword("or")).parse_next(input)?;
    joined(at, Filter::any(parts))
}

fn conjunction(input: &mut Input<'_>, depth: usize) -> Parsed<Filter> {
    let at = place(input);
    let term = |input: &mut Input<'_>| term(input, depth);
    let parts: Vec<Filter> = separated(1.., term, keyword("and")).parse_next(input)?;
    joined(at, Filter::all(parts))
}

fn term(input: &mut Input<'_>, depth: usize) -> Parsed<Filter> {
    let at = place(input);
    if Filter::DEPTH_MAX <= depth {
        return refuse(at, format!("the filter is nested more than {} deep", Filter::DEPTH_MAX));
    }
    if opt(keyword("not")).parse_next(input)?.is_some() {
        let inner = term(input, depth + 1)?;
        return joined(at, inner.negated());
    }
    if opt(sign("(")).parse_next(input)?.is_some() {
        let inner = disjunction(input, depth + 1)?;
        let end = place(input);
        if opt(sign(")")).parse_next(input)?.is_none() {
            return refuse(end, format!("expected `and`, `or` or `)`; {}", found(input)));
        }
        return Ok(inner);
    }
    let condition = condition(input)?;
    joined(at, Filter::new(condition))
}

/// A field, by what it holds.
#[derive(Clone)]
enum Field {
    Text(TextField),
    Metric(Key),
    Param(String),
    Version,
    Stage,
    Time(TimeField),
    Digest,
    Flag(FlagField),
}

impl Field {
    /// The comparisons that it takes, in words.
    fn takes(&self) -> &'static str {
        match self {
            Field::Text(_) => "=, !=, in, not in, like and not like",
            Field::Param(_) => "=, !=, <, <=, >, >=, in, not in, like and not like",
            Field::Metric(_) | Field::Version | Field::Time(_) => "=, !=, <, <=, >, >=, in and not in",
            Field::Stage | Field::Digest => "=, !=, in and not in",
            Field::Flag(_) => "= true and = false, or stands alone",
        }
    }
}

/// A field and its name.
fn field<'a>(input: &mut Input<'a>) -> Parsed<(Field, &'a str)> {
    let at = place(input);
    let word = match opt(word).parse_next(input)? {
        Some(word) if !is_keyword(word) => word,
        Some(keyword) => return refuse(at, format!("expected a field; found the word `{keyword}`")),
        None => return refuse(at, format!("expected a field, such as `stage`; {}", found(input))),
    };
    let (typed, key) = match word.split_once('.') {
        None => (word, None),
        Some((typed, key)) => (typed, Some(key)),
    };
    let Some(name) = FIELDS.into_iter().find(|name| name.eq_ignore_ascii_case(typed)) else {
        let hint = match nearest(&typed.to_lowercase(), FIELDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the fields are {}; `text = '…'` looks for a text", FIELDS.join(", ")),
        };
        return refuse(at, format!("there is no field `{typed}`; {hint}"));
    };
    let key = match key {
        Some("") if peek(opt(quote)).parse_next(input)?.is_some() => Some(quoted(input, false)?),
        Some("") => None,
        Some(key) => Some(key.to_owned()),
        None => None,
    };
    let keyed = |key: Option<String>| match key {
        Some(key) => Ok(key),
        None => refuse(at, format!("`{name}` needs a key: `{name}.key` or `{name}.\"a key\"`")),
    };
    let legal = |key: String| match key.parse::<Key>() {
        Ok(key) => Ok(key),
        Err(invalid) => refuse(at, format!("the key of `{name}` {}", invalid.problem)),
    };
    let field = match name {
        "tag" => return Ok((Field::Text(TextField::Tag(keyed(key).and_then(legal)?)), name)),
        "metric" => return Ok((Field::Metric(keyed(key).and_then(legal)?), name)),
        "param" => return Ok((Field::Param(keyed(key)?), name)),
        "version" => Field::Version,
        "stage" => Field::Stage,
        "created" => Field::Time(TimeField::Created),
        "promoted" => Field::Time(TimeField::Promoted),
        "digest" => Field::Digest,
        "deprecated" => Field::Flag(FlagField::Deprecated),
        "quarantined" => Field::Flag(FlagField::Quarantined),
        "deleted" => Field::Flag(FlagField::Deleted),
        "owner" => Field::Text(TextField::Owner),
        "feature" => Field::Text(TextField::Feature),
        "feature_set" => Field::Text(TextField::FeatureSet),
        "data" => Field::Text(TextField::Data),
        "experiment" => Field::Text(TextField::Experiment),
        "parent" => Field::Text(TextField::Parent),
        "algorithm" => Field::Text(TextField::Algorithm),
        "framework" => Field::Text(TextField::Framework),
        "alias" => Field::Text(TextField::Alias),
        "text" => Field::Text(TextField::Text),
        _ => Field::Text(TextField::Name),
    };
    if key.is_some() || word.contains('.') {
        return refuse(at, format!("`{name}` has no keys; only `tag`, `metric` and `param` have"));
    }
    Ok((field, name))
}

/// How a field is compared, as it was typed.
#[derive(Clone, Copy)]
enum Operator {
    Equal { negated: bool },
    In { negated: bool },
    Like { negated: bool },
    Ordered(Relation),
}

impl Operator {
    fn as_str(self) -> &'static str {
        match self {
            Operator::Equal { negated: false } => "=",
            Operator::Equal { negated: true } => "!=",
            Operator::In { negated: false } => "in",
            Operator::In { negated: true } => "not in",
            Operator::Like { negated: false } => "like",
            Operator::Like { negated: true } => "not like",
            Operator::Ordered(relation) => relation.as_str(),
        }
    }
}

fn operator(input: &mut Input<'_>) -> Parsed<Operator> {
    let signs = alt((
        sign("<=").value(Operator::Ordered(Relation::AtMost)),
        sign(">=").value(Operator::Ordered(Relation::AtLeast)),
        sign("<").value(Operator::Ordered(Relation::Less)),
        sign(">").value(Operator::Ordered(Relation::More)),
        sign("!=").value(Operator::Equal { negated: true }),
        sign("=").value(Operator::Equal { negated: false }),
    ));
    let words = (opt(keyword("not")), alt((keyword("in").value(true), keyword("like").value(false))));
    let words = words.map(|(not, is_list): (Option<()>, bool)| match is_list {
        true => Operator::In { negated: not.is_some() },
        false => Operator::Like { negated: not.is_some() },
    });
    alt((signs, words)).parse_next(input)
}

/// A value as it was typed.
struct Given {
    at: usize,
    text: String,
    is_quoted: bool,
}

impl Given {
    fn as_read<T>(&self, read: Result<T, Invalid>) -> Parsed<T> {
        read.or_else(|invalid| refuse(self.at, format!("`{}`: {}", shown(&self.text), invalid.problem)))
    }

    fn parsed<T: std::str::FromStr<Err = Invalid>>(&self) -> Parsed<T> {
        self.as_read(self.text.parse())
    }

    fn number(&self) -> Parsed<Finite> {
        if self.is_quoted || !is_numeric(&self.text) {
            let problem =
                format!("expected a number such as 0.9, without quotes; found `{}`", shown(&self.text));
            return refuse(self.at, problem);
        }
        self.as_read(Finite::new(self.text.parse().unwrap_or(f64::NAN)))
    }

    fn flag(&self) -> Option<bool> {
        let is = |word: &str| !self.is_quoted && self.text.eq_ignore_ascii_case(word);
        if is("true") { Some(true) } else { is("false").then_some(false) }
    }
}

/// The beginning of a text, for messages.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect()
}

fn value(input: &mut Input<'_>) -> Parsed<Given> {
    let at = place(input);
    if peek(opt(quote)).parse_next(input)?.is_some() {
        return Ok(Given { at, text: quoted(input, false)?, is_quoted: true });
    }
    match opt(word).parse_next(input)? {
        Some(word) if is_keyword(word) => {
            refuse(at, format!("expected a value; the word `{word}` must stand in quotes to be one"))
        }
        Some(word) => Ok(Given { at, text: word.to_owned(), is_quoted: false }),
        None => refuse(at, format!("expected a word, a number or a text in quotes; {}", found(input))),
    }
}

fn list(input: &mut Input<'_>) -> Parsed<Vec<Given>> {
    let at = place(input);
    if opt(sign("(")).parse_next(input)?.is_none() {
        return refuse(at, format!("expected values in parentheses after `in`; {}", found(input)));
    }
    let values = separated(1.., value, sign(",")).parse_next(input)?;
    let at = place(input);
    match opt(sign(")")).parse_next(input)? {
        Some(()) => Ok(values),
        None => refuse(at, format!("expected `,` or `)`; {}", found(input))),
    }
}

fn quote(input: &mut Input<'_>) -> Parsed<char> {
    preceded(spaces, alt(('\'', '"'))).parse_next(input)
}

/// A text in quotes. In a pattern, a backslash that belongs to it is left in its place.
fn quoted(input: &mut Input<'_>, is_pattern: bool) -> Parsed<String> {
    let at = place(input);
    let end = quote(input)?;
    let mut text = String::new();
    let character = |input: &mut Input<'_>| opt(any).parse_next(input);
    loop {
        let here = input.current_token_start();
        match character(input)? {
            None => return refuse(at, "the quote that begins here is never closed"),
            Some(c) if c == end => return Ok(text),
            Some('\\') => match character(input)? {
                Some(kept @ ('%' | '_' | '\\')) if is_pattern => text.extend(['\\', kept]),
                Some(plain @ ('\\' | '\'' | '"')) => text.push(plain),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('u') => text.push(code_point(input, here)?),
                _ => {
                    let more = if is_pattern { r" \% \_" } else { "" };
                    return refuse(
                        here,
                        format!(r#"after `\` expected one of \\ \' \" \n \r \t \u{{…}}{more}"#),
                    );
                }
            },
            Some(plain) => text.push(plain),
        }
    }
}

fn code_point(input: &mut Input<'_>, at: usize) -> Parsed<char> {
    let digits = take_while(1..=6, |c: char| c.is_ascii_hexdigit());
    let read = opt(winnow::combinator::delimited('{', digits, '}')).parse_next(input)?;
    let found = read.and_then(|digits: &str| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
    match found {
        Some(found) => Ok(found),
        None => refuse(at, r"expected the number of a character, such as \u{e9}"),
    }
}

fn condition(input: &mut Input<'_>) -> Parsed<Condition> {
    let (field, name) = field(input)?;
    let at = place(input);
    let Some(operator) = opt(operator).parse_next(input)? else { return alone(field, name, at) };
    let wrong = || {
        let takes = field.takes();
        refuse(at, format!("`{}` does not apply to `{name}`, which takes {takes}", operator.as_str()))
    };
    // So that a comparison that cannot be is refused for that, and not for its value.
    match (&field, operator) {
        (Field::Text(_) | Field::Stage | Field::Digest, Operator::Ordered(_)) => return wrong(),
        (Field::Flag(_), Operator::In { .. } | Operator::Like { .. } | Operator::Ordered(_)) => {
            return wrong();
        }
        (Field::Text(_) | Field::Param(_), Operator::Like { .. }) => {}
        (_, Operator::Like { .. }) => return wrong(),
        _ => {}
    }
    match operator {
        Operator::Like { negated } => {
            let at = place(input);
            if peek(opt(quote)).parse_next(input)?.is_none() {
                return refuse(
                    at,
                    format!("expected a pattern in quotes, such as 'fraud%'; {}", found(input)),
                );
            }
            let given = Given { at, text: quoted(input, true)?, is_quoted: true };
            let like = Like { pattern: given.parsed()?, negated };
            match field {
                Field::Text(field) => Ok(Condition::Text(field, TextTest::Like(like))),
                Field::Param(key) => Ok(Condition::Param(key, ParamTest::Like(like))),
                _ => wrong(),
            }
        }
        Operator::Ordered(relation) => {
            let given = value(input)?;
            match field {
                Field::Metric(key) => Ok(Condition::Metric(key, Test::Ordered(relation, given.number()?))),
                Field::Param(key) => Ok(Condition::Param(key, ParamTest::Ordered(relation, given.number()?))),
                Field::Version => Ok(Condition::Version(Test::Ordered(relation, given.parsed::<Version>()?))),
                Field::Time(field) => Ok(Condition::Time(field, Test::Ordered(relation, given.parsed()?))),
                _ => wrong(),
            }
        }
        Operator::Equal { negated } | Operator::In { negated } => {
            let at = place(input);
            let values = match operator {
                Operator::In { .. } => list(input)?,
                _ => vec![value(input)?],
            };
            among(field, name, &values, negated, at)
        }
    }
}

/// A field by itself: what is so, or what is there.
fn alone(field: Field, name: &str, at: usize) -> Parsed<Condition> {
    Ok(match field {
        Field::Text(field) => Condition::Text(field, TextTest::Present),
        Field::Metric(key) => Condition::Metric(key, Test::Present),
        Field::Param(key) => Condition::Param(key, ParamTest::Present),
        Field::Version => Condition::Version(Test::Present),
        Field::Time(field) => Condition::Time(field, Test::Present),
        Field::Flag(field) => Condition::Flag(field, true),
        Field::Stage | Field::Digest => {
            let takes = field.takes();
            return refuse(at, format!("expected a comparison: `{name}` takes {takes}"));
        }
    })
}

/// A field that is equal to one of some values, or to none.
fn among(field: Field, name: &str, values: &[Given], negated: bool, at: usize) -> Parsed<Condition> {
    fn one_of<T>(
        values: &[Given],
        negated: bool,
        at: usize,
        read: impl Fn(&Given) -> Parsed<T>,
    ) -> Parsed<OneOf<T>> {
        let values = values.iter().map(read).collect::<Parsed<Vec<T>>>()?;
        match OneOf::new(values) {
            Ok(values) if negated => Ok(values.negated()),
            Ok(values) => Ok(values),
            Err(invalid) => refuse(at, format!("the list {}", invalid.problem)),
        }
    }
    let text = |given: &Given| Ok(given.text.clone());
    Ok(match field {
        Field::Text(TextField::Parent) => {
            let parent = |given: &Given| given.parsed::<ModelVersion>().map(|parent| parent.to_string());
            let values = one_of(values, negated, at, parent)?;
            Condition::Text(TextField::Parent, TextTest::OneOf(values))
        }
        Field::Text(field) => Condition::Text(field, TextTest::OneOf(one_of(values, negated, at, text)?)),
        Field::Metric(key) => {
            Condition::Metric(key, Test::OneOf(one_of(values, negated, at, Given::number)?))
        }
        Field::Param(key) => {
            let param = |given: &Given| match given.flag() {
                Some(flag) => Ok(ParamValue::Flag(flag)),
                None if !given.is_quoted && is_numeric(&given.text) => given.number().map(ParamValue::Number),
                None => Ok(ParamValue::Text(given.text.clone())),
            };
            Condition::Param(key, ParamTest::OneOf(one_of(values, negated, at, param)?))
        }
        Field::Version => {
            let values = one_of(values, negated, at, Given::parsed::<VersionMatch>)?;
            Condition::Version(Test::OneOf(values))
        }
        Field::Stage => Condition::Stage(one_of(values, negated, at, Given::parsed)?),
        Field::Time(field) => {
            Condition::Time(field, Test::OneOf(one_of(values, negated, at, Given::parsed)?))
        }
        Field::Digest => Condition::Digest(one_of(values, negated, at, Given::parsed)?),
        Field::Flag(field) => match values.first().and_then(Given::flag) {
            Some(expected) => Condition::Flag(field, expected != negated),
            None => return refuse(at, format!("`{name}` is `true` or `false`")),
        },
    })
}

fn sorts(input: &mut Input<'_>) -> Parsed<Order> {
    let at = place(input);
    let sorts: Vec<Sort> = separated(1.., sort, sign(",")).parse_next(input)?;
    Order::new(sorts).or_else(|invalid| refuse(at, format!("the order {}", invalid.problem)))
}

fn sort(input: &mut Input<'_>) -> Parsed<Sort> {
    let at = place(input);
    let (field, name) = field(input)?;
    let field = match field {
        Field::Text(TextField::Name) => SortField::Name,
        Field::Text(TextField::Tag(key)) => SortField::Tag(key),
        Field::Text(TextField::Owner) => SortField::Owner,
        Field::Text(TextField::FeatureSet) => SortField::FeatureSet,
        Field::Text(TextField::Data) => SortField::Data,
        Field::Text(TextField::Experiment) => SortField::Experiment,
        Field::Text(TextField::Parent) => SortField::Parent,
        Field::Text(TextField::Algorithm) => SortField::Algorithm,
        Field::Text(TextField::Framework) => SortField::Framework,
        Field::Metric(key) => SortField::Metric(key),
        Field::Param(key) => SortField::Param(key),
        Field::Version => SortField::Version,
        Field::Stage => SortField::Stage,
        Field::Time(field) => SortField::Time(field),
        Field::Text(TextField::Feature | TextField::Alias | TextField::Text)
        | Field::Digest
        | Field::Flag(_) => return refuse(at, format!("there is no order by `{name}`")),
    };
    let direction = alt((keyword("desc").value(true), keyword("asc").value(false)));
    let descending = opt(direction).parse_next(input)?.unwrap_or(false);
    Ok(Sort { field, descending })
}
