//! Why this exists: what a version is compared with. Each kind of value has one type, parsed once, that
//! prints as text which reads back as the same value: quoted wherever a bare word could mean something else.

use std::fmt;
use std::str::FromStr;

use crate::content::Finite;
use crate::digest::Digest;
use crate::invalid::Invalid;
use crate::time::Timestamp;
use crate::version::{Version, VersionRange};

/// The words that mean something by themselves. As texts they must stand in quotes.
pub(crate) const KEYWORDS: [&str; 6] = ["and", "or", "not", "in", "like", "order"];

/// Whether a character may stand in a word without quotes.
pub(crate) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '@' | '+' | '^' | '~' | '*')
}

pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// Whether a word is meant as a number.
pub(crate) fn is_numeric(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-', '.']);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && word.len() - digits.len() <= 2
        && word.parse::<f64>().is_ok()
}

/// Prints a text in quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                other => write_char(f, other)?,
            }
        }
        f.write_str("'")
    }
}

/// A character inside of quotes; a backslash is the caller's affair.
fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    use fmt::Write as _;
    match c {
        '\'' => f.write_str("\\'"),
        '\n' => f.write_str("\\n"),
        '\t' => f.write_str("\\t"),
        // What would break a line, or make the text read as another.
        c if c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}') => {
            write!(f, "\\u{{{:x}}}", u32::from(c))
        }
        c => f.write_char(c),
    }
}

/// Prints a value without quotes where it can stand so.
pub(crate) struct Bare<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Bare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        if !text.is_empty() && text.chars().all(is_word_char) && !is_keyword(&text) {
            return f.write_str(&text);
        }
        Quoted(&text).fmt(f)
    }
}

/// Lower case, letter by letter, so that a part of a text folds as it does in the whole.
pub(crate) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// A value as it stands in a filter.
pub(crate) trait Literal {
    /// Writes it so that it reads back as the same value.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Literal for String {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Quoted(self))
    }
}

impl Literal for Finite {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With an exponent where the number is very large or very small.
        write!(f, "{:?}", self.get())
    }
}

/// Values that print as words.
macro_rules! literal_word {
    ($($type:ty),+) => {
        $(impl Literal for $type {
            fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Bare(self))
            }
        })+
    };
}

literal_word!(crate::stage::Stage, Version, VersionMatch, Moment, DigestPrefix);

/// One or more values, one of which a field must be equal to, or none of which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOf<T> {
    values: Vec<T>,
    negated: bool,
}

impl<T> OneOf<T> {
    /// The most values.
    pub const VALUES_MAX: usize = 1_000;

    /// Equal to one of these, of which there must be at least one.
    pub fn new(values: impl IntoIterator<Item = T>) -> Result<Self, Invalid> {
        let values: Vec<T> = values.into_iter().take(Self::VALUES_MAX + 1).collect();
        match values.len() {
            0 => Err(Invalid::new("list", "", "is empty; name at least one value")),
            many if Self::VALUES_MAX < many => {
                let problem = format!("has more than {} values; ask in parts", Self::VALUES_MAX);
                Err(Invalid::new("list", "", problem))
            }
            _ => Ok(OneOf { values, negated: false }),
        }
    }

    /// The opposite: there, and equal to none of these.
    #[must_use]
    pub fn negated(self) -> Self {
        OneOf { negated: !self.negated, ..self }
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Whether a field must be different from all values.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether what a version has of a field passes. A version that has nothing of it never does.
    pub(crate) fn passes<V>(
        &self,
        found: impl IntoIterator<Item = V>,
        equal: impl Fn(&V, &T) -> bool,
    ) -> bool {
        let mut is_there = false;
        for value in found {
            is_there = true;
            if self.values.iter().any(|wanted| equal(&value, wanted)) {
                return !self.negated;
            }
        }
        is_there && self.negated
    }
}

impl<T> From<T> for OneOf<T> {
    /// Equal to this.
    fn from(value: T) -> Self {
        OneOf { values: vec![value], negated: false }
    }
}

impl<T: Literal> fmt::Display for OneOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [value] = self.values.as_slice() {
            f.write_str(if self.negated { "!= " } else { "= " })?;
            return value.write(f);
        }
        f.write_str(if self.negated { "not in (" } else { "in (" })?;
        for (index, value) in self.values.iter().enumerate() {
            if index != 0 {
                f.write_str(", ")?;
            }
            value.write(f)?;
        }
        f.write_str(")")
    }
}

/// How a field must lie to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

impl Relation {
    /// The sign.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Less => "<",
            Relation::AtMost => "<=",
            Relation::More => ">",
            Relation::AtLeast => ">=",
        }
    }

    /// Whether `found` lies so to `bound`.
    pub(crate) fn holds<T: PartialOrd>(self, found: &T, bound: &T) -> bool {
        match self {
            Relation::Less => found < bound,
            Relation::AtMost => found <= bound,
            Relation::More => bound < found,
            Relation::AtLeast => bound <= found,
        }
    }
}

/// A pattern for texts, in any case: `%` stands for any text, `_` for one character; `\%`, `\_` and `\\` for
/// these characters themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
}

impl Pattern {
    /// The longest pattern, in characters.
    pub const CHARS_MAX: usize = 500;

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a text fits as a whole. Takes at most as many steps as the two have characters, multiplied.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        let (mut at, mut part) = (0, 0);
        // Where the last `%` stands, and how much of the text it takes.
        let mut any: Option<(usize, usize)> = None;
        loop {
            let fits = match (self.parts.get(part), text.get(at)) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    any = Some((part, at));
                    part += 1;
                    continue;
                }
                (Some(Part::One), Some(_)) => true,
                (Some(Part::Char(wanted)), Some(found)) => wanted == found,
                _ => false,
            };
            if fits {
                (at, part) = (at + 1, part + 1);
                continue;
            }
            match any {
                Some((place, taken)) if taken < text.len() => {
                    any = Some((place, taken + 1));
                    (at, part) = (taken + 1, place + 1);
                }
                _ => return false,
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if Pattern::CHARS_MAX < text.chars().count() {
            let problem = format!("longer than {} characters", Pattern::CHARS_MAX);
            return Err(Invalid::new("pattern", text, problem));
        }
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => parts.push(Part::Any),
                '_' => parts.push(Part::One),
                '\\' => match chars.next() {
                    Some(plain @ ('%' | '_' | '\\')) => parts.push(Part::Char(plain)),
                    _ => {
                        let problem = "a `\\` may stand before `%`, `_` and `\\` only";
                        return Err(Invalid::new("pattern", text, problem));
                    }
                },
                plain => parts.extend(plain.to_lowercase().map(Part::Char)),
            }
        }
        Ok(Pattern { text: text.to_owned(), parts })
    }
}

/// Whether a text must fit a pattern, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like {
    /// The pattern.
    pub pattern: Pattern,
    /// Whether texts that fit are the ones that are not wanted.
    pub negated: bool,
}

impl Like {
    /// Fits the pattern.
    pub fn new(pattern: Pattern) -> Self {
        Like { pattern, negated: false }
    }

    /// Whether what a version has of a field passes. A version that has nothing of it never does.
    pub(crate) fn passes<'a>(&self, found: impl IntoIterator<Item = &'a str>) -> bool {
        let mut is_there = false;
        for text in found {
            is_there = true;
            if self.pattern.fits(text) {
                return !self.negated;
            }
        }
        is_there && self.negated
    }
}

impl fmt::Display for Like {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.negated { "not like '" } else { "like '" })?;
        // The backslashes of a pattern are its own, and stand in pairs with what follows them.
        for c in self.pattern.text.chars() {
            write_char(f, c)?;
        }
        f.write_str("'")
    }
}

/// A version, or the versions of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionMatch {
    /// This one; build metadata takes no part.
    Exactly(Version),
    /// Those in a range such as `^3.1`.
    Range(VersionRange),
}

impl VersionMatch {
    pub(crate) fn matches(&self, version: &Version) -> bool {
        match self {
            VersionMatch::Exactly(wanted) => version == wanted,
            VersionMatch::Range(range) => range.contains(version),
        }
    }
}

impl fmt::Display for VersionMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionMatch::Exactly(version) => version.fmt(f),
            VersionMatch::Range(range) => range.fmt(f),
        }
    }
}

impl FromStr for VersionMatch {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(version) = text.parse() {
            return Ok(VersionMatch::Exactly(version));
        }
        text.parse().map(VersionMatch::Range).map_err(|_: Invalid| {
            Invalid::new("version", text, "expected a version such as `v3.1`, or a range such as `^3.1`")
        })
    }
}

/// An instant, or a whole day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    first: Timestamp,
    last: Timestamp,
}

impl Moment {
    pub(crate) fn contains(&self, instant: Timestamp) -> bool {
        self.first <= instant && instant <= self.last
    }

    /// A day is left behind when it is over.
    pub(crate) fn lies(&self, relation: Relation, instant: Timestamp) -> bool {
        match relation {
            Relation::Less | Relation::AtLeast => relation.holds(&instant, &self.first),
            Relation::AtMost | Relation::More => relation.holds(&instant, &self.last),
        }
    }
}

impl From<Timestamp> for Moment {
    fn from(instant: Timestamp) -> Self {
        Moment { first: instant, last: instant }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { f.write_str(&self.first.date()) }
    }
}

impl FromStr for Moment {
    type Err = Invalid;

    /// Reads an instant, or a date.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let read = || {
            Some(Moment {
                first: Timestamp::parse_or_start_of_day(text).ok()?,
                last: Timestamp::parse_or_end_of_day(text).ok()?,
            })
        };
        read().ok_or_else(|| {
            let problem = "expected a date such as `2024-01-15`, or an instant in RFC 3339 with an offset such as \
                           `2024-01-15T10:30:00Z`";
            Invalid::new("instant", text, problem)
        })
    }
}

/// A digest, or how it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// The fewest hexadecimal digits.
    pub const DIGITS_MIN: usize = 8;
    const DIGITS_MAX: usize = 64;

    /// The whole digest, if it is one.
    pub(crate) fn whole(&self) -> Option<Digest> {
        format!("sha256:{}", self.0).parse().ok()
    }

    pub(crate) fn matches(&self, digest: &Digest) -> bool {
        let bytes = digest.as_bytes().iter();
        let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
        let wanted = self.0.chars().map(|digit| digit.to_digit(16));
        wanted.zip(digits).all(|(wanted, found)| wanted == Some(u32::from(found)))
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = Invalid;

    /// Reads `sha256:` and 8 to 64 hexadecimal digits; the `sha256:` may be left out.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        let is_legal = (DigestPrefix::DIGITS_MIN..=DigestPrefix::DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_legal {
            let problem = "expected 8 to 64 hexadecimal digits, with or without `sha256:` before them";
            return Err(Invalid::new("digest", text, problem));
        }
        Ok(DigestPrefix(digits))
    }
}

impl From<Digest> for DigestPrefix {
    fn from(digest: Digest) -> Self {
        DigestPrefix(digest.hex())
    }
}

/// A hyperparameter that can be compared. Lists, objects and `null` cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamValue {
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(Finite),
    /// A text.
    Text(String),
}

impl ParamValue {
    pub(crate) fn of(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Bool(flag) => Some(ParamValue::Flag(*flag)),
            serde_json::Value::Number(number) => Finite::new(number.as_f64()?).ok().map(ParamValue::Number),
            serde_json::Value::String(text) => Some(ParamValue::Text(text.clone())),
            _ => None,
        }
    }
}

impl Literal for ParamValue {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamValue::Flag(flag) => write!(f, "{flag}"),
            ParamValue::Number(number) => number.write(f),
            ParamValue::Text(text) => text.write(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_texts_in_any_case() {
        let fits = |pattern: &str, text: &str| pattern.parse::<Pattern>().unwrap().fits(text);
        for (pattern, text) in [
            ("", ""),
            ("%", ""),
            ("fraud", "Fraud"),
            ("%RAU%", "fraud"),
            ("f%d", "fd"),
            ("f__ud", "fraud"),
            ("%a%b%c", "aXbXbXc"),
            ("100\\%", "100%"),
            ("a\\_b", "a_b"),
            ("É", "é"),
            ("\\\\", "\\"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("raud", "fraud"),
            ("f_d", "fd"),
            ("%b%a", "ab"),
            ("a\\_b", "axb"),
            ("100\\%", "1000"),
            ("_", ""),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        for bad in ["\\", "a\\b", &"x".repeat(501)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_date_is_a_whole_day() {
        let day: Moment = "2024-01-15".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (noon, next) = (at("2024-01-15T12:00:00Z"), at("2024-01-16T00:00:00Z"));
        assert!(day.contains(noon) && !day.contains(next));
        assert!(day.lies(Relation::AtMost, noon) && day.lies(Relation::AtLeast, noon));
        assert!(!day.lies(Relation::Less, noon) && !day.lies(Relation::More, noon));
        assert!(day.lies(Relation::More, next) && !day.lies(Relation::AtMost, next));
        assert!("9999-12-31".parse::<Moment>().is_err());
    }

    #[test]
    fn digests_may_be_cut_but_not_short() {
        let digest = Digest::of(b"abc");
        let hex = digest.hex();
        for length in [8, 9, 63, 64] {
            assert!(hex[..length].parse::<DigestPrefix>().unwrap().matches(&digest), "{length}");
        }
        assert!(hex.to_uppercase().parse::<DigestPrefix>().unwrap().matches(&digest));
        assert!(!"ba7816be".parse::<DigestPrefix>().unwrap().matches(&digest));
        assert_eq!(hex.parse::<DigestPrefix>().unwrap().whole(), Some(digest));
        assert_eq!(hex[..63].parse::<DigestPrefix>().unwrap().whole(), None);
        for bad in ["", "ba7816b", "sha256:", "ba7816bg", &format!("{hex}0"), "sha256:sha256:ba7816bf"] {
            assert!(bad.parse::<DigestPrefix>().is_err(), "{bad}");
        }
    }
}
