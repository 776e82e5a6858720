//! How many instructions the four hot paths take: register, set production, get production warm, and get it from a
//! registry that was just opened. Unlike times, they hardly depend on what else the machine does, so they are a guard:
//! what was recorded stands in `instructions.json`, and more than a tolerance above it is a failure. They depend on the
//! compilers of Rust and of C: who changes one records anew, on the commit before and in a commit of its own.
//! `cargo bench -p backend-local --bench instructions`; with `RECORD_INSTRUCTIONS=1` what is found is recorded.
//! `cargo xtask check` runs it, and installs valgrind if it is not there.
//!
//! Each path is run twice in a process of its own under callgrind, less often and more often; what lies between, for
//! each time more, is what it takes, without what it takes to begin.

#![expect(clippy::panic, reason = "a benchmark may fail loudly")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use backend_local::LocalRegistry;
use registry_core::{
    By, Content, ModelName, PromoteOptions, Registration, RegistryExt as _, Selector, Stage, Version,
};

type Failure = Box<dyn std::error::Error>;

/// How much more than what was recorded is still the same, as a share.
const TOLERANCE: f64 = 0.08;
/// So much less should be recorded, lest it creeps back.
const BETTER: f64 = 0.10;
const REGISTER: &str = "register";
const PROMOTE: &str = "set production";
const WARM: &str = "get production, warm";
const COLD: &str = "get production, cold";
const PATHS: [&str; 4] = [REGISTER, PROMOTE, WARM, COLD];
const FEW: u64 = 20;
/// How many versions there are; and how often most paths are walked at most.
const VERSIONS: u64 = 120;

/// How often a path is walked to see what one more time takes: the quicker it is, the oftener.
fn more(path: &str) -> u64 {
    if path == WARM { 50 * VERSIONS } else { VERSIONS }
}

struct Life {
    registry: Arc<LocalRegistry>,
    model: ModelName,
    by: By,
}

impl Life {
    async fn register(&self, number: u64) -> Result<(), Failure> {
        let mut content = Content::default();
        content.tags.insert("team".parse()?, "fraud".to_owned());
        let registration = Registration::new(Version::new(0, 0, number), content);
        self.registry.register(&self.by, &self.model, registration, &[]).await?;
        Ok(())
    }

    async fn promote(&self, number: u64, to: Stage) -> Result<(), Failure> {
        let version = Version::new(0, 0, number);
        self.registry.promote(&self.by, &self.model, &version, to, PromoteOptions::default()).await?;
        Ok(())
    }
}

/// Walks a path so many times. Whatever it needs before is there as often in every run.
async fn walk(path: &str, times: u64, folder: &Path) -> Result<(), Failure> {
    let life = Life {
        registry: Arc::new(backend_local::open(folder)?),
        model: "fraud".parse()?,
        by: By::new("bench".parse()?),
    };
    for number in 0..=VERSIONS {
        life.register(number).await?;
        if path == PROMOTE || number == VERSIONS {
            life.promote(number, Stage::Staging).await?;
        }
    }
    life.promote(VERSIONS, Stage::Production).await?;
    for number in 0..times {
        match path {
            REGISTER => life.register(VERSIONS + 1 + number).await?,
            PROMOTE => life.promote(number, Stage::Production).await?,
            WARM => {
                std::hint::black_box(life.registry.get(&life.model, &Selector::PRODUCTION).await?);
            }
            _ => {
                let registry = backend_local::open(folder)?;
                std::hint::black_box(registry.get(&life.model, &Selector::PRODUCTION).await?);
            }
        }
    }
    Ok(())
}

/// The instructions of a process that walks a path so many times.
fn counted(path: &str, times: u64) -> Result<u64, Failure> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["walk", path, &times.to_string()])
        .arg(folder.path().join("registry"))
        .output()
        .map_err(|error| format!("valgrind is needed (`apt-get install valgrind`): {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(said.into());
    }
    let line = said
        .lines()
        .find_map(|line| line.split_once("Collected : ").map(|(_, count)| count.trim().to_owned()));
    Ok(line.ok_or("valgrind says no count")?.parse()?)
}

fn guard() -> Result<bool, Failure> {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json");
    let recorded: BTreeMap<String, u64> = match std::fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => BTreeMap::new(),
    };
    let mut found = BTreeMap::new();
    let mut is_kept = true;
    println!("{:<28}{:>14}{:>14}", "instructions", "recorded", "found");
    for path in PATHS {
        let each = counted(path, more(path))?.saturating_sub(counted(path, FEW)?) / (more(path) - FEW);
        found.insert(path.to_owned(), each);
        let Some(before) = recorded.get(path) else {
            println!("{path:<28}{:>14}{each:>14}", "–");
            continue;
        };
        let change = each as f64 / *before as f64 - 1.0;
        let verdict = match change {
            change if TOLERANCE < change => "  MORE THAN THE TOLERANCE",
            change if change < -BETTER => "  better: record it",
            _ => "",
        };
        is_kept &= change <= TOLERANCE;
        println!("{path:<28}{before:>14}{each:>14}  {:+.1} %{verdict}", change * 100.0);
    }
    if std::env::var_os("RECORD_INSTRUCTIONS").is_some() {
        std::fs::write(&file, serde_json::to_string_pretty(&found)? + "\n")?;
        return Ok(true);
    }
    Ok(is_kept && recorded.len() == PATHS.len())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["walk", path, times, folder] => {
            let times = times.parse().unwrap_or_else(|error| panic!("{error}"));
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
            runtime.block_on(walk(path, times, Path::new(folder))).map(|()| true)
        }
        _ => guard(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("A hot path takes more instructions than what is recorded, or nothing is recorded.");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
