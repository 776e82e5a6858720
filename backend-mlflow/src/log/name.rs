//! Why this exists: names of models may hold any letters and signs. Names of experiments should be legible,
//! and some databases below MLflow compare them without regard to case, accents or spaces at the end. So a
//! name becomes characters that every database tells apart.
//!
//! ```text
//! byte                 becomes
//! a-z 0-9 - _          itself
//! .                    itself, but not in the first place
//! any other            ~ and 2 hex
//!
//! model-registry                       the experiment that holds all runs of all logs
//! model-registry/registry              that of the registry's own log
//! model-registry/model/<name>          that of a model's
//! model-registry/health/<name>         that of a model's monitoring
//! ```
//!
//! What would be longer than [`WHOLE_MAX`] is cut, and ends in `~h` and the SHA-256 of the name. The stream
//! itself always stands in a tag.

use registry_core::{Digest, Stream, StreamKind, Term};

/// The longest name that is written out, and what is kept of longer ones.
const WHOLE_MAX: usize = 160;
const KEPT: usize = 90;

/// The longest name of a registry.
const REGISTRY_CHARS_MAX: usize = 32;

/// What stands for a name.
fn encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut cut = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
            b'.' if !text.is_empty() => text.push('.'),
            _ => {
                text.push('~');
                text.extend(
                    [byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or('0')),
                );
            }
        }
        if text.len() <= KEPT {
            cut = text.len();
        }
    }
    if WHOLE_MAX < text.len() {
        text.truncate(cut);
        text.push_str("~h");
        text.push_str(&Digest::of(name.as_bytes()).hex());
    }
    text
}

/// The names of a registry's experiments, and the tags that its runs carry.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    registry: String,
}

impl Names {
    /// The error says what is wrong with the registry's name.
    pub(crate) fn new(registry: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if registry.is_empty() || REGISTRY_CHARS_MAX < registry.len() || !registry.chars().all(legal) {
            return Err(format!(
                "a registry's name has 1 to {REGISTRY_CHARS_MAX} characters of `a-z 0-9 - _`, unlike {registry:?}"
            ));
        }
        Ok(Names { registry: registry.to_owned() })
    }

    /// The experiment that holds the runs.
    pub(crate) fn runs(&self) -> &str {
        &self.registry
    }

    /// The experiment of a stream.
    pub(crate) fn stream(&self, stream: &Stream) -> String {
        let kind = stream.kind().as_str();
        match stream.name() {
            Some(name) => format!("{}/{kind}/{}", self.registry, encode(name)),
            None => format!("{}/{kind}", self.registry),
        }
    }

    /// What the experiments of all streams of a kind begin with.
    pub(crate) fn kind(&self, kind: StreamKind) -> String {
        match kind {
            StreamKind::Registry => format!("{}/{}", self.registry, kind.as_str()),
            kind => format!("{}/{}/", self.registry, kind.as_str()),
        }
    }
}

/// The tag that makes a stream findable by a term.
pub(crate) fn term_tag(term: &Term) -> String {
    format!("{TERM}{}", Digest::of(term.as_str().as_bytes()).hex())
}

const TERM: &str = "model-registry.term.";
/// On experiments: the layout.
pub(crate) const FORMAT: &str = "model-registry.format";
/// On the experiment of a stream: its head run.
pub(crate) const HEAD: &str = "model-registry.head";
/// On experiments and runs: the stream, as text.
pub(crate) const STREAM: &str = "model-registry.stream";
/// On runs: the name of the stream's experiment, which can be searched for, as the stream cannot.
pub(crate) const KEY: &str = "model-registry.key";
/// On runs: the kind of the stream.
pub(crate) const KIND: &str = "model-registry.kind";
/// On runs: what the run is for.
pub(crate) const ROLE: &str = "model-registry.role";
/// On head runs that were chosen, and on runs of terms that belong to such.
pub(crate) const ELECTED: &str = "model-registry.elected";
/// MLflow's own: shown on the page of an experiment or a run.
pub(crate) const NOTE: &str = "mlflow.note.content";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            "[~.h0-9a-fA-F]{0,8}",
            "\\PC{0,20}",
            any::<String>(),
            "[a-z_.]{150,260}",
            "[ä💥A-]{40,256}",
        ]
    }

    proptest! {
        #[test]
        fn names_of_experiments_are_injective_in_any_collation_and_not_too_long(
            one in names(), two in names()
        ) {
            let (first, second) = (encode(&one), encode(&two));
            prop_assert_eq!(one == two, first == second);
            for text in [&first, &second] {
                prop_assert!(text.len() <= WHOLE_MAX);
                prop_assert!(text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~')), "{}", text);
                prop_assert!(!text.starts_with('.'));
            }
        }
    }

    #[test]
    fn experiments_are_named_like_this() {
        let names = Names::new("model-registry").unwrap();
        let model = |name: &str| names.stream(&Stream::Model(name.parse().unwrap()));
        assert_eq!(names.stream(&Stream::Registry), "model-registry/registry");
        assert_eq!(model("fraud-detection_v2.eu"), "model-registry/model/fraud-detection_v2.eu");
        assert_eq!(model("Iris (x)"), "model-registry/model/~49ris~20~28x~29");
        assert_eq!(model("..."), "model-registry/model/~2e..");
        let long = model(&"💥".repeat(256));
        assert!(long.starts_with("model-registry/model/~f0~9f") && long.len() < 200, "{long}");
        for wrong in ["", "A", "a/b", "ä", "a b", &"x".repeat(33)] {
            assert!(Names::new(wrong).unwrap_err().contains("a-z 0-9"), "{wrong}");
        }
    }
}
