//! Why this exists: storage is chosen when a registry is opened, often from a setting that holds a URL.
//! Each backend offers a [`Connector`]; the program puts those it wants into [`Connectors`], explicitly.
//! There is no global registration: what a program can open is what its source says.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::registry::Registry;

/// Where a registry is, taken apart: `scheme:rest?option=value&option=value`.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// What is before the first `:`.
    pub scheme: String,
    /// What follows, without the options.
    pub rest: String,
    /// The options, with `%xx` escapes resolved in their values.
    pub options: BTreeMap<String, String>,
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Without secrets: what stands before an `@`, and the values of options, are left out.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rest = match self.rest.split_once('@') {
            Some((before, after)) if before.starts_with("//") => format!("//…@{after}"),
            _ => self.rest.clone(),
        };
        write!(f, "{}:{rest}", self.scheme)?;
        for (index, name) in self.options.keys().enumerate() {
            write!(f, "{}{name}=…", if index == 0 { "?" } else { "&" })?;
        }
        Ok(())
    }
}

impl Location {
    /// Takes a URL apart. `None` if there is no scheme; a single letter is taken for a drive, not for a
    /// scheme.
    pub fn parse(text: &str) -> Option<Location> {
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.chars();
        let legal = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !legal || scheme.len() < 2 {
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let options = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), unescaped(value))
            })
            .collect();
        Some(Location { scheme: scheme.to_ascii_lowercase(), rest: rest.to_owned(), options })
    }

    /// An error about this place.
    pub fn error(&self, problem: impl Into<String>) -> Error {
        Error::Open { location: self.to_string(), problem: problem.into() }
    }

    /// Takes an option that is either there with a value that `parse` accepts, or not there.
    pub fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.options.remove(name) else { return Ok(None) };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(self.error(format!("the option `{name}` must be {expected}"))),
        }
    }

    /// Refuses options that nobody took, with a list of those that are known.
    pub fn finish(&self, known: &[&str]) -> Result<(), Error> {
        match self.options.keys().next() {
            None => Ok(()),
            Some(unknown) => {
                Err(self.error(format!("unknown option `{unknown}`; known are {}", known.join(", "))))
            }
        }
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if digit(high).is_some() && digit(low).is_some() => {
                bytes.push(digit(high).unwrap_or(0) << 4 | digit(low).unwrap_or(0));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Opens registries of one backend.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The schemes it serves, such as `sqlite`.
    fn schemes(&self) -> &'static [&'static str];

    /// Opens the registry at a place. Options that it does not know are errors.
    async fn open(&self, location: Location) -> Result<Arc<dyn Registry>, Error>;
}

/// The backends that a program can open.
#[derive(Default)]
pub struct Connectors {
    connectors: Vec<Box<dyn Connector>>,
}

impl Connectors {
    /// None yet.
    pub fn new() -> Self {
        Connectors::default()
    }

    /// The same, and this one. The first that serves a scheme is taken.
    #[must_use]
    pub fn with(mut self, connector: impl Connector + 'static) -> Self {
        self.connectors.push(Box::new(connector));
        self
    }

    /// All schemes that can be opened.
    pub fn schemes(&self) -> Vec<&'static str> {
        self.connectors.iter().flat_map(|connector| connector.schemes()).copied().collect()
    }

    /// Opens the registry at a URL. Text without a scheme is a path for the first connector.
    pub async fn open(&self, url: &str) -> Result<Arc<dyn Registry>, Error> {
        let location = match Location::parse(url) {
            Some(location) => location,
            None => Location {
                scheme: self.schemes().first().copied().unwrap_or_default().to_owned(),
                rest: url.to_owned(),
                options: BTreeMap::new(),
            },
        };
        self.open_location(location).await
    }

    /// Opens the registry at a place that was taken apart already.
    pub async fn open_location(&self, location: Location) -> Result<Arc<dyn Registry>, Error> {
        let scheme = location.scheme.as_str();
        match self.connectors.iter().find(|connector| connector.schemes().contains(&scheme)) {
            Some(connector) => connector.open(location).await,
            None => {
                let known = self.schemes().join(", ");
                Err(location.error(format!("unknown scheme `{}`; known are {known}", location.scheme)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_shown_without_secrets() {
        let location = Location::parse("mlflow+http://me:secret@host:5000/x?token=a%2Fb&flag").unwrap();
        assert_eq!(location.scheme, "mlflow+http");
        assert_eq!(location.options.get("token").unwrap(), "a/b");
        assert_eq!(location.to_string(), "mlflow+http://…@host:5000/x?flag=…&token=…");
        assert_eq!(format!("{location:?}"), location.to_string());
        assert_eq!(Location::parse("C:\\models"), None);
        assert_eq!(Location::parse("./models"), None);
    }

    #[tokio::test]
    async fn unknown_schemes_list_the_known_ones() {
        let error = Connectors::new().open("gopher://x").await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "cannot open a registry from gopher://x: unknown scheme `gopher`; known are "
        );
    }
}
