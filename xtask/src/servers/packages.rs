//! Why this exists: servers come as packages of Python and of Node. Each is installed at one exact version into a
//! folder of its own, once; a file says that it was done completely.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where servers are installed, and where they write their logs.
pub(super) fn cache() -> PathBuf {
    match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => Path::new(&cache).join("model-registry"),
        _ => Path::new("target").join("servers"),
    }
}

fn done(program: impl AsRef<OsStr>, words: &[&OsStr]) -> Result<(), String> {
    let program = program.as_ref();
    let shown = program.to_string_lossy().into_owned();
    match Command::new(program).args(words).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed while a server was installed: {status}")),
        Err(error) => Err(format!("`{shown}` is needed to install a server: {error}")),
    }
}

/// The folder of a package, which `fill` fills if that was not done yet.
fn folder(package: &str, fill: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let name: String =
        package.split(['=', '@']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let folder = cache().join(name);
    let complete = folder.join("complete");
    if !complete.exists() {
        eprintln!("xtask: installing {package} into {}", folder.display());
        fill(&folder)?;
        File::create(&complete).map_err(|error| error.to_string())?;
    }
    folder.canonicalize().map_err(|error| error.to_string())
}

/// A Python environment of its own for a package; its folder of programs.
pub(super) fn python(package: &str) -> Result<PathBuf, String> {
    let folder = folder(package, |folder| {
        done("python3", &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), folder.as_os_str()])?;
        done(folder.join("bin/pip"), &["install".as_ref(), "--quiet".as_ref(), package.as_ref()])
    })?;
    Ok(folder.join("bin"))
}

/// A Node package with what it needs; its folder of modules. Scripts of packages are not run.
pub(super) fn node(package: &str) -> Result<PathBuf, String> {
    let folder = folder(package, |folder| {
        let flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        let mut words: Vec<&OsStr> = vec!["install".as_ref(), "--prefix".as_ref(), folder.as_os_str()];
        words.extend(flags.iter().map(|flag| -> &OsStr { flag.as_ref() }));
        words.push(package.as_ref());
        done("npm", &words)
    })?;
    Ok(folder.join("node_modules"))
}
