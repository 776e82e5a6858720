//! The tasks of the workspace, so that everybody runs the same ones: `cargo xtask`.
//!
//! No dependencies: this is built before anything else, on a machine that may have nothing.

mod bench;
mod isolation;
mod servers;
mod system;

use std::process::{Command, ExitCode};

const HELP: &str = "\
The tasks of the workspace.

    cargo xtask test      every test there is: unit, property, exam, processes, servers, examples, documents;
                          what it needs is installed and built first, then the tests run where there is
                          no network but this machine's own; further words, such as
                          `-p backend-objectstore azure`, go to the runner and choose tests
    cargo xtask check     formatting, lints, documents, each crate by itself, licences and bans, and how many
                          instructions the hot paths take
    cargo xtask bench     this registry, its peers and the bare machine at the same work; writes docs/benchmarks.md
";

/// The crates that users build, each of which must build without the others' features.
const PUBLISHED: [&str; 10] = [
    "registry-core",
    "registry-files",
    "registry-docs",
    "registry-signing",
    "registry-audit",
    "registry-monitoring",
    "backend-local",
    "backend-objectstore",
    "backend-mlflow",
    "registry-cli",
];

/// The version of the tool that checks licences and bans.
const DENY: &str = "0.20.2";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test", "--built", ref chosen @ ..] => test_built(chosen),
        ["test", ref chosen @ ..] => test(chosen),
        ["check"] => check(),
        ["bench", "--built"] => bench::bench_built(),
        ["bench"] => bench::bench(),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What needs the network first (packages of the servers, crates to build with), then the tests where there
/// is none.
fn test(chosen: &[&str]) -> Result<(), String> {
    servers::install()?;
    let all = ["--workspace"];
    let what = if chosen.is_empty() { &all } else { chosen };
    if has_nextest() {
        cargo(&[&["nextest", "run", "--all-features", "--no-run"], what].concat())?;
    } else {
        eprintln!("xtask: cargo-nextest is not installed; running the tests with `cargo test`");
    }
    if chosen.is_empty() || !has_nextest() {
        cargo(&[&["test", "--all-features", "--no-run"], what].concat())?;
    }
    isolation::run(&[&["test", "--built"], chosen].concat())
}

/// The tests, with the servers that they need.
fn test_built(chosen: &[&str]) -> Result<(), String> {
    let servers = servers::start()?;
    let mut variables = servers.variables();
    variables.push(("CARGO_NET_OFFLINE", "true"));
    let threads = threads().to_string();
    if std::env::var_os(THREADS).is_none() {
        variables.push((THREADS, &threads));
    }
    let all = ["--workspace"];
    let what = if chosen.is_empty() { &all } else { chosen };
    // The runner is a convenience: one process a test, and a summary. Without it the tests are the same.
    if has_nextest() {
        run("cargo", &[&["nextest", "run", "--all-features", "--no-fail-fast"], what].concat(), &variables)?;
    } else {
        let words = ["test", "--all-features", "--lib", "--bins", "--tests", "--examples"];
        run("cargo", &[&words, what].concat(), &variables)?;
    }
    if !chosen.is_empty() {
        return Ok(());
    }
    run("cargo", &["test", "--workspace", "--all-features", "--doc"], &variables)
}

/// The runner's variable for how many tests run at once.
const THREADS: &str = "NEXTEST_TEST_THREADS";

/// Two more than there are cores: a test that waits for the one process of a server leaves a core to others. How many
/// one server bears is in the runner's configuration.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get) + 2
}

fn has_nextest() -> bool {
    succeeds("cargo", &["nextest", "--version"])
}

fn check() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"])?;
    run(
        "cargo",
        &["doc", "--workspace", "--all-features", "--no-deps"],
        &[("RUSTDOCFLAGS", "--deny warnings")],
    )?;
    for package in PUBLISHED {
        cargo(&["check", "--package", package])?;
    }
    if !succeeds("cargo", &["deny", "--version"]) {
        cargo(&["install", "cargo-deny", "--locked", "--debug", "--version", DENY])?;
    }
    cargo(&["deny", "--all-features", "check", "bans", "licenses", "sources"])?;
    bench::check()?;
    let has_valgrind = || succeeds("valgrind", &["--version"]);
    if !has_valgrind() {
        let problem = system::install("valgrind");
        if !has_valgrind() {
            return Err(format!(
                "valgrind counts instructions, and `apt-get install valgrind` did not bring it: {problem}"
            ));
        }
    }
    cargo(&["bench", "--package", "backend-local", "--bench", "instructions"])
}

fn cargo(words: &[&str]) -> Result<(), String> {
    run("cargo", words, &[])
}

fn run(program: &str, words: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let shown = format!("{program} {}", words.join(" "));
    eprintln!("xtask: {shown}");
    let status = Command::new(program)
        .args(words)
        .envs(environment.iter().copied())
        .status()
        .map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}")) }
}

fn succeeds(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).output().is_ok_and(|output| output.status.success())
}
