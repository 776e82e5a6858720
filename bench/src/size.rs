//! Why this exists: what is measured in bytes and counts rather than by a clock, and what machine it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bench_protocol::Failure;

use crate::report::{Cell, OURS, Row, Unit};

/// A file that nothing makes smaller.
pub(crate) fn random_file(path: &Path, size: u64) -> Result<(), Failure> {
    let mut random = File::open("/dev/urandom")?.take(size);
    let mut file = File::create(path)?;
    std::io::copy(&mut random, &mut file)?;
    Ok(file.sync_all()?)
}

/// Makes a file another one, in a moment.
pub(crate) fn stamp(path: &Path, stamp: u64) -> Result<(), Failure> {
    let mut file = File::options().write(true).open(path)?;
    file.rewind()?;
    file.write_all(&stamp.to_le_bytes())?;
    Ok(file.sync_all()?)
}

pub(crate) fn on_disk(path: &Path) -> Result<u64, Failure> {
    if !path.is_dir() {
        return Ok(path.metadata()?.len());
    }
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        sum += on_disk(&entry?.path())?;
    }
    Ok(sum)
}

pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In general terms.
pub(crate) fn machine() -> BTreeMap<&'static str, String> {
    let first = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: f64 =
        first("/proc/meminfo", "MemTotal").split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    BTreeMap::from([
        (
            "machine",
            format!("virtual, {cores} cores, {:.0} GB of memory, shared with others", kib * 1024.0 / 1e9),
        ),
        ("Rust", version("rustc")),
        ("peers", "MLflow 3.18.0, modelstore 0.0.82, GTO 1.10.1, aprender-registry 0.72.3".to_owned()),
    ])
}

/// The binary, and what the crates cost those who build them.
pub(crate) fn of_crates(registry: &Path, is_brief: bool) -> Result<Vec<Row>, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut rows = Vec::new();
    let stripped = tempfile::NamedTempFile::new()?;
    let status = Command::new("strip").arg("-o").arg(stripped.path()).arg(registry).status()?;
    if status.success() {
        let bytes = stripped.path().metadata()?.len() as f64;
        let cells = BTreeMap::from([(OURS, Cell::Measured(vec![bytes]))]);
        rows.push(Row { title: "the command line, stripped".to_owned(), unit: Unit::Bytes, cells });
    }
    let peer = "aprender-registry";
    let own = ["registry-core", "backend-local", "backend-objectstore", "backend-mlflow"];
    for (package, name) in own.iter().map(|package| (*package, OURS)).chain([(peer, peer)]) {
        let manifest =
            if name == OURS { root.join("Cargo.toml") } else { root.join("bench/aprender/Cargo.toml") };
        let tree = Command::new("cargo")
            .args([
                "tree",
                "--edges",
                "normal,build",
                "--prefix",
                "none",
                "--package",
                package,
                "--manifest-path",
            ])
            .arg(&manifest)
            .output()?;
        let text = String::from_utf8_lossy(&tree.stdout).into_owned();
        let mut lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        lines.sort_unstable();
        lines.dedup();
        let count = lines.len().saturating_sub(1) as f64;
        let cells = BTreeMap::from([(name, Cell::Measured(vec![count]))]);
        rows.push(Row { title: format!("packages that {package} depends on"), unit: Unit::Count, cells });
        if is_brief {
            continue;
        }
        eprintln!("bench: building {package}");
        let target = tempfile::Builder::new().prefix("bench-build-").tempdir_in(root.join("target"))?;
        let started = Instant::now();
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--package", package, "--manifest-path"])
            .arg(&manifest)
            .arg("--target-dir")
            .arg(target.path())
            .stdout(Stdio::null())
            .status()?;
        if status.success() {
            let cells = BTreeMap::from([(name, Cell::Measured(vec![started.elapsed().as_nanos() as f64]))]);
            rows.push(Row {
                title: format!("building {package} from nothing"),
                unit: Unit::Nanoseconds,
                cells,
            });
        }
    }
    Ok(rows)
}
