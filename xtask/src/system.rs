//! Why this exists: some of what is needed comes as a package of the system. It is installed if it is missing, which only
//! root can, and only where packages are Debian's.

use std::process::Command;

/// Asks the system's package manager for a package. What went wrong is told; whether what was needed is there now is
/// for the caller to see.
pub(crate) fn install(package: &str) -> String {
    eprintln!("xtask: installing the package {package} with apt-get");
    let steps: [&[&str]; 2] =
        [&["update", "--quiet=2"], &["install", "--yes", "--quiet=2", "--no-install-recommends", package]];
    let mut problem = String::new();
    for words in steps {
        let ran = Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive").output();
        match ran {
            Ok(output) if output.status.success() => {}
            Ok(output) => problem = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => problem = error.to_string(),
        }
    }
    problem
}
