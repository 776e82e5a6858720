//! The same work on this registry, on its peers and on the bare machine, in turn: `registry-bench <output folder>`.
//! Variables say where what it needs is installed.

mod contender;
mod report;
mod size;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_protocol::Failure;
use serde_json::{Value, json};

use contender::{Contender, Launch};
use report::{Cell, OURS, Report, Row, Unit};

/// The model of the rows that are about little.
const MODEL: &str = "fraud";
const MIB: u64 = 1024 * 1024;
const WRITERS: usize = 8;
const EACH: u64 = 10;

const MLFLOW: &str = "MLflow in process";
const MLFLOW_HTTP: &str = "MLflow over HTTP";
const APRENDER: &str = "aprender-registry";
const BARE: &str = "bare SQLite";

/// Where what was installed is.
struct Installed {
    mlflow: PathBuf,
    modelstore: PathBuf,
    gto: PathBuf,
    registry: PathBuf,
    aprender: PathBuf,
    scripts: PathBuf,
}

impl Installed {
    fn from_environment() -> Result<Self, Failure> {
        let place = |name: &str| -> Result<PathBuf, Failure> {
            let found =
                std::env::var_os(name).ok_or_else(|| format!("{name} is not set: see bench/README.md"))?;
            Ok(Path::new(&found).canonicalize()?)
        };
        // A program of Python is not resolved: it is a link out of its environment.
        let python = |name: &str| -> Result<PathBuf, Failure> {
            Ok(std::env::var_os(name)
                .ok_or_else(|| format!("{name} is not set: see bench/README.md"))?
                .into())
        };
        Ok(Installed {
            mlflow: python("BENCH_MLFLOW_PYTHON")?,
            modelstore: python("BENCH_MODELSTORE_PYTHON")?,
            gto: python("BENCH_GTO_PYTHON")?,
            registry: place("BENCH_REGISTRY")?,
            aprender: place("BENCH_APRENDER")?,
            scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("python"),
        })
    }

    /// A program of this crate.
    fn own(&self, name: &str) -> Result<PathBuf, Failure> {
        let this = std::env::current_exe()?;
        Ok(this.parent().ok_or("where is this program?")?.join(name))
    }

    fn python(&self, program: &Path, script: &str, place: String, name: &'static str, looks: u64) -> Launch {
        let arguments = vec![self.scripts.join(script).display().to_string(), place];
        Launch { name, program: program.to_owned(), arguments, looks, is_limit: false }
    }

    /// All of them, with what they keep below a folder.
    fn launches(&self, folder: &Path, server: &str) -> Result<Vec<Launch>, Failure> {
        let at = |name: &str| folder.join(name).display().to_string();
        let ours = |name, url: String, looks| -> Result<Launch, Failure> {
            Ok(Launch { name, program: self.own("ours")?, arguments: vec![url], looks, is_limit: false })
        };
        let limit = |name, kind: &str, place: String, looks| -> Result<Launch, Failure> {
            let arguments = vec![kind.to_owned(), place];
            Ok(Launch { name, program: self.own("limits")?, arguments, looks, is_limit: true })
        };
        Ok(vec![
            ours(OURS, format!("sqlite:{}", at("ours")), 2_000)?,
            ours("model-registry in a folder of objects", format!("file://{}", at("objects")), 100)?,
            ours("model-registry on MLflow", format!("mlflow+{server}?registry=bench"), 10)?,
            self.python(
                &self.mlflow,
                "mlflow_worker.py",
                format!("sqlite:///{}", at("mlflow.db")),
                MLFLOW,
                20,
            ),
            self.python(&self.mlflow, "mlflow_worker.py", server.to_owned(), MLFLOW_HTTP, 10),
            self.python(&self.modelstore, "modelstore_worker.py", at("modelstore"), "modelstore", 20),
            self.python(&self.gto, "gto_worker.py", at("gto"), "GTO", 5),
            Launch {
                name: APRENDER,
                program: self.aprender.clone(),
                arguments: vec![at("aprender")],
                looks: 200,
                is_limit: false,
            },
            limit(BARE, "sqlite", at("bare"), 2_000)?,
            limit("copy", "copy", at("copy"), 1)?,
            limit("SHA-256 alone", "sha256", at("sha256"), 1)?,
            limit("object_store alone", "object_store", at("store"), 100)?,
            limit("raw HTTP calls to MLflow", "http", server.to_owned(), 10)?,
        ])
    }

    /// What a new process does to find out what is in production.
    fn cold(&self, folder: &Path) -> Result<Vec<(&'static str, Command)>, Failure> {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut ours = Command::new(&self.registry);
        ours.args(["--registry", &format!("sqlite:{}", at("ours")), "get", MODEL, "production"]);
        let python = |program: &Path, text: String| {
            let mut command = Command::new(program);
            command.args(["-c", &text]);
            command
        };
        let uri = format!("sqlite:///{}", at("mlflow.db"));
        let mlflow = format!(
            "from mlflow import MlflowClient\n\
             client = MlflowClient(tracking_uri={uri:?}, registry_uri={uri:?})\n\
             print(client.get_model_version_by_alias({MODEL:?}, 'production').version)"
        );
        let modelstore = format!(
            "from modelstore import ModelStore\n\
             store = ModelStore.from_file_system(root_directory={:?})\n\
             print(store.list_models({MODEL:?}, state_name='production')[0])",
            at("modelstore")
        );
        let gto = format!("import gto\nprint(gto.api.show({:?}, '{MODEL}#production'))", at("gto"));
        let mut aprender = Command::new(&self.aprender);
        aprender.args([&at("aprender"), "get", MODEL]);
        Ok(vec![
            (OURS, ours),
            (MLFLOW, python(&self.mlflow, mlflow)),
            ("modelstore", python(&self.modelstore, modelstore)),
            ("GTO", python(&self.gto, gto)),
            (APRENDER, aprender),
        ])
    }
}

/// The server that others are asked through. It is stopped at the end.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(installed: &Installed, folder: &Path, log: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let program = installed.mlflow.with_file_name("mlflow");
        let process = Command::new(program)
            .args(["server", "--host", "127.0.0.1", "--workers", "1", "--port", &port.to_string()])
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}", folder.join("mlflow.db").display()))
            .arg("--artifacts-destination")
            .arg(folder.join("artifacts"))
            .current_dir(folder)
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(log)?)
            .stderr(std::fs::OpenOptions::new().append(true).open(log)?)
            .spawn()?;
        let server = Server { process, address: format!("http://127.0.0.1:{port}") };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Duration::from_secs(120) < started.elapsed() {
                return Err("the MLflow server does not come up".into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

struct Bench {
    installed: Installed,
    folder: PathBuf,
    log: PathBuf,
    server: Server,
    rows: Vec<Row>,
    notes: Vec<String>,
    /// A part of the rounds, to try out the bench itself.
    is_brief: bool,
}

impl Bench {
    fn rounds(&self, rounds: usize) -> usize {
        if self.is_brief { rounds.div_ceil(10).min(2) } else { rounds }
    }

    fn start(&self, folder: &Path) -> Result<Vec<Contender>, Failure> {
        let launches = self.installed.launches(folder, &self.server.address)?;
        launches.iter().map(|launch| Contender::start(launch, folder, &self.log)).collect()
    }

    /// A row: each round, everybody does the work once, and another one begins.
    fn row(
        &mut self,
        title: impl Into<String>,
        contenders: &mut [Contender],
        task: &str,
        rounds: usize,
        mut arguments: impl FnMut(&Launch) -> Result<Vec<Value>, Failure>,
    ) -> Result<(), Failure> {
        let title = title.into();
        eprintln!("bench: {title}");
        let mut cells: BTreeMap<&'static str, Cell> = BTreeMap::new();
        let count = contenders.len();
        for round in 0..self.rounds(rounds) {
            for place in 0..count {
                let Some(contender) = contenders.get_mut((place + round) % count) else { continue };
                let name = contender.launch.name;
                if matches!(cells.get(name), Some(Cell::Cannot(_) | Cell::Failed(_))) {
                    continue;
                }
                let arguments = arguments(&contender.launch)?;
                let times = if matches!(task, "get" | "at") { contender.launch.looks as f64 } else { 1.0 };
                let answer = contender.ask(task, &arguments)?;
                match (answer.ns, answer.cannot, answer.failed) {
                    (_, Some(reason), _) => drop(cells.insert(name, Cell::Cannot(reason))),
                    (_, _, Some(reason)) => {
                        eprintln!("bench: {name}: {reason}");
                        cells.insert(name, Cell::Failed(reason));
                    }
                    (Some(ns), None, None) => {
                        match cells.entry(name).or_insert_with(|| Cell::Measured(Vec::new())) {
                            Cell::Measured(values) => values.push(ns as f64 / times),
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
        }
        self.rows.push(Row { title, unit: Unit::Nanoseconds, cells });
        Ok(())
    }

    /// What can be done with little: a model with a few versions.
    fn small(&mut self) -> Result<(), Failure> {
        let folder = self.folder.join("small");
        let mut all = self.start(&folder)?;
        let mut memory = BTreeMap::new();
        for contender in &mut all {
            contender.ask("open", &[json!(MODEL)])?;
            if let Some(bytes) = contender.ask("memory", &[])?.bytes.filter(|_| !contender.launch.is_limit) {
                memory.insert(contender.launch.name, Cell::Measured(vec![bytes as f64]));
            }
        }
        self.rows.push(Row {
            title: "memory of a process at rest".to_owned(),
            unit: Unit::Bytes,
            cells: memory,
        });
        let model = |_: &Launch| Ok(vec![json!(MODEL)]);
        self.row("register a version without bytes", &mut all, "register", 40, model)?;
        let file = folder.join("file");
        for (title, size, rounds) in [
            ("register a version of 1 KiB", 1024, 20),
            ("register a version of 100 MiB", 100 * MIB, 3),
            ("register a version of 2 GiB", 2048 * MIB, 1),
        ] {
            let size = if self.is_brief { size.min(MIB) } else { size };
            size::random_file(&file, size)?;
            let mut stamp = 0_u64;
            self.row(title, &mut all, "register_file", rounds, |_| {
                // Nobody may have seen these bytes before.
                stamp += 1;
                size::stamp(&file, stamp)?;
                Ok(vec![json!(MODEL), json!(file)])
            })?;
        }
        std::fs::remove_file(&file)?;
        self.row("set production", &mut all, "promote", 20, model)?;
        let looks = |launch: &Launch| Ok(vec![json!(MODEL), json!(launch.looks)]);
        self.row("get production, warm", &mut all, "get", 15, looks)?;
        self.row("get what was in production at an instant", &mut all, "at", 15, looks)?;
        self.row("history", &mut all, "history", 15, model)?;
        self.row("roll back", &mut all, "rollback", 15, model)?;
        drop(all);
        self.cold(&folder)
    }

    /// A new process that asks one question.
    fn cold(&mut self, folder: &Path) -> Result<(), Failure> {
        let title = "get production, from a cold process".to_owned();
        eprintln!("bench: {title}");
        let mut cells: BTreeMap<&'static str, Cell> = BTreeMap::new();
        for _ in 0..self.rounds(15) {
            for (name, mut command) in self.installed.cold(folder)? {
                let started = Instant::now();
                let output = command.stdin(Stdio::null()).output()?;
                let took = started.elapsed().as_nanos() as f64;
                if !output.status.success() {
                    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
                    cells.insert(name, Cell::Failed(reason));
                } else if let Cell::Measured(values) =
                    cells.entry(name).or_insert_with(|| Cell::Measured(Vec::new()))
                {
                    values.push(took);
                }
            }
        }
        self.rows.push(Row { title, unit: Unit::Nanoseconds, cells });
        Ok(())
    }

    /// The same at a hundred, ten thousand and a hundred thousand versions of a model.
    fn growth(&mut self) -> Result<(), Failure> {
        for versions in [100_u64, 10_000, 100_000] {
            let versions = if self.is_brief { versions.min(1_000) } else { versions };
            let folder = self.folder.join(format!("growth-{versions}"));
            let mut all = Vec::new();
            let mut cannot: BTreeMap<&'static str, Cell> = BTreeMap::new();
            for mut contender in self.start(&folder)? {
                if contender.launch.is_limit
                    || contender.launch.arguments.iter().any(|word| word.contains("http:"))
                {
                    continue;
                }
                eprintln!("bench: filling {} with {versions} versions", contender.launch.name);
                let answer = contender.ask("fill", &[json!(MODEL), json!(versions)])?;
                match (answer.cannot, answer.failed) {
                    (Some(reason), _) => drop(cannot.insert(contender.launch.name, Cell::Cannot(reason))),
                    (_, Some(reason)) => drop(cannot.insert(contender.launch.name, Cell::Failed(reason))),
                    _ => all.push(contender),
                }
            }
            let shown = size::thousands(versions);
            let model = |_: &Launch| Ok(vec![json!(MODEL)]);
            let looks = |launch: &Launch| Ok(vec![json!(MODEL), json!(launch.looks)]);
            let before = self.rows.len();
            self.row(format!("register, at {shown} versions"), &mut all, "register", 20, model)?;
            self.row(format!("set production, at {shown} versions"), &mut all, "promote", 20, model)?;
            self.row(format!("get production, warm, at {shown} versions"), &mut all, "get", 15, looks)?;
            self.row(format!("list 100 of {shown} versions"), &mut all, "list", 15, model)?;
            self.row(format!("search 100 of {shown} versions by a tag"), &mut all, "search", 15, model)?;
            let mut memory = BTreeMap::new();
            for contender in &mut all {
                if let Some(bytes) = contender.ask("memory", &[])?.bytes {
                    memory.insert(contender.launch.name, Cell::Measured(vec![bytes as f64]));
                }
            }
            let title = format!("memory of a process, at {shown} versions");
            self.rows.push(Row { title, unit: Unit::Bytes, cells: memory });
            let mut disk = BTreeMap::new();
            for (name, place) in [
                (OURS, "ours"),
                ("model-registry in a folder of objects", "objects"),
                (MLFLOW, "mlflow.db"),
                ("modelstore", "modelstore"),
                ("GTO", "gto"),
                (APRENDER, "aprender"),
            ] {
                if all.iter().any(|contender| contender.launch.name == name) {
                    let bytes = size::on_disk(&folder.join(place))? as f64 / versions as f64;
                    disk.insert(name, Cell::Measured(vec![bytes]));
                }
            }
            let title = format!("on disk for each version, at {shown} versions");
            self.rows.push(Row { title, unit: Unit::Bytes, cells: disk });
            for row in self.rows.iter_mut().skip(before) {
                row.cells.extend(cannot.clone());
            }
            drop(all);
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }

    /// Eight processes that register at once.
    fn writers(&mut self) -> Result<(), Failure> {
        for (title, is_one) in [("one model", true), ("a model each", false)] {
            let title = format!("{WRITERS} processes register {EACH} versions each, {title}");
            eprintln!("bench: {title}");
            let mut cells: BTreeMap<&'static str, Cell> = BTreeMap::new();
            for round in 0..self.rounds(3) {
                let folder = self.folder.join(format!("writers-{is_one}-{round}"));
                for launch in self.installed.launches(&folder, &self.server.address)? {
                    let is_out = matches!(cells.get(launch.name), Some(Cell::Cannot(_) | Cell::Failed(_)));
                    if launch.is_limit || is_out {
                        continue;
                    }
                    let mut writers = Vec::new();
                    for place in 0..WRITERS {
                        let model = if is_one {
                            format!("shared-{is_one}-{round}")
                        } else {
                            format!("own-{is_one}-{round}-{place}")
                        };
                        let mut writer = Contender::start(&launch, &folder, &self.log)?;
                        // One after the other: who makes the tables is not the question.
                        if place == 0 || !is_one {
                            writer.ask("open", &[json!(model)])?;
                        }
                        writers.push((writer, model));
                    }
                    let started = Instant::now();
                    for (writer, model) in &mut writers {
                        writer.tell("register_many", &[json!(model), json!(EACH)])?;
                    }
                    let mut trouble = None;
                    for (writer, _) in &mut writers {
                        let answer = writer.answer()?;
                        trouble = match (answer.cannot, answer.failed) {
                            (Some(reason), _) => Some(Cell::Cannot(reason)),
                            (_, Some(reason)) => Some(Cell::Failed(reason)),
                            _ => trouble,
                        };
                    }
                    let took = started.elapsed().as_nanos() as f64;
                    match (trouble, cells.entry(launch.name).or_insert_with(|| Cell::Measured(Vec::new()))) {
                        (Some(trouble), cell) => *cell = trouble,
                        (None, Cell::Measured(values)) => values.push(took),
                        (None, _) => {}
                    }
                }
            }
            self.rows.push(Row { title, unit: Unit::Nanoseconds, cells });
        }
        Ok(())
    }
}

/// What was promised, and what came of it: the ratio, and whether it is enough.
fn targets(report: &Report) -> Vec<(String, Option<f64>, bool)> {
    let mut targets = Vec::new();
    let mut least = |what: &str, value: Option<f64>, bound: f64| {
        targets.push((
            format!("{what}: at least {bound} ×"),
            value,
            value.is_some_and(|value| bound <= value),
        ));
    };
    let (warm, cold) = ("get production, warm", "get production, from a cold process");
    let register = "register a version without bytes";
    least("get production, warm, against MLflow in process", report.times(warm, MLFLOW), 200.0);
    least("get production from a cold process, against MLflow's Python", report.times(cold, MLFLOW), 100.0);
    least("register without bytes, against MLflow in process", report.times(register, MLFLOW), 8.0);
    let behind = report
        .rows
        .iter()
        .filter(|row| row.unit == Unit::Nanoseconds)
        .filter_map(|row| Some(row.median_of(APRENDER)? / row.median_of(OURS)?))
        .reduce(f64::min);
    least("every row in time that aprender-registry can do too: the least", behind, 1.0);
    let bare = report.times(register, BARE).map(|times| 1.0 / times);
    targets.push((
        "register without bytes, against the bare transaction: at most 1.5 ×".to_owned(),
        bare,
        bare.is_some_and(|value| value <= 1.5),
    ));
    for (what, row) in [
        ("register", "register"),
        ("set production", "set production"),
        ("get production", "get production, warm"),
    ] {
        let at = |versions: &str| report.row(&format!("{row}, at {versions} versions"))?.median_of(OURS);
        let value = at("100,000").zip(at("100")).map(|(large, small)| large / small);
        let what = format!("{what}, from 100 to 100,000 versions: at most 1.3 ×");
        targets.push((what, value, value.is_some_and(|value| value <= 1.3)));
    }
    targets
}

fn main() -> Result<(), Failure> {
    let output = PathBuf::from(std::env::args().nth(1).ok_or("where shall the report go?")?);
    let is_brief = std::env::var_os("BENCH_BRIEF").is_some();
    let installed = Installed::from_environment()?;
    // On the disk of the project: what lies in memory would flatter everybody.
    let place =
        tempfile::Builder::new().prefix("bench-").tempdir_in(std::env::current_dir()?.join("target"))?;
    let folder = place.path().to_owned();
    let log = folder.join("contenders.log");
    let server = Server::start(&installed, &folder.join("server"), &folder.join("server.log"))?;
    let mut bench = Bench { installed, folder, log, server, rows: Vec::new(), notes: Vec::new(), is_brief };
    let contenders = bench.installed.launches(&bench.folder, &bench.server.address)?;
    let contenders = contenders.iter().map(|launch| (launch.name, launch.is_limit)).collect();
    bench.small()?;
    bench.writers()?;
    bench.growth()?;
    let sizes = size::of_crates(&bench.installed.registry, is_brief)?;
    bench.rows.extend(sizes);
    let Bench { rows, notes, .. } = bench;
    let report = Report { machine: size::machine(), contenders, rows, notes };
    let targets = targets(&report);
    for (what, value, met) in &targets {
        eprintln!("bench: {what}: {value:?}{}", if *met { "" } else { " (missed)" });
    }
    std::fs::write(output.join("benchmarks.md"), report.to_markdown(&targets))?;
    std::fs::write(output.join("benchmarks.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(())
}
