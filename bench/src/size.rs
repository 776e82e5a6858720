//! Why this exists: what is measured in bytes and counts rather than by a clock, and what machine it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bench_protocol::Failure;

use crate::APRENDER;
use crate::report::{Cell, OURS, Row, Unit};

/// A file that nothing makes smaller.
pub(crate) fn random_file(path: &Path, size: u64) -> Result<(), Failure> {
    let mut random = File::open("/dev/urandom")?.take(size);
    let mut file = File::create(path)?;
    std::io::copy(&mut random, &mut file)?;
    Ok(file.sync_all()?)
}

/// Has the system use so much memory, and give it back.
pub(crate) fn use_memory(scratch: &Path, size: u64) -> Result<(), Failure> {
    std::io::copy(&mut File::open("/dev/zero")?.take(size), &mut File::create(scratch)?)?;
    Ok(std::fs::remove_file(scratch)?)
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

/// The version of `aprender-registry` that its worker is built with.
fn aprender() -> String {
    let manifest = include_str!("../aprender/Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("aprender-registry")).unwrap_or_default();
    line.split('"').nth(1).unwrap_or_default().trim_start_matches('=').to_owned()
}

/// In general terms.
pub(crate) fn machine(mlflow: &Path) -> BTreeMap<&'static str, String> {
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
    let pinned = |list: &str, package: &str| {
        let pinned =
            |line: &str| line.strip_prefix(package).map(|rest| rest.trim_matches(['=', ' ', '"']).to_owned());
        list.lines().find_map(pinned).unwrap_or_default()
    };
    let peers = format!(
        "MLflow {}, modelstore {}, GTO {}, aprender-registry {}",
        version(&mlflow.with_file_name("mlflow").display().to_string()).replace("mlflow, version ", ""),
        pinned(include_str!("../python/modelstore.txt"), "modelstore=="),
        pinned(include_str!("../python/gto.txt"), "gto=="),
        aprender(),
    );
    BTreeMap::from([
        ("peers", peers),
        (
            "machine",
            format!("virtual, {cores} cores, {:.0} GB of memory, shared with others", kib * 1024.0 / 1e9),
        ),
        ("Rust", version("rustc")),
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
    let peer = root.join("bench/aprender/Cargo.toml");
    let own = root.join("Cargo.toml");
    for (what, packages) in [
        (
            "a program that embeds the local store",
            vec![(OURS, "backend-local", &own), (APRENDER, APRENDER, &peer)],
        ),
        ("`registry-core` alone", vec![(OURS, "registry-core", &own)]),
        ("`backend-objectstore`", vec![(OURS, "backend-objectstore", &own)]),
        ("`backend-mlflow`", vec![(OURS, "backend-mlflow", &own)]),
    ] {
        let (mut counts, mut times) = (BTreeMap::new(), BTreeMap::new());
        for (name, package, manifest) in packages {
            counts.insert(name, Cell::Measured(vec![dependencies(package, manifest)?]));
            if !is_brief {
                eprintln!("bench: building {package}");
                let target =
                    tempfile::Builder::new().prefix("bench-build-").tempdir_in(root.join("target"))?;
                let started = Instant::now();
                let status = Command::new("cargo")
                    .args(["build", "--quiet", "--package", package, "--manifest-path"])
                    .arg(manifest)
                    .arg("--target-dir")
                    .arg(target.path())
                    .stdout(Stdio::null())
                    .status()?;
                if status.success() {
                    times.insert(name, Cell::Measured(vec![started.elapsed().as_nanos() as f64]));
                }
            }
        }
        let title = format!("packages that are built for {what}");
        rows.push(Row { title, unit: Unit::Count, cells: counts });
        let title = format!("building {what} from nothing, without optimization");
        rows.push(Row { title, unit: Unit::BuildTime, cells: times });
    }
    Ok(rows)
}

/// How many packages are built for one, itself included.
fn dependencies(package: &str, manifest: &Path) -> Result<f64, Failure> {
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
        .arg(manifest)
        .output()?;
    let text = String::from_utf8_lossy(&tree.stdout).into_owned();
    let packages: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(packages.len() as f64)
}
