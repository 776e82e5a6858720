//! The same work on this registry, on its peers and on the bare machine, in turn: `registry-bench <output folder>`.
//! Variables say where what it needs is installed.

mod contender;
mod report;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_protocol::Failure;
use serde_json::{Value, json};

use contender::{Contender, Launch};
use report::{Cell, MLFLOW_HTTP, ON_MLFLOW, OURS, Report, Row, Unit};

/// The model of the rows that are about little.
const MODEL: &str = "fraud";
const MIB: u64 = 1024 * 1024;
const WRITERS: usize = 8;
const EACH: u64 = 10;
/// So many registrations follow each other, as those of a pipeline do: one alone, of a process that has slept, measures
/// how long it takes a machine to wake up.
const IN_A_ROW: usize = 5;
/// Who takes longer does it once.
const PATIENCE_NS: f64 = 8e9;
/// So long is what is quick repeated, to be timed at once.
const LONG_NS: u64 = 5_000_000;
const LOOKS_MAX: u64 = 5_000;

const COLD: &str = "get production, from a cold process";
const COLD_EMBEDDED: &str = "get production, from a cold program that embeds the library";
const OBJECTS: &str = "model-registry in a folder of objects";
const MLFLOW: &str = "MLflow in process";
const MODELSTORE: &str = "modelstore";
const GTO: &str = "GTO";
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
        // A program of Python is not resolved: it is a link out of its environment.
        let python = |name: &str| -> Result<PathBuf, Failure> {
            let found =
                std::env::var_os(name).ok_or_else(|| format!("{name} is not set: see bench/README.md"))?;
            Ok(found.into())
        };
        let place = |name: &str| -> Result<PathBuf, Failure> { Ok(python(name)?.canonicalize()?) };
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

    fn python(&self, program: &Path, script: &str, place: String, name: &'static str) -> Launch {
        let arguments = vec![self.scripts.join(script).display().to_string(), place];
        Launch { name, program: program.to_owned(), arguments, is_limit: false }
    }

    /// All of them, with what they keep below a folder.
    fn launches(&self, folder: &Path, server: &str) -> Result<Vec<Launch>, Failure> {
        let at = |name: &str| folder.join(name).display().to_string();
        let ours = |name, url: String| -> Result<Launch, Failure> {
            Ok(Launch { name, program: self.own("ours")?, arguments: vec![url], is_limit: false })
        };
        let limit = |name, kind: &str, place: String| -> Result<Launch, Failure> {
            let arguments = vec![kind.to_owned(), place];
            Ok(Launch { name, program: self.own("limits")?, arguments, is_limit: true })
        };
        Ok(vec![
            ours(OURS, format!("sqlite:{}", at("ours")))?,
            ours(OBJECTS, format!("file://{}", at("objects")))?,
            ours(ON_MLFLOW, format!("mlflow+{server}?registry=bench&prefix=ours-"))?,
            self.python(&self.mlflow, "mlflow_worker.py", format!("sqlite:///{}", at("mlflow.db")), MLFLOW),
            self.python(&self.mlflow, "mlflow_worker.py", server.to_owned(), MLFLOW_HTTP),
            self.python(&self.modelstore, "modelstore_worker.py", at("modelstore"), MODELSTORE),
            self.python(&self.gto, "gto_worker.py", at("gto"), GTO),
            Launch {
                name: APRENDER,
                program: self.aprender.clone(),
                arguments: vec![at("aprender")],
                is_limit: false,
            },
            limit(BARE, "sqlite", at("bare"))?,
            limit("copy", "copy", at("copy"))?,
            limit("SHA-256 alone", "sha256", at("sha256"))?,
            limit("object_store alone", "object_store", at("store"))?,
            limit("raw HTTP calls to MLflow", "http", server.to_owned())?,
        ])
    }

    /// What a new process does to find out what is in production: the command line here, `python -c` there.
    fn cold(&self, folder: &Path) -> Vec<Cold> {
        let at = |name: &str| folder.join(name).display().to_string();
        let url = format!("sqlite:{}", at("ours"));
        let words = [self.registry.display().to_string(), "--registry".to_owned(), url];
        let words = words.into_iter().chain(["get", MODEL, "production"].map(str::to_owned));
        let ours = Cold { name: OURS, place: folder.join("ours"), words: words.collect() };
        let python = |name, program: &Path, place: &str, text: String| Cold {
            name,
            place: folder.join(place),
            words: vec![program.display().to_string(), "-c".to_owned(), text],
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
        vec![
            ours,
            python(MLFLOW, &self.mlflow, "mlflow.db", mlflow),
            python(MODELSTORE, &self.modelstore, "modelstore", modelstore),
            python(GTO, &self.gto, "gto", gto),
        ]
    }

    /// The same of a program that embeds a library for it.
    fn cold_embedded(&self, folder: &Path) -> Result<Vec<Cold>, Failure> {
        let (ours, aprender) = (folder.join("ours"), folder.join("aprender"));
        let words = |program: &Path, place: &Path, rest: &[&str]| {
            let words = [program.display().to_string(), place.display().to_string()].into_iter();
            words.chain(rest.iter().map(|word| (*word).to_owned())).collect()
        };
        Ok(vec![
            Cold { name: OURS, words: words(&self.own("embedded")?, &ours, &[MODEL]), place: ours },
            Cold {
                name: APRENDER,
                words: words(&self.aprender, &aprender, &["get", MODEL]),
                place: aprender,
            },
        ])
    }
}

/// A process that asks one question.
struct Cold {
    name: &'static str,
    /// What it asks; without it, it is not started.
    place: PathBuf,
    words: Vec<String>,
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

/// Whether there is no need to ask any more.
fn is_done(cell: Option<&Cell>) -> bool {
    match cell {
        None => false,
        Some(Cell::Measured(values)) => values.iter().any(|value| PATIENCE_NS < *value),
        Some(Cell::Cannot(_) | Cell::Failed(_)) => true,
    }
}

fn measured(cells: &mut BTreeMap<&'static str, Cell>, name: &'static str, value: f64) {
    if let Cell::Measured(values) = cells.entry(name).or_insert_with(|| Cell::Measured(Vec::new())) {
        values.push(value);
    }
}

struct Bench {
    installed: Installed,
    folder: PathBuf,
    log: PathBuf,
    server: Server,
    rows: Vec<Row>,
    /// A part of the rounds, to try out the bench itself.
    is_brief: bool,
    started: Instant,
}

impl Bench {
    fn rounds(&self, rounds: usize) -> usize {
        if self.is_brief { rounds.div_ceil(10).min(2) } else { rounds }
    }

    fn says(&self, what: &str) {
        eprintln!("bench: {:>4} s  {what}", self.started.elapsed().as_secs());
    }

    fn start(&self, folder: &Path) -> Result<Vec<Contender>, Failure> {
        let launches = self.installed.launches(folder, &self.server.address)?;
        launches.iter().map(|launch| Contender::start(launch, folder, &self.log)).collect()
    }

    fn row(
        &mut self,
        title: impl Into<String>,
        contenders: &mut [Contender],
        task: &str,
        rounds: usize,
        arguments: impl FnMut(&Launch) -> Result<Vec<Value>, Failure>,
    ) -> Result<(), Failure> {
        let title = title.into();
        self.says(&title);
        let mut cells = BTreeMap::new();
        self.measure(&mut cells, contenders, task, rounds, arguments)?;
        self.rows.push(Row { title, unit: Unit::Nanoseconds, cells });
        Ok(())
    }

    /// Each round, everybody does the work once, and another one begins.
    fn measure(
        &self,
        cells: &mut BTreeMap<&'static str, Cell>,
        contenders: &mut [Contender],
        task: &str,
        rounds: usize,
        mut arguments: impl FnMut(&Launch) -> Result<Vec<Value>, Failure>,
    ) -> Result<(), Failure> {
        // How often what is quick is done at once: for a few milliseconds.
        let mut times: BTreeMap<&'static str, u64> = BTreeMap::new();
        let is_quick = matches!(task, "get" | "at");
        let count = contenders.len();
        for round in 0..self.rounds(rounds) {
            for place in 0..count {
                let Some(contender) = contenders.get_mut((place + round) % count) else { continue };
                let name = contender.launch.name;
                if is_done(cells.get(name)) {
                    continue;
                }
                let mut arguments = arguments(&contender.launch)?;
                if is_quick {
                    arguments.push(json!(1));
                    if !times.contains_key(name) {
                        // The second time it has seen it before.
                        contender.ask(task, &arguments)?;
                        let once = contender.ask(task, &arguments)?.ns.unwrap_or(LONG_NS).max(1);
                        times.insert(name, (LONG_NS / once).clamp(1, LOOKS_MAX));
                    }
                    arguments.pop();
                }
                let times = times.get(name).copied().unwrap_or(1);
                if is_quick {
                    arguments.push(json!(times));
                }
                if task == "register_file" {
                    // What others left to the system must not be brought to the disk meanwhile.
                    Command::new("sync").status()?;
                }
                for _ in 0..if task == "register" { IN_A_ROW } else { 1 } {
                    let answer = contender.ask(task, &arguments)?;
                    match (answer.ns, answer.cannot, answer.failed) {
                        (_, Some(reason), _) => drop(cells.insert(name, Cell::Cannot(reason))),
                        (_, _, Some(reason)) => {
                            eprintln!("bench: {name}: {reason}");
                            cells.insert(name, Cell::Failed(reason));
                        }
                        (Some(ns), None, None) => measured(cells, name, ns as f64 / times as f64),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// What each has in memory once it has done some work.
    fn memory(
        &mut self,
        title: String,
        contenders: &mut [Contender],
        work: &[(&str, Vec<Value>)],
    ) -> Result<(), Failure> {
        let mut cells = BTreeMap::new();
        for contender in contenders {
            for (task, arguments) in work {
                contender.ask(task, arguments)?;
            }
            if let Some(bytes) = contender.ask("memory", &[])?.bytes.filter(|_| !contender.launch.is_limit) {
                measured(&mut cells, contender.launch.name, bytes as f64);
            }
        }
        self.rows.push(Row { title, unit: Unit::Bytes, cells });
        Ok(())
    }

    /// What can be done with little: a model with a few versions.
    fn small(&mut self) -> Result<(), Failure> {
        let folder = self.folder.join("small");
        let mut all = self.start(&folder)?;
        self.memory("memory of a process at rest".to_owned(), &mut all, &[("open", vec![json!(MODEL)])])?;
        let model = |_: &Launch| Ok(vec![json!(MODEL)]);
        self.row("register a version without bytes", &mut all, "register", 16, model)?;
        let file = folder.join("file");
        for (title, size, rounds) in
            [("register a version of 1 KiB", 1024, 12), ("register a version of 100 MiB", 100 * MIB, 3)]
        {
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
        self.large()?;
        self.row("set production", &mut all, "promote", 12, model)?;
        self.row("get production, warm", &mut all, "get", 15, model)?;
        self.row("get what was in production at an instant", &mut all, "at", 15, model)?;
        self.row("history", &mut all, "history", 15, model)?;
        self.row("roll back", &mut all, "rollback", 10, model)?;
        drop(all);
        self.cold("", &folder)
    }

    /// A large file. Everybody begins anew each time, in memory that was just in use: pages that a virtual machine has
    /// not used for a while come so slowly from its host that whoever gets them takes three times as long.
    fn large(&mut self) -> Result<(), Failure> {
        let title = "register a version of 2 GiB".to_owned();
        self.says(&title);
        let size = if self.is_brief { MIB } else { 2048 * MIB };
        let (file, used) = (self.folder.join("large"), self.folder.join("used"));
        size::random_file(&file, size)?;
        let (mut cells, mut stamp) = (BTreeMap::new(), 0_u64);
        for round in 0..self.rounds(3) {
            let folder = self.folder.join(format!("large-{round}"));
            let model = json!(format!("large-{round}"));
            let mut launches = self.installed.launches(&folder, &self.server.address)?;
            launches.rotate_left(round);
            for launch in &launches {
                if is_done(cells.get(launch.name)) {
                    continue;
                }
                let mut contender = Contender::start(launch, &folder, &self.log)?;
                contender.ask("open", std::slice::from_ref(&model))?;
                // What a contender writes, and what it may hold of it in memory.
                size::use_memory(&used, 2 * size)?;
                self.measure(&mut cells, std::slice::from_mut(&mut contender), "register_file", 1, |_| {
                    stamp += 1;
                    size::stamp(&file, stamp)?;
                    Ok(vec![model.clone(), json!(file)])
                })?;
                drop(contender);
                std::fs::remove_dir_all(&folder)?;
            }
        }
        std::fs::remove_file(&file)?;
        self.rows.push(Row { title, unit: Unit::Nanoseconds, cells });
        Ok(())
    }

    /// A new process that asks one question.
    fn cold(&mut self, at: &str, folder: &Path) -> Result<(), Failure> {
        for (title, commands) in [
            (format!("{COLD}{at}"), self.installed.cold(folder)),
            (format!("{COLD_EMBEDDED}{at}"), self.installed.cold_embedded(folder)?),
        ] {
            self.says(&title);
            let mut cells = BTreeMap::new();
            for _ in 0..self.rounds(if at.is_empty() { 12 } else { 6 }) {
                for Cold { name, place, words } in &commands {
                    let Some((program, words)) = words.split_first() else { continue };
                    if is_done(cells.get(name)) || !place.exists() {
                        continue;
                    }
                    let mut command = Command::new(program);
                    command.args(words).stdin(Stdio::null());
                    let started = Instant::now();
                    let output = command.output()?;
                    let took = started.elapsed().as_nanos() as f64;
                    if output.status.success() {
                        measured(&mut cells, name, took);
                    } else {
                        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
                        cells.insert(*name, Cell::Failed(reason));
                    }
                }
            }
            self.rows.push(Row { title, unit: Unit::Nanoseconds, cells });
        }
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
                self.says(&format!("filling {} with {versions} versions", contender.launch.name));
                let answer = contender.ask("fill", &[json!(MODEL), json!(versions)])?;
                match (answer.cannot, answer.failed) {
                    (Some(reason), _) => drop(cannot.insert(contender.launch.name, Cell::Cannot(reason))),
                    (_, Some(reason)) => drop(cannot.insert(contender.launch.name, Cell::Failed(reason))),
                    _ => all.push(contender),
                }
            }
            let shown = size::thousands(versions);
            let model = |_: &Launch| Ok(vec![json!(MODEL)]);
            let before = self.rows.len();
            self.row(format!("register, at {shown} versions"), &mut all, "register", 8, model)?;
            self.row(format!("set production, at {shown} versions"), &mut all, "promote", 12, model)?;
            self.row(format!("get production, warm, at {shown} versions"), &mut all, "get", 15, model)?;
            self.row(format!("list 100 of {shown} versions"), &mut all, "list", 15, model)?;
            self.row(format!("search 100 of {shown} versions by a tag"), &mut all, "search", 15, model)?;
            // At rest: what lies beside a database while it is open is put into it when it is closed.
            let there: BTreeSet<&str> = all.iter().map(|contender| contender.launch.name).collect();
            drop(all);
            let mut anew = self.start(&folder)?;
            anew.retain(|contender| there.contains(contender.launch.name));
            let title = format!("memory of a new process that asks for production, at {shown} versions");
            self.memory(title, &mut anew, &[("get", vec![json!(MODEL), json!(1)])])?;
            let title = format!("memory of it once it has listed and searched, at {shown} versions");
            self.memory(title, &mut anew, &[("list", vec![json!(MODEL)]), ("search", vec![json!(MODEL)])])?;
            drop(anew);
            let mut disk = BTreeMap::new();
            for (name, place) in [
                (OURS, "ours"),
                (OBJECTS, "objects"),
                (MLFLOW, "mlflow.db"),
                (MODELSTORE, "modelstore"),
                (GTO, "gto"),
                (APRENDER, "aprender"),
            ] {
                if there.contains(name) {
                    measured(&mut disk, name, size::on_disk(&folder.join(place))? as f64 / versions as f64);
                }
            }
            let title = format!("on disk for each version, at {shown} versions");
            self.rows.push(Row { title, unit: Unit::Bytes, cells: disk });
            self.cold(&format!(", at {shown} versions"), &folder)?;
            for row in self.rows.iter_mut().skip(before) {
                row.cells.extend(cannot.clone());
            }
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }

    /// Eight processes that register at once.
    fn writers(&mut self) -> Result<(), Failure> {
        for (title, is_one) in [("one model", true), ("a model each", false)] {
            let title = format!("{WRITERS} processes register {EACH} versions each, {title}");
            self.says(&title);
            let mut cells: BTreeMap<&'static str, Cell> = BTreeMap::new();
            for round in 0..self.rounds(2) {
                let folder = self.folder.join(format!("writers-{is_one}-{round}"));
                for launch in self.installed.launches(&folder, &self.server.address)? {
                    if launch.is_limit || is_done(cells.get(launch.name)) {
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
                    match trouble {
                        Some(trouble) => drop(cells.insert(launch.name, trouble)),
                        None => measured(&mut cells, launch.name, took),
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
    let warm = "get production, warm";
    let register = "register a version without bytes";
    least("get production, warm, against MLflow in process", report.times(warm, MLFLOW), 200.0);
    least("get production from a cold process, against MLflow's Python", report.times(COLD, MLFLOW), 100.0);
    least("register without bytes, against MLflow in process", report.times(register, MLFLOW), 8.0);
    let behind = report
        .rows
        .iter()
        .filter(|row| row.unit == Unit::Nanoseconds)
        .filter_map(|row| Some((row.median_of(APRENDER)? / row.median_of(OURS)?, row.title.as_str())))
        .reduce(|least, other| if other.0 < least.0 { other } else { least });
    let what = "whatever aprender-registry can do too; the least";
    let what = behind.map_or(what.to_owned(), |(_, title)| format!("{what}, \"{title}\""));
    least(&what, behind.map(|(least, _)| least), 1.0);
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
    let mut bench =
        Bench { installed, folder, log, server, rows: Vec::new(), is_brief, started: Instant::now() };
    let contenders = bench.installed.launches(&bench.folder, &bench.server.address)?;
    let contenders = contenders.iter().map(|launch| (launch.name, launch.is_limit)).collect();
    bench.small()?;
    bench.writers()?;
    bench.growth()?;
    bench.says("sizes");
    let sizes = size::of_crates(&bench.installed.registry, is_brief)?;
    bench.rows.extend(sizes);
    let machine = size::machine(&bench.installed.mlflow);
    let Bench { rows, .. } = bench;
    let report = Report { machine, contenders, rows };
    let targets = targets(&report);
    for (what, value, met) in &targets {
        eprintln!("bench: {what}: {value:?}{}", if *met { "" } else { " (missed)" });
    }
    std::fs::write(output.join("benchmarks.md"), report.to_markdown(&targets))?;
    std::fs::write(output.join("benchmarks.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(())
}
