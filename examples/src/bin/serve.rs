//! A service that follows production and swaps models while it answers.
//!
//! ```console
//! cargo run -p registry-examples --bin serve
//! ```
//!
//! Three things go on side by side over one registry. The service follows `production` and loads what is
//! promoted; it answers requests with what is loaded; and somebody releases two models, one after the
//! other. When the second model has answered a request, all of it ends.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use backend_local::LocalRegistry;
use bytes::Bytes;
use registry_core::{
    By, Follower, Found, ModelName, PromoteOptions, Registration, RegistryExt as _, Selector, Stage, Upload,
    Version, VersionChoice,
};
use registry_examples::describe::{self, MODEL_FILE};
use registry_examples::training::{self, TrainedModel};
use tokio::sync::watch;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How often the service looks for something new. A look is one small read.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const REQUEST_EVERY: Duration = Duration::from_millis(10);
/// How long a release waits until the service uses it.
const PATIENCE: Duration = Duration::from_secs(60);
const BYTES_MAX: u64 = 64 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let registry = Arc::new(backend_local::open(folder.path())?);
    let model: ModelName = "tumour-diagnosis".parse()?;

    let service = Service::default();
    let production = registry.follow(&model, &Selector::PRODUCTION);
    let releases = async {
        for (trained, number) in [
            (training::baseline()?, Version::new(1, 0, 0).into()),
            (training::improved_same_inputs()?, VersionChoice::Auto),
        ] {
            let version = release(&registry, &model, &trained, number).await?;
            println!("release: {version} is in production");
            tokio::time::timeout(PATIENCE, service.answers_with(&version)).await??;
        }
        Ok(())
    };
    tokio::select! {
        ended = service.keep_up(&registry, &production) => ended,
        ended = service.answer_requests() => ended,
        ended = releases => ended,
    }
}

/// A model, ready to predict.
struct Loaded {
    version: Version,
    bytes: Bytes,
    /// What callers would send: rows with the columns that the signature asks for.
    requests: Vec<Vec<f64>>,
}

impl Loaded {
    /// Fetches the bytes, which are verified on the way: a damaged model never gets any further.
    async fn fetch(registry: &LocalRegistry, found: &Found) -> Result<Self> {
        let bytes = registry.read(found.artifact(&MODEL_FILE.parse()?)?, BYTES_MAX).await?;
        let columns = describe::input_columns(&found.content);
        let requests = training::held_out(&columns)?.rows;
        Ok(Loaded { version: found.version.clone(), bytes, requests })
    }
}

#[derive(Default)]
struct Service {
    live: watch::Sender<Option<Arc<Loaded>>>,
    answered_by: watch::Sender<Option<Version>>,
}

impl Service {
    /// Keeps up with production. Whatever goes wrong (the storage is away, the bytes are damaged), the
    /// service goes on answering with what it has, and tries again.
    async fn keep_up(&self, registry: &LocalRegistry, production: &Follower<LocalRegistry>) -> Result<()> {
        loop {
            if let Err(error) = self.load_what_is_new(registry, production).await {
                eprintln!("service: keeps what it has: {error}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Swaps in what is in production, if it is something else, once it is here as a whole.
    async fn load_what_is_new(
        &self,
        registry: &LocalRegistry,
        production: &Follower<LocalRegistry>,
    ) -> Result<()> {
        let Some(found) = production.refresh().await? else { return Ok(()) };
        if self.live.borrow().as_ref().is_some_and(|live| live.version == found.version) {
            return Ok(());
        }
        let loaded = Loaded::fetch(registry, &found).await?;
        println!("service: loaded {}, {} bytes", loaded.version, loaded.bytes.len());
        self.live.send_replace(Some(Arc::new(loaded)));
        Ok(())
    }

    /// A request keeps the model it began with; the next one may already meet another.
    async fn answer_requests(&self) -> Result<()> {
        for number in 0.. {
            tokio::time::sleep(REQUEST_EVERY).await;
            let Some(live) = self.live.borrow().clone() else { continue };
            let Some(row) = live.requests.get(number % live.requests.len().max(1)) else { continue };
            let said = training::load_and_predict(&live.bytes, std::slice::from_ref(row))?;
            if self.answered_by.borrow().as_ref() != Some(&live.version) {
                println!("service: {} answers for the first time: {said:?}", live.version);
                self.answered_by.send_replace(Some(live.version.clone()));
            }
        }
        Ok(())
    }

    /// Waits until a version has answered a request.
    async fn answers_with(&self, version: &Version) -> Result<()> {
        self.answered_by.subscribe().wait_for(|seen| seen.as_ref() == Some(version)).await?;
        Ok(())
    }
}

/// The other side, which knows nothing of the service.
async fn release(
    registry: &LocalRegistry,
    model: &ModelName,
    trained: &TrainedModel,
    number: VersionChoice,
) -> Result<Version> {
    let by = By::new("dana".parse()?);
    let bytes = Bytes::from(trained.bytes.clone());
    let upload = Upload { path: MODEL_FILE.parse()?, source: &bytes };
    let registration = Registration::new(number, describe::content(trained)?);
    let version = registry.register(&by, model, registration, &[upload]).await?.version.version.clone();
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&by, model, &version, stage, PromoteOptions::default()).await?;
    }
    Ok(version)
}
