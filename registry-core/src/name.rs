//! Why this exists: names come from users, files and other systems, and end up in keys, paths and
//! tables. Each kind of name has one type whose values are legal everywhere we store them, so that
//! no layer below ever has to ask again. The rules are the widest that every backend can keep.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::stage::Stage;
use crate::stream::Revision;
use crate::version::Version;

/// Defines a parsed text type: cheap to clone, ordered by bytes, written in JSON as its text.
macro_rules! text_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match $check(text) {
                    Ok(()) => Ok($type(text.into())),
                    Err(problem) => Err(Invalid::new($what, text, problem)),
                }
            }
        }

        impl TryFrom<&str> for $type {
            type Error = Invalid;

            fn try_from(text: &str) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::serde_text::deserialize(deserializer)
            }
        }
    };
}

text_type!(
    /// The name of a model: 1 to 256 characters, any letters, digits, spaces and signs except
    /// `/`, `\`, `:`, control characters and such as are not seen; not `.` or `..`; no space at either
    /// end. Case matters.
    ModelName, "model name", check_model_name
);

text_type!(
    /// The name of an experiment, which is a series of training runs: as the name of a model.
    ExperimentName, "experiment name", check_model_name
);

text_type!(
    /// Who does something: a user, a service or a rule, as the host application knows it (for
    /// example an e-mail address). 1 to 256 characters, no control characters and none that are not seen.
    ///
    /// The registry records what it is told; an embedded library cannot authenticate. Separation
    /// of duties is as strong as the host's authentication and the storage's access control.
    Actor, "actor", check_line
);

text_type!(
    /// The identity of a request, chosen by the caller or drawn at random: 1 to 128 characters of
    /// `A-Z a-z 0-9 . _ : -`. Sending the same request again under the same id changes nothing and
    /// returns the first result.
    RequestId, "request id", check_request_id
);

text_type!(
    /// A movable name for a version, such as `champion`: 1 to 128 characters of
    /// `A-Z a-z 0-9 _ -`. Not a stage, not `latest`, `newest` or `previous`, and nothing that
    /// reads as a version (`v3`).
    AliasName, "alias", check_alias
);

text_type!(
    /// The name that people give to one of several registries, such as `dev` or `staging`: 1 to 64
    /// characters of `A-Z a-z 0-9 . _ -`. Case matters.
    EnvironmentName, "environment name", check_environment
);

text_type!(
    /// The key of a tag or the name of a metric: 1 to 250 characters of letters, digits, spaces
    /// and `_ - . : /`; a `/` may not start, end or repeat, and no part may be `.` or `..`.
    Key, "key", check_key
);

text_type!(
    /// The path of a file inside a version: relative, parts separated by `/`, at most 1,024 bytes
    /// in all and 255 bytes a part; no part is empty, `.` or `..`; no `\`, `:` or control
    /// characters. Such a path cannot leave the folder it is written to, on any system.
    ArtifactPath, "artifact path", check_artifact_path
);

fn has_control(text: &str) -> bool {
    // Bidirectional overrides are not controls to Unicode, but they make a name read as another.
    text.chars().any(|c| c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'))
}

fn check_line(text: &str) -> Result<(), String> {
    check_text(text, 256)?;
    if text.trim() != text {
        return Err("starts or ends with white space".into());
    }
    match text.chars().find(|c| is_invisible(*c)) {
        Some(found) => Err(format!("contains U+{:04X}, which is not seen; leave it out", u32::from(found))),
        None => Ok(()),
    }
}

/// Characters that are shown as nothing, by which two names that look the same could be two: Unicode's
/// `Default_Ignorable_Code_Point`, and its separators of lines and paragraphs.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}'
            | '\u{034F}'
            | '\u{061C}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFF8}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

fn check_text(text: &str, chars_max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.chars().count() > chars_max {
        return Err(format!("longer than {chars_max} characters"));
    }
    if has_control(text) {
        return Err("contains a control character".into());
    }
    Ok(())
}

fn check_model_name(text: &str) -> Result<(), String> {
    check_line(text)?;
    if text == "." || text == ".." {
        return Err("`.` and `..` are not names".into());
    }
    match text.chars().find(|c| matches!(c, '/' | '\\' | ':')) {
        Some(found) => Err(format!("contains `{found}`; `/`, `\\` and `:` are not allowed")),
        None => Ok(()),
    }
}

fn check_request_id(text: &str) -> Result<(), String> {
    check_text(text, 128)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-'))) {
        Some(found) => Err(format!("contains `{found}`; allowed are `A-Z a-z 0-9 . _ : -`")),
        None => Ok(()),
    }
}

fn check_alias(text: &str) -> Result<(), String> {
    check_text(text, 128)?;
    if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
        return Err(format!("contains `{found}`; allowed are `A-Z a-z 0-9 _ -`"));
    }
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "latest" | "newest" | "previous" | "none") || text.parse::<Stage>().is_ok() {
        return Err("is a reserved word; choose another".into());
    }
    if text.parse::<Version>().is_ok() {
        return Err("reads as a version; choose a name such as `champion`".into());
    }
    Ok(())
}

fn check_environment(text: &str) -> Result<(), String> {
    check_text(text, 64)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(found) => Err(format!("contains `{found}`; allowed are `A-Z a-z 0-9 . _ -`")),
        None => Ok(()),
    }
}

fn check_key(text: &str) -> Result<(), String> {
    check_text(text, 250)?;
    if text.trim() != text {
        return Err("starts or ends with white space".into());
    }
    if let Some(found) =
        text.chars().find(|c| !(c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | ':' | '/')))
    {
        return Err(format!("contains `{found}`; allowed are letters, digits, spaces and `_ - . : /`"));
    }
    if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("a `/` may not start, end or repeat, and no part may be `.` or `..`".into());
    }
    Ok(())
}

fn check_artifact_path(text: &str) -> Result<(), String> {
    const PATH_BYTES_MAX: usize = 1024;
    const PART_BYTES_MAX: usize = 255;
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(format!("longer than {PATH_BYTES_MAX} bytes"));
    }
    if has_control(text) {
        return Err("contains a control character".into());
    }
    if let Some(found) = text.chars().find(|c| matches!(c, '\\' | ':')) {
        return Err(format!("contains `{found}`, which some systems read as a separator"));
    }
    for part in text.split('/') {
        match part {
            "" => return Err("must be relative and have no empty part".into()),
            "." | ".." => return Err("must not contain `.` or `..` parts".into()),
            long if long.len() > PART_BYTES_MAX => {
                return Err(format!("has a part longer than {PART_BYTES_MAX} bytes"));
            }
            _ => {}
        }
    }
    Ok(())
}

impl ArtifactPath {
    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The part before the last `/`, if there is one.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }
}

/// Free text such as a reason or a description: at most 5,000 characters, no control characters
/// other than line feed and tab. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(Arc<str>);

impl Text {
    /// The most characters that a text may have; what every backend can store whole.
    pub const CHARS_MAX: usize = 5_000;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let problem = if text.trim().is_empty() {
            Some("is empty".to_owned())
        } else if text.chars().count() > Text::CHARS_MAX {
            Some(format!("longer than {} characters", Text::CHARS_MAX))
        } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            Some("contains a control character".to_owned())
        } else {
            None
        };
        match problem {
            Some(problem) => Err(Invalid::new("text", text, problem)),
            None => Ok(Text(text.into())),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// A version of a named model, written `fraud-detection@v3.1.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelVersion {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: Version,
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.model, self.version))
    }
}

impl FromStr for ModelVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (model, version) = text.rsplit_once('@').ok_or_else(|| {
            Invalid::new("model version", text, "expected `<model>@<version>`, for example `fraud@v3.1.0`")
        })?;
        Ok(ModelVersion { model: model.parse()?, version: version.parse()? })
    }
}

impl Serialize for ModelVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

/// A run of an experiment, known by the revision at which it was started and written `xgboost-v1:17`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    /// The experiment.
    pub experiment: ExperimentName,
    /// The revision of the commit that started it.
    pub run: Revision,
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.experiment, self.run))
    }
}

impl FromStr for RunName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (experiment, run) = text.rsplit_once(':').ok_or_else(|| {
            Invalid::new("run", text, "expected `<experiment>:<number>`, for example `xgboost-v1:17`")
        })?;
        Ok(RunName { experiment: experiment.parse()?, run: run.parse()? })
    }
}

impl Serialize for RunName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_experiment_and_a_number() {
        let run: RunName = "xgboost-v1:17".parse().unwrap();
        assert_eq!((run.experiment.as_str(), run.run.get()), ("xgboost-v1", 17));
        assert_eq!(run.to_string(), "xgboost-v1:17");
        for text in ["", "xgboost-v1", "xgboost-v1:", "xgboost-v1:0", "xgboost-v1:-1", ":1", "a:b:1", "a/b:1"]
        {
            assert!(text.parse::<RunName>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_are_legal() {
        for name in ["fraud-detection-model", "Iris (v2)", "模型", "a", "team.fraud@eu", "50% off"] {
            assert_eq!(name.parse::<ModelName>().unwrap().as_str(), name);
        }
        for path in ["model.pkl", "a/b/c.bin", ".hidden", "a..b", "…", "a b/c d"] {
            assert_eq!(path.parse::<ArtifactPath>().unwrap().as_str(), path);
        }
        for alias in ["champion", "v3a", "prod-eu", "x-3"] {
            assert!(alias.parse::<AliasName>().is_ok(), "{alias}");
        }
    }

    #[test]
    fn names_that_are_refused() {
        let long = "x".repeat(257);
        for name in
            ["", ".", "..", "a/b", "a\\b", "a:b", " a", "a ", "a\nb", "a\0", "\u{202E}drowssap", &long]
        {
            let error = name.parse::<ModelName>().unwrap_err();
            assert_eq!(error.what, "model name", "{name:?}");
        }
        for unseen in ['\u{200B}', '\u{00AD}', '\u{FEFF}', '\u{2060}', '\u{FE0F}', '\u{2028}', '\u{E0061}'] {
            let name = format!("fra{unseen}ud");
            assert!(name.parse::<ModelName>().unwrap_err().to_string().contains("U+"), "{name:?}");
            assert!(name.parse::<Actor>().is_err(), "{name:?}");
        }
        let long = "x".repeat(256);
        for path in ["", "/etc/passwd", "a//b", "a/", "../a", "a/../b", "./a", "C:\\a", "c:a", "a\0b", &long]
        {
            assert!(path.parse::<ArtifactPath>().is_err(), "{path:?}");
        }
        for alias in ["", "latest", "Latest", "production", "prod", "v3", "v3.1.0", "3", "a b", "a.b", "é"] {
            assert!(alias.parse::<AliasName>().is_err(), "{alias:?}");
        }
        for key in ["", "/a", "a/", "a//b", "a/../b", "a=b", "a,b", " a", "a'b"] {
            assert!(key.parse::<Key>().is_err(), "{key:?}");
        }
        for id in ["", "a b", "a/b", "é"] {
            assert!(id.parse::<RequestId>().is_err(), "{id:?}");
        }
    }

    #[test]
    fn the_error_names_kind_value_and_remedy() {
        let error = "a/b".parse::<ModelName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid model name \"a/b\": contains `/`; `/`, `\\` and `:` are not allowed"
        );
    }
}
