//! Why this exists: names of models may hold any letters and signs; keys of objects may not, or not
//! everywhere, or not without being changed on the way. So every name becomes one segment of a key made of
//! characters that S3, Google, Azure and file systems keep as they are.
//!
//! The encoding works on the bytes of the name. It is **injective** (no two names share a key), **keeps
//! the order** (so that a bucket's own sorted listing is the listing that is wanted), and never yields
//! `.`, `..`, `/` or an empty segment:
//!
//! ```text
//! byte            becomes          because
//! 0-9 A-Z a-y -   itself
//! below `-`       ! and 2 hex      `!` is the smallest character used
//! . and /         . and 2 hex
//! : to @          = and 2 hex
//! [ to `          _ and 2 hex      so `_` itself is `_5f`
//! z and above     z and 2 hex      `z` is the largest character used
//! the end         !                smaller than any byte that could follow
//! ```
//!
//! A segment must not be longer than 255 bytes on many file systems. What would be is cut after at most
//! [`KEPT`] bytes and ends in `!h` and the SHA-256 of the name; the name itself is then found in the body of
//! the object. The listing sorts what shares its first bytes anew (`log.rs`).
//!
//! ```text
//! <prefix>/registry.json                                  says that here is a registry, and its format
//! <prefix>/streams/<kind>/<name>/log/<20 digits>.json     one commit; created if absent, never changed
//! <prefix>/streams/<kind>/<name>/checkpoints/brief        caches; overwritten
//! <prefix>/streams/<kind>/<name>/checkpoints/whole
//! <prefix>/names/<kind>/<name>                            marks a stream, for listing
//! <prefix>/terms/<term>/<kind>/<name>                     marks a stream that may have a term
//! <prefix>/blobs/sha256/<2 hex>/<62 hex>                  bytes, named by their SHA-256
//! <prefix>/blobs/touched/<64 hex>                         its date says when known bytes were put again
//! <prefix>/blobs/removing/<64 hex>                        a collector is at it
//! <prefix>/blobs/uploads/<64 hex>                         which parts of an unfinished upload are there
//! <prefix>/probe/<32 hex>                                 exists while a new registry tests the store
//! ```

use object_store::path::{self, Path};
use registry_core::storage::CheckpointKind;
use registry_core::{Digest, Revision, Stream, StreamKind, Term};

/// The longest segment that is written out.
const WHOLE_MAX: usize = 240;
/// How much of a longer one is kept, at most.
const KEPT: usize = 150;
/// How many bytes of the segment of any name are surely those of its full encoding: what is cut loses at
/// most two bytes of a unit.
pub(crate) const SURE: usize = KEPT - 2;

/// Appends what stands for a byte.
fn unit(byte: u8, into: &mut String) {
    let mark = match byte {
        b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'y' => {
            into.push(char::from(byte));
            return;
        }
        0..=0x2c => '!',
        b'.' | b'/' => '.',
        0x3a..=0x40 => '=',
        0x5b..=0x60 => '_',
        _ => 'z',
    };
    into.push(mark);
    into.extend([byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or('0')));
}

/// The segment for a name.
pub(crate) fn encode(name: &str) -> String {
    let mut segment = String::with_capacity(name.len() + 1);
    let mut cut = 0;
    for byte in name.bytes() {
        unit(byte, &mut segment);
        if segment.len() <= KEPT {
            cut = segment.len();
        }
    }
    segment.push('!');
    if WHOLE_MAX < segment.len() {
        segment.truncate(cut);
        segment.push_str("!h");
        segment.push_str(&Digest::of(name.as_bytes()).hex());
    }
    segment
}

/// What a segment says about its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// This is the name.
    Name(String),
    /// The name was too long; the object's body holds it.
    Cut,
}

/// The name of a segment; none if [`encode`] never makes such a one.
pub(crate) fn decode(segment: &str) -> Option<Decoded> {
    if let Some((_, hex)) = segment.split_once("!h") {
        return format!("sha256:{hex}").parse::<Digest>().is_ok().then_some(Decoded::Cut);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.strip_suffix('!')?.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if matches!(first, b'!' | b'.' | b'=' | b'_' | b'z') {
            let (hex, after) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name) == segment).then_some(Decoded::Name(name))
}

/// The name of a stream within its kind.
pub(crate) fn name_of(stream: &Stream) -> &str {
    stream.name().unwrap_or_default()
}

/// The stream of a kind with that name.
pub(crate) fn stream_of(kind: StreamKind, name: &str) -> Option<Stream> {
    match kind {
        StreamKind::Registry => name.is_empty().then_some(Stream::Registry),
        kind => format!("{}/{name}", kind.as_str()).parse().ok(),
    }
}

/// Makes the keys below a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: Path,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Result<Self, path::Error> {
        Ok(Keys { prefix: Path::parse(prefix)? })
    }

    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_ref()
    }

    fn below(&self, rest: &str) -> Path {
        let whole = match self.prefix.as_ref() {
            "" => rest.to_owned(),
            prefix => format!("{prefix}/{rest}"),
        };
        // What is made here parses, so the second way is never taken; it would be as safe.
        Path::parse(&whole).unwrap_or_else(|_| Path::from(whole))
    }

    pub(crate) fn marker(&self) -> Path {
        self.below("registry.json")
    }

    pub(crate) fn probe(&self, id: u128) -> Path {
        self.below(&format!("probe/{id:032x}"))
    }

    fn stream(&self, stream: &Stream, rest: &str) -> Path {
        let (kind, name) = (stream.kind().as_str(), encode(name_of(stream)));
        self.below(&format!("streams/{kind}/{name}/{rest}"))
    }

    pub(crate) fn log(&self, stream: &Stream) -> Path {
        self.stream(stream, "log")
    }

    pub(crate) fn slot(&self, stream: &Stream, revision: Revision) -> Path {
        self.stream(stream, &format!("log/{:020}.json", revision.get()))
    }

    pub(crate) fn checkpoint(&self, stream: &Stream, kind: CheckpointKind) -> Path {
        self.stream(stream, &format!("checkpoints/{}", kind.as_str()))
    }

    /// Where the markers of a kind are, of all streams or of those with a term.
    pub(crate) fn markers(&self, kind: StreamKind, term: Option<&Term>) -> Path {
        match term {
            None => self.below(&format!("names/{}", kind.as_str())),
            Some(term) => self.below(&format!("terms/{}/{}", encode(term.as_str()), kind.as_str())),
        }
    }

    pub(crate) fn marker_of(&self, stream: &Stream, term: Option<&Term>) -> Path {
        child(&self.markers(stream.kind(), term), &encode(name_of(stream)))
    }

    pub(crate) fn blobs(&self) -> Path {
        self.below("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Path {
        let hex = digest.hex();
        let (first, rest) = hex.split_at(2);
        self.below(&format!("blobs/sha256/{first}/{rest}"))
    }

    pub(crate) fn touches(&self) -> Path {
        self.below("blobs/touched")
    }

    pub(crate) fn touched(&self, digest: &Digest) -> Path {
        self.below(&format!("blobs/touched/{}", digest.hex()))
    }

    pub(crate) fn uploads(&self) -> Path {
        self.below("blobs/uploads")
    }

    pub(crate) fn upload(&self, digest: &Digest) -> Path {
        self.below(&format!("blobs/uploads/{}", digest.hex()))
    }

    pub(crate) fn removing(&self, digest: &Digest) -> Path {
        self.below(&format!("blobs/removing/{}", digest.hex()))
    }
}

/// The key with that segment below a folder.
pub(crate) fn child(folder: &Path, segment: &str) -> Path {
    let whole = format!("{folder}/{segment}");
    Path::parse(&whole).unwrap_or_else(|_| Path::from(whole))
}

/// The revision of a slot's key.
pub(crate) fn revision_of(slot: &Path) -> Option<Revision> {
    let digits = slot.filename()?.strip_suffix(".json")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The digest of a blob's key.
pub(crate) fn digest_of(blob: &Path) -> Option<Digest> {
    let (rest, last) = blob.as_ref().rsplit_once('/')?;
    let (_, first) = rest.rsplit_once('/')?;
    let digest: Digest = format!("sha256:{first}{last}").parse().ok()?;
    (first.len() == 2).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_cut(segment: &str) -> bool {
        segment.contains("!h")
    }

    /// Names as they tempt: signs around the borders of the ranges, dots, slashes, long ones.
    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            "[!,./09:@AZ\\[`ayz{~-]{0,8}",
            "\\PC{0,20}",
            any::<String>(),
            "[a-z_.]{140,260}",
            "[ä💥z-]{60,400}",
            Just("..".to_owned()),
            Just(".".to_owned()),
            Just(String::new()),
        ]
    }

    proptest! {
        #[test]
        fn keys_are_injective_and_keep_the_order(one in names(), two in names()) {
            let (first, second) = (encode(&one), encode(&two));
            prop_assert_eq!(one == two, first == second);
            if !is_cut(&first) && !is_cut(&second) {
                prop_assert_eq!(one.cmp(&two), first.cmp(&second));
            }
            // However long they are: where the sure bytes differ, they tell the order.
            let sure = |segment: &str| segment.as_bytes()[..segment.len().min(SURE)].to_vec();
            if sure(&first) != sure(&second) {
                prop_assert_eq!(one.cmp(&two), sure(&first).cmp(&sure(&second)));
            }
        }

        #[test]
        fn names_round_trip_and_stay_below_the_prefix(name in names()) {
            let segment = encode(&name);
            prop_assert!(!segment.is_empty() && segment.len() <= 255, "{}", segment);
            prop_assert!(segment != "." && segment != ".." && !segment.contains('/'));
            match decode(&segment) {
                Some(Decoded::Name(back)) => prop_assert_eq!(&back, &name),
                Some(Decoded::Cut) => prop_assert!(WHOLE_MAX <= 3 * name.len()),
                None => prop_assert!(false, "{} is not understood", segment),
            }
            let path = Path::parse(format!("a/b/{segment}")).unwrap();
            prop_assert_eq!(path.as_ref(), format!("a/b/{segment}"));
            let again = Path::from(path.as_ref());
            prop_assert_eq!(again.as_ref(), path.as_ref());
            let encoded = Path::from_iter(["a", "b", &segment]);
            prop_assert_eq!(encoded.as_ref(), path.as_ref());
            if let Ok(model) = name.parse() {
                let keys = Keys::new("a/b").unwrap();
                let slot = keys.slot(&Stream::Model(model), Revision::FIRST);
                prop_assert!(slot.as_ref().starts_with("a/b/streams/model/"));
                prop_assert_eq!(slot.as_ref().split('/').count(), 7);
                prop_assert_eq!(revision_of(&slot), Some(Revision::FIRST));
            }
        }
    }

    #[test]
    fn keys_look_like_this() {
        assert_eq!(encode("fraud-detection"), "fraud-detection!");
        assert_eq!(encode("a b"), "a!20b!");
        assert_eq!(encode(".."), ".2e.2e!");
        assert_eq!(encode("tag=eu_west"), "tag=3deu_5fwest!");
        assert_eq!(encode("zoo"), "z7aoo!");
        assert_eq!(encode(""), "!");
        let keys = Keys::new("").unwrap();
        assert_eq!(keys.marker().as_ref(), "registry.json");
        let fraud = Stream::Model("fraud".parse().unwrap());
        let keys = Keys::new("team/a").unwrap();
        let slot = keys.slot(&fraud, Revision::FIRST);
        assert_eq!(slot.as_ref(), "team/a/streams/model/fraud!/log/00000000000000000001.json");
        let term = Term::new("stage", "production");
        assert_eq!(
            keys.marker_of(&fraud, Some(&term)).as_ref(),
            "team/a/terms/stage=3dproduction!/model/fraud!"
        );
        assert_eq!(digest_of(&keys.blob(&Digest::of(b"x"))), Some(Digest::of(b"x")));
        for wrong in ["", "a", "a!2!", "A!2G!", "!h", "a_!", "a!61!"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
