//! The servers that tests run against: pinned, installed once into a cache, started on a free port of this
//! machine, reachable from nowhere else, and gone when the tests are over.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The S3 server. Of those that a package brings, it is one whose conditional writes have exactly one winner,
/// also under races. It is not Amazon's: it believes any signature, and keeps everything in memory.
const MINISTACK: &str = "ministack==1.5.33";
/// The bucket that the tests use.
const BUCKET: &str = "registry-test";
/// For how long, in steps, a server may take to come up.
const STEPS_MAX: u32 = 300;
const STEP: Duration = Duration::from_millis(100);

/// A server that is stopped when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// The variable that tells the tests where it is, and its value.
    pub(crate) variable: (&'static str, String),
}

impl Drop for Server {
    fn drop(&mut self) {
        // It leads a process group of its own, so that its children go with it.
        #[cfg(unix)]
        let _ = Command::new("kill").args(["-TERM", "--", &format!("-{}", self.child.id())]).status();
        std::thread::sleep(STEP);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where servers are installed.
fn cache() -> PathBuf {
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

/// A Python environment of its own for a package; its folder of programs.
fn python(package: &str) -> Result<PathBuf, String> {
    let folder = cache().join(package.replace("==", "-"));
    let complete = folder.join("complete");
    let programs = folder.join("bin");
    if !complete.exists() {
        eprintln!("xtask: installing {package} into {}", folder.display());
        done("python3", &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), folder.as_os_str()])?;
        done(programs.join("pip"), &["install".as_ref(), "--quiet".as_ref(), package.as_ref()])?;
        File::create(&complete).map_err(|error| error.to_string())?;
    }
    programs.canonicalize().map_err(|error| error.to_string())
}

/// Installs what is not installed yet.
pub(crate) fn install() -> Result<(), String> {
    python(MINISTACK).map(drop)
}

/// A port that nobody listens at now.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Sends a request without a body and gives the first line of the answer.
fn ask(port: u16, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\
        Authorization: AWS4-HMAC-SHA256 Credential=made-up-key/20240101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=00\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// An S3 server with an empty bucket.
pub(crate) fn s3() -> Result<Server, String> {
    let program = python(MINISTACK)?.join("ministack");
    let port = free_port()?;
    let log = cache().join("ministack.log");
    let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(&program);
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child =
        command.spawn().map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let mut server = Server { child, variable: ("REGISTRY_TEST_S3", format!("http://127.0.0.1:{port}")) };
    for _ in 0..STEPS_MAX {
        if let Ok(answer) = ask(port, "PUT", &format!("/{BUCKET}")) {
            return match answer.contains(" 200 ") {
                true => Ok(server),
                false => Err(format!("the S3 server does not make a bucket: {answer}")),
            };
        }
        if let Ok(Some(status)) = server.child.try_wait() {
            return Err(format!("the S3 server stopped: {status}; see {}", log.display()));
        }
        std::thread::sleep(STEP);
    }
    Err(format!("the S3 server does not come up; see {}", log.display()))
}
