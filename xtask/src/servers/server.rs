//! Why this exists: whatever a server is, it is started, waited for and stopped in the same way. It leads a
//! process group of its own, writes to a log in the cache, keeps its data in a folder that is removed with it, and
//! is dropped with everything that it started.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::packages::cache;

/// For how long, in steps, a server may take to come up: minutes, since one that stopped is not waited for,
/// and those in Python take most of one when all of them begin on a busy machine.
const STEPS_MAX: u32 = 4800;
const STEP: Duration = Duration::from_millis(50);
/// For how long, in steps, it may take to go.
const STOP_STEPS_MAX: u32 = 40;

/// How a server is started.
pub(super) struct Launch {
    pub(super) name: &'static str,
    pub(super) command: Command,
    /// The folder that goes with it, if it writes to one.
    pub(super) scratch: Option<Scratch>,
    /// The variables that tell the tests where it is and what they need to know of it, and their values.
    pub(super) variables: Vec<(&'static str, String)>,
    /// Whether it is ready, and then has what the tests need; not yet; or never.
    pub(super) ready: Box<dyn Fn() -> Result<bool, String>>,
    /// The signal that makes it stop soon.
    pub(super) stop: &'static str,
}

/// What makes most servers stop soon.
pub(super) const TERMINATE: &str = "-TERM";

/// A folder for one run.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Result<Self, String> {
        // Process ids say nothing here: in a namespace of processes each run begins with 1.
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let folder = std::env::temp_dir().join(format!("model-registry-{name}-{random:016x}"));
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Scratch(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that is stopped, with its children, when this is dropped.
pub(super) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    variables: Vec<(&'static str, String)>,
    ready: Box<dyn Fn() -> Result<bool, String>>,
    stop: &'static str,
    /// Dropped last, when nobody writes to it any more.
    _scratch: Option<Scratch>,
}

impl Server {
    /// Starts it and does not wait until it is ready.
    pub(super) fn start(mut launch: Launch) -> Result<Server, String> {
        let log = cache().join(format!("{}.log", launch.name));
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        launch.command.stdin(Stdio::null()).stdout(output).stderr(errors);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut launch.command, 0);
        let child = launch
            .command
            .spawn()
            .map_err(|error| format!("the server {} cannot be started: {error}", launch.name))?;
        Ok(Server {
            name: launch.name,
            child,
            log,
            variables: launch.variables,
            ready: launch.ready,
            stop: launch.stop,
            _scratch: launch.scratch,
        })
    }

    pub(super) fn wait(&mut self) -> Result<(), String> {
        let (name, log) = (self.name, self.log.display());
        for _ in 0..STEPS_MAX {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server {name} stopped: {status}; see {log}"));
            }
            match (self.ready)() {
                Ok(true) => {
                    eprintln!("xtask: the server {name} is ready");
                    return Ok(());
                }
                Ok(false) => std::thread::sleep(STEP),
                Err(problem) => return Err(format!("the server {name}: {problem}; see {log}")),
            }
        }
        Err(format!("the server {name} does not come up; see {log}"))
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }

    fn signal(&self, signal: &str) {
        #[cfg(unix)]
        let _ = Command::new("kill")
            .args([signal, "--", &format!("-{}", self.child.id())])
            .stderr(Stdio::null())
            .status();
    }

    /// Asks it to stop, and does not wait.
    pub(super) fn terminate(&self) {
        self.signal(self.stop);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.terminate();
        for _ in 0..STOP_STEPS_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(STEP);
        }
        // Also what it may have left behind in its group.
        self.signal("-KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens at now, all different.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        *port = listener.local_addr().map_err(|error| error.to_string())?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Sends a request without a body, with these further header lines, and gives the first line of the answer;
/// none if nobody answers yet.
pub(super) fn ask(port: u16, method: &str, path: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\
        {headers}\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}
