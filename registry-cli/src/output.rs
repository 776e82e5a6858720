//! Why this exists: all that this program writes to its standard output goes through [`Out`], so that
//! a closed pipe is an ordinary end and not a panic, colours are decided on once, and text from
//! outside cannot steer the terminal.

use std::io::{BufWriter, Stdout, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::failure::Failure;

/// The standard output.
pub(crate) struct Out {
    /// Whether a program reads it.
    pub(crate) json: bool,
    paint: Paint,
    stdout: BufWriter<Stdout>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = std::io::stdout();
        let colored = !json && anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
        Out { json, paint: Paint { colored }, stdout: BufWriter::new(stdout) }
    }

    /// How to style text for this output.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Writes a line, or several.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.stdout, "{}", text.as_ref()).map_err(Failure::Output)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::Output)
    }

    /// Writes a whole document for a program.
    pub(crate) fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
        self.line(text)
    }

    /// Writes one line of many for a program.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::Output(error.into()))?;
        self.line(text)
    }

    /// Hands everything over to whoever reads.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::Output)
    }
}

/// Styles text, or leaves it as it is where colours are not wanted (`NO_COLOR`, no terminal).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Paint {
    colored: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.colored { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }
}

/// Text from outside with nothing in it that a terminal would act on but line feeds.
pub(crate) fn harmless(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// Text from outside on one line, with nothing in it that a terminal would act on.
pub(crate) fn one_line(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

/// A word as it is typed in a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| {
        c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+' | '=' | '%' | ',' | '/' | ':')
    };
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_if_they_must_be() {
        assert_eq!(quoted("fraud-detection"), "fraud-detection");
        assert_eq!(quoted("Iris (v2)"), "'Iris (v2)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31m\nb\u{202e}c"), "a [31m b c");
    }
}
