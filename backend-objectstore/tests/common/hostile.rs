//! Names that tempt a store to write somewhere else, or to give back something else.
//!
//! Each is either refused by its type, or goes through a whole registration and comes back as it was, to
//! the byte, from a registry that was opened anew. Whatever came of it, afterwards there is no object
//! outside the prefix, and no key that any store could read differently.

use std::cell::Cell;
use std::sync::Arc;

use backend_objectstore::Options;
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{ObjectStore, ObjectStoreExt as _};
use futures_util::TryStreamExt as _;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRunner};
use registry_core::{ArtifactPath, By, Content, ModelName, Registration, RegistryExt as _, Upload, Version};

/// The pieces that names are made of, to be joined without mercy.
const PIECES: [&str; 36] = [
    "..", ".", "/", "//", "../", "%", "%2F", "%2e%2e", "%00", "%25", "\\", ":", " ", "+", "?", "#", "&", "=",
    "*", "\"", "<", "|", "~", "!", "!h", "_", "-", "a", "A", "z", "ä", "a\u{308}", "💥", "\u{202e}", "\0",
    "CON",
];

fn long(length: usize) -> impl Strategy<Value = String> {
    select(&PIECES[..]).prop_map(move |piece| piece.chars().cycle().take(length).collect())
}

/// Anything at all.
fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => proptest::collection::vec(select(&PIECES[..]), 0..8).prop_map(|pieces| pieces.concat()),
        1 => "\\PC{0,40}",
        1 => prop_oneof![long(256), long(257), long(1_000)],
    ]
}

/// What a model may be called, mostly.
fn models() -> impl Strategy<Value = String> {
    prop_oneof![anything(), "[!-.0-9;-\\[\\]-~äé💥中]{1,250}", "\\.{3}[%!_.a]{0,100}"]
}

/// What a file may be called, mostly: also in many folders, to a thousand bytes.
fn paths() -> impl Strategy<Value = String> {
    let part = "[!-.0-9;-\\[\\]-~äé]{1,60}";
    prop_oneof![
        anything(),
        proptest::collection::vec(part, 1..6).prop_map(|parts| parts.join("/")),
        Just(["x".repeat(199).as_str(); 5].join("/")),
    ]
}

fn versions() -> impl Strategy<Value = String> {
    prop_oneof![
        anything(),
        "[v]?[0-9]{1,20}(\\.[0-9]{1,3}){0,2}(-[0-9A-Za-z.-]{1,100})?(\\+[0-9A-Za-z.-]{1,20})?",
        anything().prop_map(|end| format!("1.0.0-{end}")),
    ]
}

/// How many names were legal.
#[derive(Debug, Default)]
struct Legal {
    models: Cell<u32>,
    paths: Cell<u32>,
    versions: Cell<u32>,
}

/// The name, or another that is legal; a name that is refused leaves the others to be tried.
fn legal<T: std::str::FromStr<Err = registry_core::Invalid> + ToString>(
    text: &str,
    otherwise: &str,
    count: &Cell<u32>,
) -> T {
    match text.parse::<T>() {
        Ok(name) => {
            count.set(count.get() + 1);
            name
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            otherwise.parse().unwrap()
        }
    }
}

/// One registration, read back by another.
async fn round_trip(
    store: &Arc<dyn ObjectStore>,
    prefix: &str,
    model: &ModelName,
    path: &ArtifactPath,
    version: &Version,
) {
    let bytes = bytes::Bytes::from(format!("{model}/{version}/{path}"));
    let writer = Options::default().open(Arc::clone(store), prefix).await.unwrap();
    let by = By::new("tester".parse().unwrap());
    let upload = Upload { path: path.clone(), source: &bytes };
    let registration = Registration::new(version.clone(), Content::default());
    writer.register(&by, model, registration, &[upload]).await.unwrap();

    let reader = Options { create: false, ..Options::default() };
    let reader = reader.open(Arc::clone(store), prefix).await.unwrap();
    assert_eq!(reader.models(None, 10).await.unwrap(), std::slice::from_ref(model));
    let state = reader.model(model).await.unwrap();
    let found = state.version(version).unwrap();
    // Versions are equal whatever their build metadata; texts are not.
    assert_eq!(found.version.to_string(), version.to_string());
    let artifact = found.content.artifacts.get(path).unwrap();
    assert_eq!(artifact.path, *path);
    assert_eq!(reader.read(artifact, 10_000).await.unwrap(), bytes);
}

/// Every key of a run: below a registry's prefix, and made of what all stores keep as it is.
async fn check_keys(store: &Arc<dyn ObjectStore>, run: &str) {
    let found: Vec<_> = store.list(Some(&Path::parse(run).unwrap())).try_collect().await.unwrap();
    assert!(!found.is_empty());
    for key in found.iter().map(|meta| meta.location.as_ref()) {
        let below = key.strip_prefix(run).and_then(|rest| rest.strip_prefix("/registry-"));
        let (_, below) = below.and_then(|rest| rest.split_once("/in it/")).unwrap_or_else(|| {
            panic!("{key} is outside of every registry");
        });
        for segment in below.split('/') {
            let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!.=_-".contains(&byte));
            assert!(plain && (1..=255).contains(&segment.len()), "{key}");
            assert!(segment != "." && segment != "..", "{key}");
        }
    }
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.objects.len(), 0, "{:?}", top.objects);
    for folder in top.common_prefixes {
        assert!(folder.as_ref().starts_with("run-"), "{folder} is of no test");
    }
}

/// So many cases on one store, below `run`, which starts with `run-`.
pub(crate) fn names_are_refused_or_kept(store: &Arc<dyn ObjectStore>, run: &str, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Making a registry tries the store out with a race, which is slow on some. Once is enough: the
    // others begin with the marker of the first.
    let marker = runtime.block_on(async {
        let first = format!("{run}/registry-0/in it");
        Options::default().open(Arc::clone(store), &first).await.unwrap();
        let key = Path::parse(format!("{first}/registry.json")).unwrap();
        store.get(&key).await.unwrap().bytes().await.unwrap()
    });
    let (number, legals) = (Cell::new(0), Legal::default());
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let done = TestRunner::new(config).run(&(models(), paths(), versions()), |(model, path, version)| {
        number.set(number.get() + 1);
        let prefix = format!("{run}/registry-{}/in it", number.get());
        runtime.block_on(async {
            let key = Path::parse(format!("{prefix}/registry.json")).unwrap();
            store.put(&key, marker.clone().into()).await.unwrap();
            let model = legal(&model, "m", &legals.models);
            let path = legal(&path, "f", &legals.paths);
            let version = legal(&version, "1.0.0", &legals.versions);
            round_trip(store, &prefix, &model, &path, &version).await;
        });
        Ok(())
    });
    match done {
        Ok(()) => {}
        Err(TestError::Fail(reason, names)) => panic!("{names:?}: {reason}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    runtime.block_on(check_keys(store, run));
    for legal in [&legals.models, &legals.paths, &legals.versions] {
        assert!(0 < legal.get() && legal.get() < cases, "either nothing or all was refused: {legals:?}");
    }
}
