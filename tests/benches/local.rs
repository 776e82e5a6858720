//! What a commit and a look cost on a local disk, beside a bare SQLite transaction of the same size and
//! durability. `cargo bench -p registry-tests --bench local`.
//!
//! Every round does each of the things once, in turn, so that whatever else the machine does falls on
//! all of them alike. What counts is the ratios. The last column is the ratio to the line named in it.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a benchmark may fail loudly")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backend_local::{LocalRegistry, Options, Synchronous};
use registry_core::{
    By, Content, Metric, ModelName, PromoteOptions, Registration, RegistryExt as _, Selector, Stage, Version,
};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 300;
/// How many looks are timed together.
const LOOKS: u32 = 20;
const COLD_ROUNDS: usize = 40;
const VERSIONS: [u64; 3] = [10, 1_000, 10_000];
const MODELS: [u64; 3] = [1, 1_000, 50_000];

/// Times by line of the report.
#[derive(Default)]
struct Times(BTreeMap<String, Vec<Duration>>);

impl Times {
    async fn measure<T, E: Into<Failure>>(
        &mut self,
        line: String,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let result = work.await;
        let took = start.elapsed();
        self.0.entry(line).or_default().push(took);
        result.map_err(Into::into)
    }

    fn quantile(&self, line: &str, share: f64) -> Duration {
        let Some(times) = self.0.get(line) else { panic!("nothing was measured for {line}") };
        let mut sorted = times.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let index = ((sorted.len() - 1) as f64 * share) as usize;
        sorted[index]
    }

    fn report(&self, pairs: &[(String, String)]) {
        println!("{:<44} {:>10} {:>10} {:>10}   ratio of medians", "", "p10", "median", "p90");
        for (line, against) in pairs {
            let at = |share| format!("{:.1} µs", self.quantile(line, share).as_secs_f64() * 1e6);
            let ratio = if line == against {
                String::new()
            } else {
                let ratio =
                    self.quantile(line, 0.5).as_secs_f64() / self.quantile(against, 0.5).as_secs_f64();
                format!("{ratio:.2} × {against}")
            };
            println!("{line:<44} {:>10} {:>10} {:>10}   {ratio}", at(0.1), at(0.5), at(0.9));
        }
    }
}

fn by() -> By {
    By::new("bench".parse().unwrap_or_else(|error| panic!("{error}")))
}

/// What a small model is registered with: about 1 KiB of JSON and five terms.
fn content(number: u64) -> Result<Content, Failure> {
    let mut content = Content::default();
    content.metadata.algorithm = Some("XGBoost".parse()?);
    content.metadata.framework = Some("xgboost==1.7.0".parse()?);
    content.metadata.owner = Some("ann@example.com".parse()?);
    content.metadata.training_data_version = Some("v2024-01".parse()?);
    content.metadata.hyperparameters.insert("n_estimators".into(), number.into());
    for name in ["accuracy", "precision", "recall", "roc_auc", "f1_score"] {
        content.metrics.insert(name.parse()?, Metric::new(0.87)?.with_samples(1_000));
    }
    content.tags.insert("fraud".parse()?, String::new());
    Ok(content)
}

async fn register(registry: &LocalRegistry, model: &ModelName, number: u64) -> Result<(), Failure> {
    let registration = Registration::new(Version::new(1, number, 0), content(number)?);
    registry.register(&by(), model, registration, &[]).await?;
    Ok(())
}

async fn promote(registry: &LocalRegistry, model: &ModelName, number: u64, to: Stage) -> Result<(), Failure> {
    let version = Version::new(1, number, 0);
    registry.promote(&by(), model, &version, to, PromoteOptions::default()).await?;
    Ok(())
}

/// A folder with that many models of that many versions each, the last one of each in production.
async fn fill(folder: &Path, models: u64, versions: u64) -> Result<Vec<ModelName>, Failure> {
    let registry = Options { synchronous: Synchronous::Normal, ..Options::default() }.open(folder)?;
    let mut names = Vec::new();
    for number in 0..models {
        let model: ModelName = format!("model-{number:05}").parse()?;
        for minor in 0..versions {
            register(&registry, &model, minor).await?;
        }
        promote(&registry, &model, versions - 1, Stage::Staging).await?;
        promote(&registry, &model, versions - 1, Stage::Production).await?;
        names.push(model);
    }
    Ok(names)
}

/// The least that a durable commit can cost: the same rows without a registry.
struct Bare {
    connection: rusqlite::Connection,
    next: i64,
}

impl Bare {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let connection = rusqlite::Connection::open(folder.join("bare.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE commits (stream TEXT, revision INTEGER, body BLOB, PRIMARY KEY (stream, revision)) STRICT;
             CREATE TABLE terms (term TEXT, stream TEXT, PRIMARY KEY (term, stream)) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Bare { connection, next: 1 })
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let body = [7_u8; 1024];
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.connection
            .prepare_cached("INSERT INTO commits VALUES ('model/bare', ?1, ?2)")?
            .execute((self.next, &body[..]))?;
        for term in 0..5 {
            self.connection
                .prepare_cached("INSERT INTO terms VALUES (?1, 'model/bare')")?
                .execute((format!("term-{term}={}", self.next),))?;
        }
        self.connection.execute_batch("COMMIT")?;
        self.next += 1;
        Ok(())
    }
}

/// One measured round with a model that has a known number of versions.
async fn round(
    times: &mut Times,
    registry: &LocalRegistry,
    model: &ModelName,
    label: &str,
    next: u64,
) -> Result<(), Failure> {
    times.measure(format!("register, {label}"), register(registry, model, next)).await?;
    promote(registry, model, next, Stage::Staging).await?;
    times
        .measure(format!("promote to production, {label}"), promote(registry, model, next, Stage::Production))
        .await?;
    // The first look after a commit finds SQLite's page cache emptied by it.
    let look = registry.get(model, &Selector::PRODUCTION);
    times.measure(format!("get production, after a commit, {label}"), look).await?;
    let start = Instant::now();
    for _ in 0..LOOKS {
        registry.get(model, &Selector::PRODUCTION).await?;
    }
    let each = start.elapsed() / LOOKS;
    times.0.entry(format!("get production, warm, {label}")).or_default().push(each);
    Ok(())
}

/// The command-line tool, if it was built beside this benchmark.
fn tool() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let tool = here.parent()?.parent()?.join("registry");
    tool.exists().then_some(tool)
}

fn cold(tool: &Path, folder: &Path, model: &ModelName) -> Result<(), Failure> {
    let status = Command::new(tool)
        .args(["--registry", &format!("sqlite:{}", folder.display()), "get", model.as_str(), "production"])
        .stdout(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err("the tool failed".into()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let mut times = Times::default();
    let bare_line = "bare SQLite transaction".to_owned();
    let mut pairs = vec![(bare_line.clone(), bare_line.clone())];
    let mut bare = Bare::new(place.path())?;

    // Models by number of versions. Small ones grow while they are measured, so there are several.
    let mut subjects = Vec::new();
    for versions in VERSIONS {
        let folder = place.path().join(format!("versions-{versions}"));
        let models = if versions == 10 { 60 } else { 1 };
        eprintln!("filling {models} × {versions} versions …");
        let names = fill(&folder, models, versions).await?;
        let registry = backend_local::open(&folder)?;
        for name in &names {
            registry.model(name).await?;
        }
        let growth = vec![versions; names.len()];
        subjects.push((format!("{versions} versions"), folder, registry, names, growth));
    }
    for models in MODELS {
        let folder = place.path().join(format!("models-{models}"));
        eprintln!("filling {models} models …");
        let names = fill(&folder, models, 1).await?;
        let registry = backend_local::open(&folder)?;
        // Of many models a few are at work at a time.
        let names: Vec<ModelName> = names.into_iter().take(60).collect();
        for name in &names {
            registry.model(name).await?;
        }
        let growth = vec![1; names.len()];
        subjects.push((format!("{models} models"), folder, registry, names, growth));
    }
    eprintln!("measuring …");
    for number in 0..ROUNDS {
        times.measure(bare_line.clone(), async { bare.commit() }).await?;
        for (label, _, registry, names, growth) in &mut subjects {
            let turn = number % names.len();
            round(&mut times, registry, &names[turn], label, growth[turn]).await?;
            growth[turn] += 1;
        }
    }
    for what in ["register", "promote to production"] {
        for (label, ..) in &subjects {
            pairs.push((format!("{what}, {label}"), bare_line.clone()));
        }
    }
    let first = |what: &str| format!("{what}, {}", subjects[0].0);
    for what in
        ["register", "promote to production", "get production, after a commit", "get production, warm"]
    {
        for (label, ..) in &subjects {
            let line = format!("{what}, {label}");
            if line != first(what) || what.starts_with("get") {
                pairs.push((line, first(what)));
            }
        }
    }
    match tool() {
        None => eprintln!(
            "no `registry` beside the benchmark: build it with `cargo build --release -p registry-cli`"
        ),
        Some(tool) => {
            let nothing = "start and stop a process".to_owned();
            for _ in 0..COLD_ROUNDS {
                let version =
                    async { Command::new(&tool).arg("--version").stdout(Stdio::null()).status().map(drop) };
                times.measure(nothing.clone(), version).await?;
                for (label, folder, _, names, _) in &subjects {
                    let look = async { cold(&tool, folder, &names[0]) };
                    times.measure(format!("get production, cold process, {label}"), look).await?;
                }
            }
            pairs.push((nothing.clone(), nothing));
            for (label, ..) in &subjects {
                let line = format!("get production, cold process, {label}");
                pairs.push((line, first("get production, cold process")));
            }
        }
    }
    times.report(&pairs);
    Ok(())
}
