//! This registry, at a URL: `ours <url>`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use backend_local::{Options, Synchronous};
use bench_protocol::{Answer, Contender, Failure, PAGE, number, serve, text};
use registry_core::{
    By, Connectors, Content, ModelName, PromoteOptions, Query, Registration, Registry, RegistryExt as _,
    Revision, Selector, Stage, Upload, Version,
};
use registry_files::FileSource;
use serde_json::Value;
use tokio::runtime::Runtime;

struct Ours {
    url: String,
    registry: Arc<dyn Registry>,
    runtime: Runtime,
    by: By,
    last: HashMap<String, u64>,
    before: HashMap<String, registry_core::Timestamp>,
}

fn content(number: u64) -> Result<Content, Failure> {
    let mut content = Content::default();
    content.tags.insert("team".parse()?, "fraud".to_owned());
    if number.is_multiple_of(100) {
        content.tags.insert("rare".parse()?, "yes".to_owned());
    }
    Ok(content)
}

async fn connect(url: &str) -> Result<Arc<dyn Registry>, Failure> {
    let connectors = Connectors::new()
        .with(backend_local::SqliteConnector)
        .with(backend_objectstore::BucketConnector)
        .with(backend_mlflow::MlflowConnector::new());
    Ok(connectors.open(url).await?)
}

async fn register(registry: &dyn Registry, by: &By, model: &str, number: u64) -> Result<(), Failure> {
    let registration = Registration::new(Version::new(0, 0, number), content(number)?);
    registry.register(by, &model.parse()?, registration, &[]).await?;
    Ok(())
}

async fn move_to(
    registry: &dyn Registry,
    by: &By,
    model: &str,
    number: u64,
    to: Stage,
) -> Result<(), Failure> {
    let version = Version::new(0, 0, number);
    registry.promote(by, &model.parse()?, &version, to, PromoteOptions::default()).await?;
    Ok(())
}

impl Ours {
    fn timed<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<(T, u128), Failure> {
        self.runtime.block_on(async {
            let started = Instant::now();
            let done = work.await?;
            Ok((done, started.elapsed().as_nanos()))
        })
    }

    fn next(&mut self, model: &str) -> u64 {
        let last = self.last.entry(model.to_owned()).or_default();
        *last += 1;
        *last
    }

    /// The next version, in staging.
    fn staged(&mut self, model: &str) -> Result<u64, Failure> {
        let number = self.next(model);
        self.runtime.block_on(async {
            register(&*self.registry, &self.by, model, number).await?;
            move_to(&*self.registry, &self.by, model, number, Stage::Staging).await
        })?;
        Ok(number)
    }
}

impl Contender for Ours {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        let model = text(arguments, 0).unwrap_or_default().to_owned();
        let name: Result<ModelName, _> = model.parse();
        let by = self.by.clone();
        match task {
            "open" => Ok(Answer::Done),
            "register" => {
                let number = self.next(&model);
                let ((), ns) = self.timed(register(&*self.registry, &by, &model, number))?;
                Ok(Answer::Timed { ns, seen: None })
            }
            "register_file" => {
                let number = self.next(&model);
                let path = text(arguments, 1)?;
                let name = name?;
                let ((), ns) = self.timed(async {
                    let source = FileSource::open(path)?;
                    let upload = Upload { path: "model.bin".parse()?, source: &source };
                    let registration = Registration::new(Version::new(0, 0, number), content(number)?);
                    self.registry.register(&by, &name, registration, &[upload]).await?;
                    Ok(())
                })?;
                Ok(Answer::Timed { ns, seen: None })
            }
            "register_many" => {
                let count = self::number(arguments, 1)?;
                let name = name?;
                // Writers do not know of each other, so the number is found by the registry.
                let ((), ns) = self.timed(async {
                    for _ in 0..count {
                        let registration = Registration::new(registry_core::Bump::Patch, content(1)?);
                        self.registry.register(&by, &name, registration, &[]).await?;
                    }
                    Ok(())
                })?;
                Ok(Answer::Timed { ns, seen: None })
            }
            "promote" => {
                let number = self.staged(&model)?;
                self.before.insert(model.clone(), self.registry.clock().now());
                let ((), ns) =
                    self.timed(move_to(&*self.registry, &by, &model, number, Stage::Production))?;
                Ok(Answer::Timed { ns, seen: None })
            }
            "get" | "at" => {
                let times = self::number(arguments, 1)?;
                let name = name?;
                let selector = match task {
                    "get" => Selector::PRODUCTION,
                    _ => match self.before.get(&model) {
                        Some(instant) => Selector::ProductionAt(*instant),
                        None => return Err("nothing was promoted before".into()),
                    },
                };
                let ((), ns) = self.timed(async {
                    for _ in 0..times {
                        std::hint::black_box(self.registry.get(&name, &selector).await?);
                    }
                    Ok(())
                })?;
                Ok(Answer::Timed { ns, seen: None })
            }
            "list" => {
                let name = name?;
                let (seen, ns) = self.timed(async {
                    let state = self.registry.model(&name).await?;
                    let page: Vec<_> = state.versions().rev().take(PAGE).cloned().collect();
                    Ok(page.len())
                })?;
                Ok(Answer::Timed { ns, seen: Some(seen) })
            }
            "search" => {
                let query: Query = "tag.rare = yes".parse()?;
                let (seen, ns) =
                    self.timed(async { Ok(self.registry.search(&query).await?.matches.len()) })?;
                Ok(Answer::Timed { ns, seen: Some(seen) })
            }
            "history" => {
                let name = name?;
                let (seen, ns) = self.timed(async {
                    let last = self.registry.model(&name).await?.revision().map_or(1, Revision::get);
                    let from = Revision::new(last.saturating_sub(PAGE as u64 - 1).max(1))?;
                    Ok(self.registry.log(&name, from, PAGE).await?.len())
                })?;
                Ok(Answer::Timed { ns, seen: Some(seen) })
            }
            "rollback" => {
                let name = name?;
                for _ in 0..2 {
                    let number = self.staged(&model)?;
                    self.runtime.block_on(move_to(
                        &*self.registry,
                        &by,
                        &model,
                        number,
                        Stage::Production,
                    ))?;
                }
                let (_, ns) =
                    self.timed(async { Ok(self.registry.rollback(&by, &name, None, false).await?) })?;
                Ok(Answer::Timed { ns, seen: None })
            }
            "fill" => {
                let count = self::number(arguments, 1)?;
                // A registry beside the one that is measured. In a database, it does not wait for the disk.
                let quick: Arc<dyn Registry> = match self.url.strip_prefix("sqlite:") {
                    Some(folder) => {
                        let quick = Options { synchronous: Synchronous::Normal, ..Options::default() };
                        Arc::new(quick.open(folder)?)
                    }
                    None if self.url.starts_with("file:") && count <= 10_000 => {
                        self.runtime.block_on(connect(&self.url))?
                    }
                    None => {
                        return Ok(Answer::Cannot("not tried: written one after the other, it takes long"));
                    }
                };
                self.runtime.block_on(async {
                    for number in 1..=count {
                        register(&*quick, &by, &model, number).await?;
                    }
                    move_to(&*quick, &by, &model, count, Stage::Staging).await?;
                    move_to(&*quick, &by, &model, count, Stage::Production).await
                })?;
                self.last.insert(model, count);
                Ok(Answer::Done)
            }
            _ => Err(format!("{task} is not known").into()),
        }
    }
}

fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("where is the registry?")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let registry = runtime.block_on(connect(&url))?;
    let by = By::new("bench".parse()?);
    serve(&mut Ours { url, registry, runtime, by, last: HashMap::new(), before: HashMap::new() })
}
