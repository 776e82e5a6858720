//! Why this exists: a comparison is only worth something if whoever reads it can run it again. So one command installs
//! the peers at pinned versions, builds what measures them, and measures, where there is no network but this machine's
//! own: nobody reports home, and no cloud client goes looking for credentials.

use std::path::{Path, PathBuf};

use crate::servers::{programs_of_mlflow, python_list};
use crate::{cargo, isolation, run};

/// Where what is only built to be measured is built.
const TARGET: &str = "target/bench";

/// Whether what measures this registry still fits it. What measures the peers fits versions that do not change.
pub(crate) fn check() -> Result<(), String> {
    let place = ["--manifest-path", "bench/Cargo.toml"];
    cargo(&[&["fmt", "--check"], &place[..]].concat())?;
    let words = ["--all-targets", "--locked", "--target-dir", TARGET, "--", "--deny", "warnings"];
    cargo(&[&["clippy"], &place[..], &words[..]].concat())
}

/// The lists are exact; nothing is resolved.
fn peers() -> Result<[PathBuf; 3], String> {
    Ok([
        programs_of_mlflow()?,
        python_list("modelstore==0.0.82", include_str!("../../bench/python/modelstore.txt"))?,
        python_list("gto==1.10.1", include_str!("../../bench/python/gto.txt"))?,
    ])
}

fn build() -> Result<(), String> {
    cargo(&["build", "--release", "--package", "registry-cli"])?;
    for manifest in ["bench/Cargo.toml", "bench/aprender/Cargo.toml"] {
        cargo(&["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", TARGET])?;
    }
    Ok(())
}

/// What needs the network first, then the measuring where there is none. Building waits for the processors, and
/// installing for the disk and the network.
pub(crate) fn bench() -> Result<(), String> {
    std::thread::scope(|scope| {
        let installing = scope.spawn(peers);
        build()?;
        installing.join().map_err(|_| "installing the peers broke off".to_owned())?
    })?;
    isolation::run(&["bench", "--built"])
}

/// Measures, and writes the page.
pub(crate) fn bench_built() -> Result<(), String> {
    let [mlflow, modelstore, gto] = peers()?.map(|programs| programs.join("python").display().to_string());
    let built = Path::new(TARGET).join("release");
    let at = |name: &str| built.join(name).display().to_string();
    run(
        &at("registry-bench"),
        &["docs"],
        &[
            ("BENCH_MLFLOW_PYTHON", &mlflow),
            ("BENCH_MODELSTORE_PYTHON", &modelstore),
            ("BENCH_GTO_PYTHON", &gto),
            ("BENCH_REGISTRY", "target/release/registry"),
            ("BENCH_APRENDER", &at("bench-aprender")),
            ("CARGO_NET_OFFLINE", "true"),
            ("MLFLOW_DISABLE_TELEMETRY", "true"),
            ("DO_NOT_TRACK", "true"),
        ],
    )
}
