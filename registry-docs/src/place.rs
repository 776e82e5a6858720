//! Why this exists: models have names that people like, with spaces, `@` and letters of any script, and folders have rules
//! of their own. The name of a file follows from the model's name alone, not from what other models there are, so that
//! the page of a model never moves because another was registered.
//!
//! A name of lower-case ASCII letters, digits, `-`, `_`, `.`, `@` and `+` is the name of its file. Any other is made
//! harmless and gets a part of its own digest behind a `~`, which no name of the first sort has: so `Fraud`, `fraud` and
//! `fraud ` stay apart also where the case of letters does not count, and the two ways to write `é` do.

use registry_core::{ArtifactPath, Digest, Invalid, ModelName, Version};

/// The longest name that is taken as it is, and the longest part of another that is kept, in characters.
const STEM_CHARS_MAX: usize = 100;
/// How much of the digest tells names apart.
const DIGEST_CHARS: usize = 12;
/// Names that some systems keep for devices, with whatever ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// The name of a model's files, without an ending.
pub(crate) fn stem(model: &ModelName) -> String {
    let name = model.as_str();
    if is_plain(name) { name.to_owned() } else { digested(name, name) }
}

/// The name of a version's files and folder, without an ending.
pub(crate) fn version_stem(model: &ModelName, version: &Version) -> String {
    let number = version.to_string();
    let joined = format!("{model}-{number}");
    // A second `-v` could as well belong to the model's name.
    let is_telling = !number.contains("-v");
    if is_telling && is_plain(model.as_str()) && is_plain(&joined) {
        joined
    } else {
        digested(&joined, &format!("{model}@{number}"))
    }
}

/// The path of a file.
pub(crate) fn path(folder: &str, stem: &str, ending: &str) -> Result<ArtifactPath, Invalid> {
    format!("{folder}/{stem}{ending}").parse()
}

/// A relative link to a file.
pub(crate) fn link(path: &str) -> String {
    let mut link = String::with_capacity(path.len());
    for byte in path.bytes() {
        let is_safe = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@' | b'+');
        if is_safe {
            link.push(char::from(byte));
        } else {
            link.push_str(&format!("%{byte:02X}"));
        }
    }
    link
}

fn is_plain(name: &str) -> bool {
    let is_harmless = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.' | '@' | '+');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let ends_well = !name.ends_with('.');
    let first = name.split('.').next().unwrap_or(name).trim_end_matches(|c: char| c.is_ascii_digit());
    name.len() <= STEM_CHARS_MAX
        && name.chars().all(is_harmless)
        && begins_well
        && ends_well
        && !DEVICES.contains(&first)
}

/// A readable part, and what makes it the only one.
fn digested(name: &str, identity: &str) -> String {
    let lower = name.to_lowercase();
    let mut readable = String::new();
    for c in lower.chars().take(STEM_CHARS_MAX / 2) {
        let c = if c.is_ascii_alphanumeric() || c == '.' || (!c.is_ascii() && c.is_alphanumeric()) {
            c
        } else {
            '-'
        };
        if !(c == '-' && readable.ends_with('-')) {
            readable.push(c);
        }
    }
    let readable = readable.trim_matches(|c| matches!(c, '-' | '.'));
    let digest = Digest::of(identity.as_bytes()).to_string();
    let digits: String = digest.chars().skip_while(|c| *c != ':').skip(1).take(DIGEST_CHARS).collect();
    format!("{readable}~{digits}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn name(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    #[test]
    fn common_names_are_their_files() {
        for plain in ["fraud-detection-model", "team.fraud@eu", "iris_2", "a+b", "v3"] {
            assert_eq!(stem(&name(plain)), plain);
        }
        let version = "v3.1.0".parse().unwrap();
        assert_eq!(version_stem(&name("fraud-detection"), &version), "fraud-detection-v3.1.0");
    }

    #[test]
    fn other_names_are_made_harmless_and_stay_apart() {
        let names = [
            "Fraud",
            "fraud",
            "FRAUD",
            "fraud ?",
            "fraud *",
            "Iris (v2)",
            "iris-v2",
            "模型",
            "con",
            "con.x",
            "com1",
            "...a",
            "a...",
            "é",
            "e\u{301}",
            ".hidden",
            "-flag",
            "~",
            "a|b",
            "a<b>",
            "\"",
            "%2e%2e",
        ];
        let stems: BTreeSet<String> = names.iter().map(|text| stem(&name(text)).to_lowercase()).collect();
        assert_eq!(stems.len(), names.len(), "{stems:?}");
        for stem in &stems {
            assert!(!stem.contains(['/', '\\', ':', '<', '>', '"', '|', '?', '*', ' ']), "{stem}");
            assert!(!stem.starts_with('.') && !stem.ends_with('.'), "{stem}");
            assert!(path("pages", stem, ".md").is_ok(), "{stem}");
        }
        let long = "模".repeat(256);
        assert!(path("pages", &stem(&name(&long)), ".md").is_ok());
    }

    #[test]
    fn a_name_that_ends_like_a_version_is_no_version() {
        let one = version_stem(&name("a"), &"1.0.0-v2.0.0".parse().unwrap());
        let other = version_stem(&name("a-v1.0.0"), &"2.0.0".parse().unwrap());
        assert_ne!(one, other);
        let upper = version_stem(&name("a"), &"1.0.0-RC".parse().unwrap());
        assert_ne!(upper.to_lowercase(), version_stem(&name("a"), &"1.0.0-rc".parse().unwrap()));
    }

    #[test]
    fn links_hold_nothing_that_markdown_reads() {
        assert_eq!(link("pages/a (b)~1.md"), "pages/a%20%28b%29%7E1.md");
    }
}
