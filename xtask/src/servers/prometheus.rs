//! Prometheus as Debian packages it. Its programs are taken out of the package and not installed, since installed it
//! would be a service of the machine. It needs nothing else, and asks this machine only.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::cache;
use super::server::{Launch, Scratch, Server, TERMINATE, ask, free_ports};

const PACKAGE: &str = "prometheus=2.42.0+ds-5+b6";
/// Its folder in the cache.
const FOLDER: &str = "prometheus-2.42.0";

fn program() -> PathBuf {
    cache().join(FOLDER).join("usr/bin/prometheus")
}

fn done(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Takes the package out of the system's archive, where packages are Debian's.
pub(super) fn install() -> Result<(), String> {
    if program().is_file() {
        return Ok(());
    }
    eprintln!("xtask: unpacking {PACKAGE} into {}", cache().join(FOLDER).display());
    let problem = |problem: String| {
        format!(
            "the tests of monitoring need Prometheus, and `apt-get download {PACKAGE}` did not bring it: {problem}"
        )
    };
    let scratch = Scratch::new("prometheus")?;
    let download = || {
        let mut command = Command::new("apt-get");
        done(command.args(["download", "--quiet=2", PACKAGE]).current_dir(scratch.path()))
    };
    if download().is_err() {
        // The list of packages may be old, or not there; only root can bring it up to date.
        let _ = done(Command::new("apt-get").args(["update", "--quiet=2"]));
        download().map_err(problem)?;
    }
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = std::fs::read_dir(scratch.path())
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(is_package)
        .ok_or_else(|| problem("there is no package".to_owned()))?;
    let unpacked = scratch.path().join(FOLDER);
    done(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked)).map_err(problem)?;
    copied(&unpacked.join("usr/bin/prometheus"), &program())
}

fn copied(from: &Path, to: &Path) -> Result<(), String> {
    let shown = |error: std::io::Error| format!("{}: {error}", to.display());
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(shown)?;
    }
    // Under its own name when all of it is there.
    let part = to.with_extension("part");
    std::fs::copy(from, &part).and_then(|_| std::fs::rename(&part, to)).map_err(shown)
}

/// One that is told by a file, which the tests write, whom to ask for numbers.
pub(super) fn start() -> Result<Vec<Server>, String> {
    let [port] = free_ports()?;
    let scratch = Scratch::new("prometheus")?;
    let targets = scratch.path().join("targets");
    std::fs::create_dir(&targets).map_err(|error| format!("{}: {error}", targets.display()))?;
    let settings = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n  - job_name: tests\n    file_sd_configs:\n      \
         - files: [{:?}]\n        refresh_interval: 1s\n",
        targets.join("*.json").display().to_string()
    );
    let file = scratch.path().join("prometheus.yml");
    std::fs::write(&file, settings).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new(program().canonicalize().map_err(|error| error.to_string())?);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", scratch.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=warn")
        .current_dir(scratch.path());
    let variables = vec![
        ("REGISTRY_TEST_PROMETHEUS", format!("http://127.0.0.1:{port}")),
        ("REGISTRY_TEST_PROMETHEUS_TARGETS", targets.display().to_string()),
    ];
    let server = Server::start(Launch {
        name: "prometheus",
        command,
        scratch: Some(scratch),
        variables,
        stop: TERMINATE,
        ready: Box::new(move || {
            Ok(ask(port, "GET", "/-/ready", "").is_some_and(|answer| answer.contains(" 200 ")))
        }),
    })?;
    Ok(vec![server])
}
