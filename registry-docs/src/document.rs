//! Why this exists: a document has two authors. The registry writes what it knows, people write the rest, and neither may
//! overwrite the other. So what is generated stands between fences, and nothing else in a file is touched:
//!
//! ```text
//! What people write.
//!
//! <!-- registry:begin versions -->
//!
//! | Version | Stage | …
//!
//! <!-- registry:end versions -->
//! ```
//!
//! A mark is a line of its own that begins in the first column; in the front matter of a model card, which is YAML, it is
//! the comment `# registry:begin front-matter`. Lines of generated text end as the line of the mark does, so that a file
//! with CRLF stays one. **Whoever removes both marks of a part removes the part**: it is written into a new file and never
//! again added to a file that is there, since its place is known to nobody.
//!
//! Marks that do not fit together are refused with the line: guessing would overwrite what somebody wrote.

use std::fmt;

/// How a mark is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As a comment of HTML, for Markdown.
    Html,
    /// As a comment of YAML, for front matter.
    Yaml,
}

impl Mark {
    const HTML: &'static str = "<!-- registry:";
    const YAML: &'static str = "# registry:";

    fn line(self, which: &str, name: &str) -> String {
        match self {
            Mark::Html => format!("{}{which} {name} -->", Mark::HTML),
            Mark::Yaml => format!("{}{which} {name}", Mark::YAML),
        }
    }
}

/// What a line of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Begin(Mark, &'a str),
    End(Mark, &'a str),
    Unreadable,
    Other,
}

fn line_of(line: &str) -> Line<'_> {
    let line = line.trim_start_matches('\u{FEFF}').trim_end();
    let (mark, inner) = if let Some(rest) = line.strip_prefix(Mark::HTML) {
        match rest.strip_suffix("-->") {
            Some(inner) => (Mark::Html, inner.trim_end()),
            None => return Line::Unreadable,
        }
    } else if let Some(inner) = line.strip_prefix(Mark::YAML) {
        (Mark::Yaml, inner)
    } else {
        return Line::Other;
    };
    match inner.split_once(' ') {
        Some(("begin", name)) if !name.is_empty() => Line::Begin(mark, name),
        Some(("end", name)) if !name.is_empty() => Line::End(mark, name),
        _ => Line::Unreadable,
    }
}

/// A text with generated parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part(Part),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    mark: Mark,
    name: &'static str,
    body: String,
}

impl Part {
    /// What stands between the marks.
    fn between(&self, ending: &str) -> String {
        if self.body.is_empty() {
            return String::new();
        }
        let around = if self.mark == Mark::Html { "\n" } else { "" };
        let text = format!("{around}{}\n{around}", self.body.trim_end());
        if ending == "\n" { text } else { text.replace('\n', ending) }
    }
}

/// A document brought into a file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The whole file.
    pub text: String,
    /// The parts whose marks the file does not have, and which were left out for it.
    pub left_out: Vec<&'static str>,
}

/// Marks that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BrokenFence {
    /// The line, counted from one.
    pub line: usize,
    /// What is wrong with it.
    pub problem: FenceProblem,
}

/// What can be wrong with a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FenceProblem {
    /// A part begins and does not end.
    NotClosed(String),
    /// A part ends that did not begin.
    NotOpened(String),
    /// A part begins before this one has ended.
    Nested {
        /// The part that has not ended.
        open: String,
        /// The part that begins.
        name: String,
    },
    /// A part is there twice.
    Twice(String),
    /// There is no such part.
    Unknown {
        /// The name.
        name: String,
        /// The parts there are.
        known: Vec<&'static str>,
    },
    /// It begins like a mark and is none.
    Unreadable,
}

impl fmt::Display for FenceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FenceProblem::NotClosed(name) => write!(
                f,
                "the generated part `{name}` begins here and does not end; put its end mark back, or remove this line"
            ),
            FenceProblem::NotOpened(name) => write!(
                f,
                "the generated part `{name}` ends here and does not begin; put its begin mark back, or remove this line"
            ),
            FenceProblem::Nested { open, name } => write!(
                f,
                "the generated part `{name}` begins before `{open}` has ended; put the end mark of `{open}` back"
            ),
            FenceProblem::Twice(name) => {
                write!(f, "the generated part `{name}` is there twice; remove one with both of its marks")
            }
            FenceProblem::Unknown { name, known } => {
                write!(f, "there is no generated part `{name}` here; there are {}", known.join(", "))
            }
            FenceProblem::Unreadable => {
                f.write_str("begins like a mark of a generated part; expected `registry:begin NAME` or `registry:end NAME`")
            }
        }
    }
}

impl Document {
    /// A document without anything in it.
    pub fn new() -> Self {
        Document::default()
    }

    /// The same with a text that is written into a new file, and belongs to its readers from then on.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.pieces.push(Piece::Text(text.into()));
        self
    }

    /// The same with a generated part. An empty one is marked too, so that it has its place when there is something to
    /// say.
    #[must_use]
    pub fn part(mut self, mark: Mark, name: &'static str, body: impl Into<String>) -> Self {
        self.pieces.push(Piece::Part(Part { mark, name, body: body.into() }));
        self
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Part(part) => Some(part),
            Piece::Text(_) => None,
        })
    }

    /// The document as a new file.
    pub fn to_new_file(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Part(part) => {
                    text.push_str(&part.mark.line("begin", part.name));
                    text.push('\n');
                    text.push_str(&part.between("\n"));
                    text.push_str(&part.mark.line("end", part.name));
                    text.push('\n');
                }
            }
        }
        text
    }

    /// The file with its generated parts as they are now, and everything else as it is there.
    pub fn merged_into(&self, file: &str) -> Result<Merged, BrokenFence> {
        let has_yaml = self.parts().any(|part| part.mark == Mark::Yaml);
        let broken = |line, problem| Err(BrokenFence { line, problem });
        let mut text = String::with_capacity(file.len());
        let mut seen: Vec<&'static str> = Vec::new();
        let mut open: Option<(usize, &Part, &str)> = None;
        for (number, line) in (1..).zip(file.split_inclusive('\n')) {
            let what = match line_of(line) {
                Line::Begin(Mark::Yaml, _) | Line::End(Mark::Yaml, _) if !has_yaml => Line::Other,
                Line::Unreadable if line.starts_with(Mark::YAML) => Line::Other,
                what => what,
            };
            match (what, open) {
                (Line::Other, None) => text.push_str(line),
                // What was generated before makes way.
                (Line::Other, Some(_)) => {}
                (Line::Unreadable, _) => return broken(number, FenceProblem::Unreadable),
                (Line::Begin(_, name), Some((_, part, _))) => {
                    let open = part.name.to_owned();
                    return broken(number, FenceProblem::Nested { open, name: name.to_owned() });
                }
                (Line::Begin(mark, name), None) => {
                    let Some(part) = self.parts().find(|part| part.mark == mark && part.name == name) else {
                        let known = self.parts().map(|part| part.name).collect();
                        return broken(number, FenceProblem::Unknown { name: name.to_owned(), known });
                    };
                    if seen.contains(&part.name) {
                        return broken(number, FenceProblem::Twice(name.to_owned()));
                    }
                    seen.push(part.name);
                    let ending = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
                    text.push_str(line);
                    open = Some((number, part, ending));
                }
                (Line::End(mark, name), Some((_, part, ending)))
                    if part.mark == mark && part.name == name =>
                {
                    text.push_str(&part.between(ending));
                    text.push_str(line);
                    open = None;
                }
                (Line::End(_, name), _) => {
                    return broken(number, FenceProblem::NotOpened(name.to_owned()));
                }
            }
        }
        if let Some((number, part, _)) = open {
            return broken(number, FenceProblem::NotClosed(part.name.to_owned()));
        }
        let left_out = self.parts().map(|part| part.name).filter(|name| !seen.contains(name)).collect();
        Ok(Merged { text, left_out })
    }
}
