//! Why this exists: "it worked on my machine" is answered by what the machine was. What a run was carried out with is
//! captured by whoever can look at the machine; here are its types, and how what the tools there say is read, so that no
//! text from outside gets into the record unread.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::content::EnvironmentFile;
use crate::invalid::{Invalid, nearest};
use crate::name::Text;

/// How many files an environment may have.
const FILES_MAX: usize = 16;
/// How long they may be together, in bytes.
const FILES_BYTES_MAX: usize = 512 * 1024;
/// How many things may be said to be absent.
const ABSENT_MAX: usize = 64;
/// How many crates a `Cargo.lock` may name.
const CRATES_MAX: usize = 10_000;

/// What a run was carried out with, as far as it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunEnvironment {
    /// The code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitState>,
    /// The version of the Rust compiler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rust: Option<Text>,
    /// The version of Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<Text>,
    /// Facts about the machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host: BTreeMap<HostFact, Text>,
    /// Texts that say which packages there were, such as `requirements.txt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<EnvironmentFile>,
    /// What was asked for and could not be captured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<Absent>,
}

impl RunEnvironment {
    /// Whether nothing was captured, and nothing asked for.
    pub fn is_empty(&self) -> bool {
        *self == RunEnvironment::default()
    }

    /// The runtime in a word: that of Python, if there is one, else that of Rust.
    pub fn runtime(&self) -> Option<Text> {
        let python = self.python.as_ref().map(|version| format!("python {version}"));
        python.or_else(|| self.rust.as_ref().map(|version| format!("rust {version}")))?.parse().ok()
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let refused = |problem: String| Err(Invalid::new("environment", "of the run", problem));
        if FILES_MAX < self.files.len() {
            return refused(format!("has {} files; at most {FILES_MAX}", self.files.len()));
        }
        let bytes = self.files.iter().fold(0_usize, |sum, file| sum.saturating_add(file.text().len()));
        if FILES_BYTES_MAX < bytes {
            return refused(format!("has files of {bytes} bytes; at most {FILES_BYTES_MAX}"));
        }
        if ABSENT_MAX < self.absent.len() {
            return refused(format!("lacks {} things; at most {ABSENT_MAX}", self.absent.len()));
        }
        let names: std::collections::BTreeSet<_> = self.files.iter().map(EnvironmentFile::name).collect();
        if names.len() < self.files.len() {
            return refused("has two files of one name".to_owned());
        }
        Ok(())
    }
}

/// Which code it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// The commit.
    pub commit: Text,
    /// Whether files differed from it; none if nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_dirty: Option<bool>,
}

/// Something that was asked for and could not be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// What.
    pub what: Text,
    /// Why not.
    pub why: Text,
}

/// A fact about a machine. Each is captured only where the caller allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HostFact {
    /// The operating system, such as `linux`.
    System,
    /// The processor's architecture, such as `x86_64`.
    Architecture,
    /// How many processors there are to this process.
    Processors,
    /// The machine's name, which says more about people than about the run.
    HostName,
}

impl HostFact {
    /// All facts.
    pub const ALL: [HostFact; 4] =
        [HostFact::System, HostFact::Architecture, HostFact::Processors, HostFact::HostName];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            HostFact::System => "system",
            HostFact::Architecture => "architecture",
            HostFact::Processors => "processors",
            HostFact::HostName => "host_name",
        }
    }
}

impl fmt::Display for HostFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HostFact {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wanted = text.replace('-', "_");
        HostFact::ALL.into_iter().find(|fact| fact.as_str() == wanted).ok_or_else(|| {
            let known = HostFact::ALL.map(HostFact::as_str);
            let meant = nearest(&wanted, known).map(|word| format!("; did you mean `{word}`?"));
            let problem = format!("expected one of {}{}", known.join(", "), meant.unwrap_or_default());
            Invalid::new("fact about the machine", text, problem)
        })
    }
}

/// The commit in what `git rev-parse HEAD` says.
pub fn git_commit(said: &str) -> Result<Text, Invalid> {
    let commit = said.trim();
    let is_digest = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        commit.parse()
    } else {
        Err(Invalid::new("commit", commit, "expected 40 or 64 hexadecimal digits"))
    }
}

/// The version in what a tool says when it is asked for it, such as `rustc 1.95.0 (…)` or `Python 3.11.2`.
pub fn tool_version(tool: &str, said: &str) -> Result<Text, Invalid> {
    let mut words = said.split_whitespace();
    let wrong = || Invalid::new("version", said, format!("expected `{tool}` and its version"));
    match (words.next(), words.next()) {
        (Some(name), Some(version))
            if name.eq_ignore_ascii_case(tool) && version.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            version.parse()
        }
        _ => Err(wrong()),
    }
}

/// The crates in a `Cargo.lock` as the file `crates.txt`: a line `name version` each, in the order of the lock.
pub fn crates(lock: &str) -> Result<EnvironmentFile, Invalid> {
    let value = |line: &str, key: &str| {
        let quoted = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
        Some(quoted.strip_prefix('"')?.strip_suffix('"')?.to_owned())
    };
    let wrong = |problem: &str| Invalid::new("file", "Cargo.lock", problem);
    let (mut text, mut count, mut name) = (String::new(), 0_usize, None);
    let mut in_package = false;
    for line in lock.lines().map(str::trim) {
        if line.starts_with('[') {
            in_package = line == "[[package]]";
            name = None;
        } else if !in_package {
        } else if let Some(found) = value(line, "name") {
            name = Some(found);
        } else if let Some(version) = value(line, "version") {
            let name = name.take().ok_or_else(|| wrong("a version stands before its name"))?;
            text.push_str(&format!("{name} {version}\n"));
            count += 1;
            if CRATES_MAX < count {
                return Err(wrong("names more crates than any program has"));
            }
        }
    }
    if count == 0 {
        return Err(wrong("names no crate"));
    }
    EnvironmentFile::new("crates.txt".parse()?, text)
}

/// A `requirements.txt` without the parts of its addresses that may hold a secret: what stands before an `@` and behind
/// a `?`, and the path where packages are looked for (`--index-url`, `--extra-index-url`, `--find-links`).
pub fn requirements(text: &str) -> Result<EnvironmentFile, Invalid> {
    let mut kept = String::with_capacity(text.len());
    let (mut is_place, mut goes_on) = (false, false);
    for line in text.lines() {
        is_place = (goes_on && is_place) || line.split_whitespace().any(names_a_place);
        goes_on = line.ends_with('\\');
        for word in line.split_inclusive(char::is_whitespace) {
            let bare = word.trim_end();
            kept.push_str(&masked(bare, is_place));
            kept.push_str(word.strip_prefix(bare).unwrap_or_default());
        }
        kept.push('\n');
    }
    EnvironmentFile::new("requirements.txt".parse()?, kept)
}

/// Whether a word is an option that says where packages are looked for. pip takes short forms of the names too.
fn names_a_place(word: &str) -> bool {
    ["-i", "-f", "--i", "--ex", "--f", "--py"].iter().any(|option| word.starts_with(option))
}

fn masked(word: &str, hides_path: bool) -> String {
    let mut kept = String::with_capacity(word.len());
    let mut rest = word;
    // There may be another address in the path of one.
    while let Some((before, after)) = rest.split_once("://") {
        let (authority, path) =
            after.split_at_checked(after.find('/').unwrap_or(after.len())).unwrap_or((after, ""));
        kept.push_str(before);
        kept.push_str("://");
        match authority.rsplit_once('@') {
            Some((_, host)) => kept.push_str(&format!("***@{host}")),
            None => kept.push_str(authority),
        }
        rest = if hides_path && 1 < path.len() { "/***" } else { path };
    }
    kept.push_str(rest);
    match kept.split_once('?') {
        Some((before, query)) if before.contains("://") => {
            let fragment = query.split_once('#').map(|(_, fragment)| format!("#{fragment}"));
            format!("{before}?***{}", fragment.unwrap_or_default())
        }
        _ => kept,
    }
}
