//! A bucket whose every fifth request goes wrong in one of the ways that networks and servers have: nothing is
//! lost, nothing is done twice, and nothing is reported as failed that happened.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use backend_objectstore::Options;
use backend_objectstore::object_store::client::{HttpError, HttpErrorKind};
use backend_objectstore::object_store::memory::InMemory;
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{
    self, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use registry_core::{By, Digest, Error, ModelName, Outcome, RegistryExt as _, Revision};

/// Every fifth request fails once the trouble starts; how, is drawn from the request's number.
#[derive(Debug, Default)]
struct Troubled {
    inner: InMemory,
    requests: AtomicU64,
    started: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The connection breaks before the server acts.
    Lost,
    /// The server acts, and the reply is lost.
    ReplyLost,
    /// 503, without having acted.
    Busy,
    /// 503, after having acted.
    BusyButDone,
    /// 409, without anything being there: S3, when two conditional writes meet.
    Conflict,
}

impl Troubled {
    fn trouble(&self) -> Option<Trouble> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let digest = Digest::of(&number.to_le_bytes());
        let [first, second, ..] = digest.as_bytes();
        if self.started.load(Ordering::Relaxed) == 0 || first % 5 != 0 {
            return None;
        }
        let all = [Trouble::Lost, Trouble::ReplyLost, Trouble::Busy, Trouble::BusyButDone, Trouble::Conflict];
        all.get(usize::from(*second) % all.len()).copied()
    }
}

fn broken() -> object_store::Error {
    let source = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("injected: broken off"));
    object_store::Error::Generic { store: "S3", source: Box::new(source) }
}

fn busy() -> object_store::Error {
    let text = "injected: Server returned non-2xx status code: 503 Service Unavailable: SlowDown";
    object_store::Error::Generic { store: "S3", source: text.into() }
}

impl fmt::Display for Troubled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory, troubled")
    }
}

#[async_trait]
impl ObjectStore for Troubled {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        tokio::task::yield_now().await;
        match self.trouble() {
            None => self.inner.put_opts(key, payload, options).await,
            Some(Trouble::Lost) => Err(broken()),
            Some(Trouble::Busy) => Err(busy()),
            Some(Trouble::ReplyLost) => {
                self.inner.put_opts(key, payload, options).await?;
                Err(broken())
            }
            Some(Trouble::BusyButDone) => {
                self.inner.put_opts(key, payload, options).await?;
                Err(busy())
            }
            Some(Trouble::Conflict) => Err(object_store::Error::AlreadyExists {
                path: key.to_string(),
                source: "injected: 409 ConditionalRequestConflict".into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        // A client repeats reads by itself; this one only twice, so that some fail for good.
        for _ in 0..2 {
            if self.trouble().is_none() {
                return self.inner.get_opts(key, options).await;
            }
        }
        match self.trouble() {
            None => self.inner.get_opts(key, options).await,
            Some(Trouble::Busy | Trouble::BusyButDone) => Err(busy()),
            Some(_) => Err(broken()),
        }
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.trouble() {
            None => self.inner.list(prefix),
            Some(_) => Box::pin(futures_util::stream::iter([Err(busy())])),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_of_500_commits_lose_double_and_misreport_nothing() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 125;
    let store = Arc::new(Troubled::default());
    let model: ModelName = "troubled".parse().unwrap();
    let first = Options::default().open(Arc::clone(&store) as _, "r").await.unwrap();
    let trainer = By::new("trainer".parse().unwrap());
    let version: registry_core::Version = "1.0.0".parse().unwrap();
    let registration = registry_core::Registration::new(version, registry_core::Content::default());
    first.register(&trainer, &model, registration, &[]).await.unwrap();

    let mut registries = Vec::new();
    for _ in 0..WRITERS {
        registries.push(Options::default().open(Arc::clone(&store) as _, "r").await.unwrap());
    }
    store.started.store(1, Ordering::Relaxed);
    let writers = (0..WRITERS).zip(&registries).map(|(writer, registry)| {
        let model = &model;
        async move {
            for number in 0..EACH {
                let id = format!("w{writer}-n{number}");
                let by = By::new(format!("writer-{writer}").parse().unwrap());
                let by = by.with_request_id(id.parse().unwrap());
                let mut unknown = false;
                // As a caller does: again under the same id, until it is done.
                for attempt in 0.. {
                    assert!(attempt < 500, "{id} does not get done");
                    let set = [(id.parse().unwrap(), String::new())].into();
                    match registry.change_tags(&by, model, None, set, Vec::new()).await {
                        Ok(receipt) => {
                            let repeated = matches!(receipt.outcome, Outcome::Repeated(_));
                            assert!(unknown || !repeated, "{id} was reported as failed, and had happened");
                            break;
                        }
                        Err(Error::OutcomeUnknown { .. }) => unknown = true,
                        Err(Error::Unavailable(_) | Error::Contention { .. }) => {}
                        Err(other) => panic!("{id}: {other}"),
                    }
                }
            }
        }
    });
    join_all(writers).await;
    store.started.store(0, Ordering::Relaxed);

    let log = first.log(&model, Revision::FIRST, 1_000).await.unwrap();
    let ids: BTreeSet<String> = log.iter().map(|found| found.commit.request_id.to_string()).collect();
    assert_eq!((log.len(), ids.len()), (501, 501));
    for writer in 0..WRITERS {
        for number in 0..EACH {
            assert!(ids.contains(&format!("w{writer}-n{number}")));
        }
    }
    assert_eq!(first.model(&model).await.unwrap().tags.len(), 500);
}
