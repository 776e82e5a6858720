//! PostgreSQL as the system packages it, for servers that keep their data in one. Each run has a cluster of its
//! own, which trusts whoever reaches its port; it runs as a user who is not root, since it refuses to be that,
//! and forgets everything if the machine stops.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{Launch, Scratch, Server, free_ports};
use crate::system;

const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_isready"];
const SUPERUSER: &str = "mlflow";

/// The folder of its programs. Systems that let many versions be installed keep them out of the search path.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(said) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&said.stdout).trim()));
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&paths) {
        // A program in the path may be a link to where all of them are.
        if let Ok(program) = folder.join("initdb").canonicalize() {
            folders.extend(program.parent().map(Path::to_owned));
        }
    }
    let mut packaged: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    packaged.sort();
    folders.extend(packaged.into_iter().rev());
    folders.into_iter().find(|folder| PROGRAMS.iter().all(|program| folder.join(program).is_file()))
}

/// Installs the system's package if there is none, which only root can, and only where packages are Debian's.
pub(super) fn install() -> Result<(), String> {
    if programs().is_some() {
        return Ok(());
    }
    let problem = system::install("postgresql");
    match programs() {
        Some(_) => Ok(()),
        None => Err(format!(
            "the tests of MLflow need PostgreSQL, and `apt-get install postgresql` did not bring it: {problem}; \
             install PostgreSQL 13 or later with what the system has for that, so that `pg_config --bindir` or \
             the search path leads to initdb, postgres and pg_isready"
        )),
    }
}

/// The ways to be somebody else than root, of whom only the number counts: as root; and as root of a namespace
/// where there are no other users, with a namespace within that calls the same user otherwise.
const WAYS: [&[&str]; 2] = [
    &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"],
    &["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"],
];

/// Who owns what a way makes, where that is not who runs this.
const NOBODY: &str = "65534";

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout.trim_ascii() == b"0")
}

/// Makes a folder theirs who use this way. In a namespace without other users that cannot be done, and there it
/// is theirs already.
fn give(folder: &Path, way: &[&str]) {
    if way.first() == Some(&"setpriv") {
        let _ = Command::new("chown").arg(NOBODY).arg(folder).status();
    }
}

fn run(way: &[&str], program: PathBuf) -> Command {
    match way {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

fn way() -> Result<&'static [&'static str], String> {
    if !is_root() {
        return Ok(&[]);
    }
    let works = |way: &&&[&str]| run(way, "true".into()).output().is_ok_and(|ran| ran.status.success());
    WAYS.iter().find(works).copied().ok_or_else(|| {
        "PostgreSQL does not run as root, and neither `setpriv` nor `unshare` makes somebody else of root here; \
         run this as another user"
            .to_owned()
    })
}

/// A cluster that is starting, and the address of its one database.
pub(super) fn start() -> Result<(Server, String), String> {
    let programs = programs().ok_or("PostgreSQL is not on this machine any more")?;
    let [port] = free_ports()?;
    let scratch = Scratch::new("postgresql")?;
    let way = way()?;
    give(scratch.path(), way);
    let data = scratch.path().join("data");

    let made = run(way, programs.join("initdb"))
        .args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"])
        .args(["--no-sync", "--pgdata"])
        .arg(&data)
        .current_dir(scratch.path())
        .output()
        .map_err(|error| format!("`initdb` cannot be started: {error}"))?;
    if !made.status.success() {
        return Err(format!("`initdb` failed: {}", String::from_utf8_lossy(&made.stderr)));
    }

    let mut command = run(way, programs.join("postgres"));
    command.arg("-D").arg(&data).current_dir(scratch.path());
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        // Sockets in the file system would be in a folder that others use.
        "unix_socket_directories=",
        "max_connections=100",
        "shared_buffers=32MB",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
    ] {
        command.args(["-c", setting]);
    }
    let ready = programs.join("pg_isready");
    let server = Server::start(Launch {
        name: "postgresql",
        command,
        scratch: Some(scratch),
        variables: Vec::new(),
        ready: Box::new(move || {
            let asked = Command::new(&ready)
                .args(["--quiet", "--username", SUPERUSER, "--dbname", "postgres", "--host", "127.0.0.1"])
                .args(["--port", &port.to_string()])
                .status()
                .map_err(|error| format!("`pg_isready` cannot be started: {error}"))?;
            Ok(asked.success())
        }),
        // When terminated, it waits for all connections to be closed; when interrupted, it closes them.
        stop: "-INT",
    })?;
    Ok((server, format!("postgresql://{SUPERUSER}@127.0.0.1:{port}/postgres")))
}
