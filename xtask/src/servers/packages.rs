//! Why this exists: servers, and the peers of the benchmark, come as packages of Python and of Node. Each is installed at
//! one exact version into a folder of its own, once; a file says that it was done completely, and with which list of
//! packages.

use std::ffi::OsStr;
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
        Ok(status) => Err(format!("`{shown}` failed while a package was installed: {status}")),
        Err(error) => Err(format!("`{shown}` is needed to install a package: {error}")),
    }
}

/// The folder of a package, which `fill` fills if that was not done yet, or not with this list.
fn folder(
    package: &str,
    list: &str,
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let name: String =
        package.split(['=', '@']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let folder = cache().join(name);
    let complete = folder.join("complete");
    if !std::fs::read_to_string(&complete).is_ok_and(|installed| installed == list) {
        eprintln!("xtask: installing {package} into {}", folder.display());
        // Until it is done, it is not what an earlier list made of it either.
        let _ = std::fs::remove_file(&complete);
        fill(&folder)?;
        std::fs::write(&complete, list).map_err(|error| format!("{}: {error}", complete.display()))?;
    }
    folder.canonicalize().map_err(|error| error.to_string())
}

/// A Python environment of its own for a package; its folder of programs.
pub(super) fn python(package: &str) -> Result<PathBuf, String> {
    let folder = folder(package, "", |folder| {
        environment(folder)?;
        done(folder.join("bin/pip"), &["install".as_ref(), "--quiet".as_ref(), package.as_ref()])
    })?;
    Ok(folder.join("bin"))
}

/// The same for a package of so many others that their newest versions do not always fit together: exactly
/// what a list says is installed, and nothing is resolved.
pub(crate) fn python_list(package: &str, list: &str) -> Result<PathBuf, String> {
    let folder = folder(package, list, |folder| {
        environment(folder)?;
        let file = folder.join("packages.txt");
        std::fs::write(&file, list).map_err(|error| format!("{}: {error}", file.display()))?;
        let words = ["install", "--quiet", "--no-deps", "--requirement"];
        let mut words: Vec<&OsStr> = words.iter().map(|word| -> &OsStr { word.as_ref() }).collect();
        words.push(file.as_os_str());
        done(folder.join("bin/pip"), &words)
    })?;
    Ok(folder.join("bin"))
}

fn environment(folder: &Path) -> Result<(), String> {
    done("python3", &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), folder.as_os_str()])
}

/// A Node package with what it needs; its folder of modules. Scripts of packages are not run.
pub(super) fn node(package: &str) -> Result<PathBuf, String> {
    let folder = folder(package, "", |folder| {
        let flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        let mut words: Vec<&OsStr> = vec!["install".as_ref(), "--prefix".as_ref(), folder.as_os_str()];
        words.extend(flags.iter().map(|flag| -> &OsStr { flag.as_ref() }));
        words.push(package.as_ref());
        done("npm", &words)
    })?;
    Ok(folder.join("node_modules"))
}
