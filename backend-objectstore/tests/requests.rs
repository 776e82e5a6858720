//! On a network requests are the cost. How many each verb makes is asserted here, and that a store which
//! ignores create-if-absent is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/long.rs"]
mod long;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backend_objectstore::object_store::memory::InMemory;
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{
    self, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use backend_objectstore::{BucketRegistry, Options};
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use registry_core::{
    By, Content, Error, ModelName, PromoteOptions, Registration, RegistryExt as _, Selector, Stage, Upload,
};

/// A store in memory that writes down what it is asked, takes its time, and may ignore conditions.
#[derive(Debug, Default)]
struct Spied {
    inner: InMemory,
    asked: Mutex<Vec<String>>,
    delay: Mutex<Duration>,
    ignores_conditions: bool,
    /// How many writes are turned away, beginning now.
    busy: Mutex<u32>,
}

impl Spied {
    async fn note(&self, kind: &str, key: &Path) {
        self.asked.lock().unwrap().push(format!("{kind} {key}"));
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl fmt::Display for Spied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory, spied on")
    }
}

#[async_trait]
impl ObjectStore for Spied {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.note("PUT", key).await;
        {
            let mut busy = self.busy.lock().unwrap();
            if 0 < *busy {
                *busy -= 1;
                let text = "injected: Server returned non-2xx status code: 429 Too Many Requests: SlowDown";
                return Err(object_store::Error::Generic { store: "GCS", source: text.into() });
            }
        }
        let options = if self.ignores_conditions { PutOptions::default() } else { options };
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.note("POST", key).await;
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(if options.head { "HEAD" } else { "GET" }, key).await;
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.asked.lock().unwrap().push(format!("LIST {}", prefix.cloned().unwrap_or_default()));
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn open(store: &Arc<Spied>) -> BucketRegistry {
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as _;
    Options::default().open(store, "r").await.unwrap()
}

fn alice() -> By {
    By::new("alice".parse().unwrap())
}

fn fraud() -> ModelName {
    "fraud".parse().unwrap()
}

async fn register(registry: &BucketRegistry, version: &str, bytes: &'static [u8]) {
    let bytes = bytes::Bytes::from_static(bytes);
    let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
    let version: registry_core::Version = version.parse().unwrap();
    let registration = Registration::new(version, Content::default());
    registry.register(&alice(), &fraud(), registration, &[upload]).await.unwrap();
}

async fn promote(registry: &BucketRegistry, version: &str, stage: Stage) {
    let version = version.parse().unwrap();
    registry.promote(&alice(), &fraud(), &version, stage, PromoteOptions::default()).await.unwrap();
}

async fn describe(registry: &BucketRegistry, number: u32) {
    let text = format!("text {number}").parse().unwrap();
    registry.describe(&alice(), &fraud(), None, Some(text)).await.unwrap();
}

#[tokio::test]
async fn a_store_that_ignores_create_if_absent_is_refused() {
    let store = Arc::new(Spied { ignores_conditions: true, ..Spied::default() });
    let error = Options::default().open(Arc::clone(&store) as _, "r").await.err().unwrap();
    assert!(error.to_string().contains("does not honour create-if-absent"), "{error}");
    let left = store.inner.list(None);
    assert_eq!(futures_util::StreamExt::count(left).await, 0, "the probe is left behind");
}

/// Google allows about one write a second to one object. Of a race it may turn away all.
#[tokio::test]
async fn a_store_that_is_too_busy_for_a_race_is_tried_out_slowly() {
    for ignores_conditions in [false, true] {
        // All eight racers, and the first of those who come later.
        let store = Spied { ignores_conditions, busy: Mutex::new(9), ..Spied::default() };
        let store = Arc::new(store);
        let opened = Options::default().open(Arc::clone(&store) as _, "r").await;
        assert_eq!(*store.busy.lock().unwrap(), 0);
        let left: Vec<_> = store.inner.list(None).try_collect().await.unwrap();
        let left: Vec<&str> = left.iter().map(|meta| meta.location.as_ref()).collect();
        match opened {
            Ok(_) => assert!(!ignores_conditions && left == ["r/registry.json"], "{left:?}"),
            Err(error) => {
                assert!(error.to_string().contains("does not honour create-if-absent"), "{error}");
                assert!(ignores_conditions && left.is_empty(), "{left:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_stays_too_busy_is_not_taken_for_a_fit_one() {
    let store = Arc::new(Spied { busy: Mutex::new(u32::MAX), ..Spied::default() });
    let error = Options::default().open(Arc::clone(&store) as _, "r").await.err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains("429"), "{error:?}");
}

/// However many commits there are, and wherever the last checkpoint lies.
#[tokio::test]
async fn a_cold_look_at_production_takes_five_requests_at_most_and_a_warm_one_takes_one() {
    let store = Arc::new(Spied::default());
    let writer = open(&store).await;
    register(&writer, "1.0.0", b"one").await;
    promote(&writer, "1.0.0", Stage::Staging).await;
    promote(&writer, "1.0.0", Stage::Production).await;
    for number in 0..600 {
        describe(&writer, number).await;
        if !(10..=590).contains(&number) {
            let cold = open(&store).await;
            store.take();
            let found = cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
            let asked = store.take();
            assert_eq!(found.version.to_string(), "v1.0.0");
            assert!(asked.len() <= 5, "after {number}: {asked:#?}");
            cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
            let asked = store.take();
            let slot = format!("GET r/streams/model/fraud!/log/{:020}.json", number + 5);
            assert_eq!(asked, [slot], "after {number}");
        }
    }
    // The whole state: a checkpoint, a list, and the commits since, of which there is a bounded number.
    let cold = open(&store).await;
    store.take();
    cold.model(&fraud()).await.unwrap();
    let asked = store.take();
    assert!(asked.len() <= 3 + 130, "{}", asked.len());
}

#[tokio::test]
async fn a_cold_look_at_production_after_10_000_commits_takes_five_requests_at_most() {
    let store = Arc::new(Spied::default());
    long::write(Arc::clone(&store) as _, "r").await;
    let slots = store.inner.list(Some(&Path::from("r/streams/model/fraud!/log")));
    assert_eq!(futures_util::StreamExt::count(slots).await as u64, long::COMMITS);
    // Every second commit keeps a checkpoint: with one just written, and with one to be caught up from.
    for number in 0..2 {
        let cold = open(&store).await;
        store.take();
        let found = cold.get(&fraud(), &Selector::PRODUCTION).await.unwrap();
        let asked = store.take();
        assert_eq!(found.version.to_string(), "v1.0.0");
        assert!(asked.len() <= 5, "{asked:#?}");
        describe(&cold, number).await;
    }
}

/// Writers that run one command each, as a command line does, keep the checkpoints too.
#[tokio::test]
async fn writers_of_one_command_keep_cold_reads_cheap() {
    let store = Arc::new(Spied::default());
    register(&open(&store).await, "1.0.0", b"one").await;
    for number in 0..20 {
        describe(&open(&store).await, number).await;
        let cold = open(&store).await;
        store.take();
        cold.get(&fraud(), &"1.0.0".parse().unwrap()).await.unwrap();
        let asked = store.take();
        assert!(asked.len() <= 5, "after {number}: {asked:#?}");
    }
}

#[tokio::test]
async fn a_warm_promotion_takes_two_round_trips() {
    const DELAY: Duration = Duration::from_millis(100);
    let store = Arc::new(Spied::default());
    let writer = open(&store).await;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        register(&writer, version, b"one").await;
        promote(&writer, version, Stage::Staging).await;
    }
    promote(&writer, "1.0.0", Stage::Production).await;
    promote(&writer, "2.0.0", Stage::Production).await;
    store.take();
    *store.delay.lock().unwrap() = DELAY;
    let started = tokio::time::Instant::now();
    promote(&writer, "3.0.0", Stage::Production).await;
    let took = started.elapsed();
    let asked = store.take();
    assert!(took < DELAY * 3, "{took:?}: {asked:#?}");
    let count = |kind: &str| asked.iter().filter(|request| request.starts_with(kind)).count();
    assert_eq!((count("GET"), count("HEAD"), count("LIST")), (2, 0, 0), "{asked:#?}");
    assert!(count("PUT") <= 2, "{asked:#?}");
}

#[tokio::test]
async fn known_bytes_are_not_sent() {
    let store = Arc::new(Spied::default());
    let writer = open(&store).await;
    register(&writer, "1.0.0", b"the same bytes").await;
    store.take();
    register(&writer, "2.0.0", b"the same bytes").await;
    let asked = store.take();
    assert!(!asked.iter().any(|request| request.starts_with("PUT r/blobs/sha256")), "{asked:#?}");
    assert!(!asked.iter().any(|request| request.starts_with("POST")), "{asked:#?}");
}

#[tokio::test]
async fn what_depends_on_something_is_found_without_looking_at_the_rest() {
    let store = Arc::new(Spied::default());
    let writer = open(&store).await;
    let register = async |model: String, data: &str, parent: Option<&str>| {
        let mut content = Content::default();
        content.metadata.training_data_version = Some(data.parse().unwrap());
        content.metadata.parent_model = parent.map(|parent| parent.parse().unwrap());
        let registration = Registration::new(registry_core::Version::new(1, 0, 0), content);
        writer.register(&alice(), &model.parse().unwrap(), registration, &[]).await.unwrap();
    };
    for number in 0..300 {
        register(format!("model-{number}"), "common", None).await;
    }
    register("first".into(), "rare", None).await;
    register("second".into(), "rare", None).await;
    register("child".into(), "common", Some("first@v1.0.0")).await;
    let reader = open(&store).await;
    store.take();
    let impact = reader.impact(&"data:rare".parse().unwrap(), None).await.unwrap();
    let asked = store.take();
    assert_eq!(impact.influence().len(), 3, "{}", impact.to_text());
    // One look-up for the data and one for each of the three versions; and each of their models is read cold.
    let lookups = asked.iter().filter(|request| request.starts_with("LIST r/terms/")).count();
    assert_eq!(lookups, 4, "{asked:#?}");
    assert!(asked.len() <= 4 + 3 * 5, "{asked:#?}");
}
