//! Why this exists: what a training run was carried out with is known to the machine: to git, to the compiler, to the
//! files that pin packages. Here it is looked up, and whatever cannot be is said to be absent and why: a run must not
//! fail because git is not installed. Nothing is captured that the caller did not name, and each look is bounded in time
//! and size.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use registry_core::Text;
use registry_core::experiment::{
    Absent, GitState, HostFact, RunEnvironment, crates, git_commit, requirements, tool_version,
};

/// How long a tool may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long is waited between two looks at a tool.
const PAUSE: Duration = Duration::from_millis(10);
/// How much a tool may say, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What is to be captured of what a run is carried out with. Nothing, unless it is named.
///
/// ```
/// use registry_core::experiment::HostFact;
/// use registry_files::Capture;
///
/// let environment = Capture::new(".").git().host([HostFact::System, HostFact::Processors]).look();
/// assert_eq!(environment.host[&HostFact::System].as_str(), std::env::consts::OS);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Capture {
    folder: PathBuf,
    git: bool,
    rust: bool,
    python: bool,
    cargo_lock: Option<PathBuf>,
    requirements: Option<PathBuf>,
    host: BTreeSet<HostFact>,
}

impl Capture {
    /// Of what is in this folder: the code, and the files whose paths are relative.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Capture {
            folder: folder.into(),
            git: false,
            rust: false,
            python: false,
            cargo_lock: None,
            requirements: None,
            host: BTreeSet::new(),
        }
    }

    /// The commit of the folder, and whether files that git knows differ from it.
    pub fn git(mut self) -> Self {
        self.git = true;
        self
    }

    /// The version of the Rust compiler.
    pub fn rust(mut self) -> Self {
        self.rust = true;
        self
    }

    /// The version of Python.
    pub fn python(mut self) -> Self {
        self.python = true;
        self
    }

    /// The crates in a `Cargo.lock`.
    pub fn cargo_lock(mut self, path: impl Into<PathBuf>) -> Self {
        self.cargo_lock = Some(path.into());
        self
    }

    /// The packages in a `requirements.txt`, without the parts of addresses that may hold a secret: see
    /// [`requirements`](registry_core::experiment::requirements).
    pub fn requirements(mut self, path: impl Into<PathBuf>) -> Self {
        self.requirements = Some(path.into());
        self
    }

    /// These facts about the machine.
    pub fn host(mut self, facts: impl IntoIterator<Item = HostFact>) -> Self {
        self.host.extend(facts);
        self
    }

    /// Looks. This waits for the tools that are asked, five seconds each at most: on an async runtime, do it where waiting
    /// is allowed.
    pub fn look(&self) -> RunEnvironment {
        let mut found = RunEnvironment::default();
        if self.git {
            found.git = self.git_state(&mut found.absent);
        }
        if self.rust {
            found.rust = kept("rustc", version("rustc", ["rustc"]), &mut found.absent);
        }
        if self.python {
            found.python = kept("python", version("Python", ["python3", "python"]), &mut found.absent);
        }
        let files = [("Cargo.lock", &self.cargo_lock, true), ("requirements.txt", &self.requirements, false)];
        for (name, path, is_lock) in files {
            let Some(path) = path else { continue };
            let read = text_of(&self.folder.join(path)).and_then(|text| {
                let read = if is_lock { crates(&text) } else { requirements(&text) };
                read.map_err(|invalid| invalid.to_string())
            });
            found.files.extend(kept(name, read, &mut found.absent));
        }
        for fact in &self.host {
            let value = fact_of(*fact).and_then(|value| value.parse().map_err(shown));
            if let Some(value) = kept(fact.as_str(), value, &mut found.absent) {
                found.host.insert(*fact, value);
            }
        }
        found
    }

    fn git_state(&self, absent: &mut Vec<Absent>) -> Option<GitState> {
        let head = self.asked_git(&["rev-parse", "HEAD"]);
        let commit = head.and_then(|said| git_commit(&said).map_err(shown));
        let commit = kept("git commit", commit, absent)?;
        let status = self.asked_git(&["status", "--porcelain", "--untracked-files=no"]);
        let is_dirty = kept("git status", status, absent).map(|said| !said.trim().is_empty());
        Some(GitState { commit, is_dirty })
    }

    fn asked_git(&self, words: &[&str]) -> Result<String, String> {
        // What a repository configures to be run is not run, and nothing is written into it.
        let calm = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks"];
        let folder = [OsStr::new("-C"), self.folder.as_os_str()];
        let mut git = Command::new("git");
        // In the language that `NO_REPOSITORY` is written in.
        git.args(folder).args(calm).args(words).env("LC_ALL", "C");
        asked(git)
    }
}

/// What git says outside of a repository.
const NO_REPOSITORY: &str = "not a git repository";

fn shown(problem: impl std::fmt::Display) -> String {
    problem.to_string()
}

/// What was found; what was not is noted.
fn kept<T>(what: &str, found: Result<T, String>, absent: &mut Vec<Absent>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) => {
            let why: String = why.chars().take(500).map(|c| if c.is_control() { ' ' } else { c }).collect();
            if let (Ok(what), Ok(why)) = (what.parse(), why.parse()) {
                absent.push(Absent { what, why });
            }
            None
        }
    }
}

/// The version that the first of these programs says which is there.
fn version<const N: usize>(tool: &str, programs: [&str; N]) -> Result<Text, String> {
    let mut last = "there is no such program".to_owned();
    for program in programs {
        let mut command = Command::new(program);
        command.arg("--version");
        match asked(command) {
            Ok(said) => return tool_version(tool, &said).map_err(shown),
            Err(problem) => last = problem,
        }
    }
    Err(last)
}

/// What a program says, if it ends well and in time.
fn asked(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be started: {error}"))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{program} has no output"));
    };
    let answered = heard(stdout);
    let complained = heard(stderr);
    let wait = |error| format!("{program} cannot be waited for: {error}");
    let (mut said, mut status) = (None, None);
    let mut waited = Duration::ZERO;
    while status.is_none() && waited < ANSWER_MAX {
        match &said {
            None => said = answered.recv_timeout(PAUSE).ok(),
            // It has said too much, and may have more to say.
            Some(Ok(said)) if ANSWER_BYTES_MAX <= said.len() as u64 => break,
            Some(_) => std::thread::sleep(PAUSE),
        }
        if said.is_some() {
            status = child.try_wait().map_err(wait)?;
        }
        waited = waited.saturating_add(PAUSE);
    }
    let is_late = status.is_none() && ANSWER_MAX <= waited;
    let status = match status {
        Some(status) => status,
        None => child.kill().and_then(|()| child.wait()).map_err(wait)?,
    };
    match said {
        None => Err(format!("{program} did not answer in {} s", ANSWER_MAX.as_secs())),
        Some(_) if is_late => Err(format!("{program} did not end in {} s", ANSWER_MAX.as_secs())),
        Some(Err(error)) => Err(format!("what {program} says cannot be read: {error}")),
        Some(Ok(_)) if !status.success() => {
            // What it complains of may name what is nobody's business, so it is not repeated.
            let complaint = complained.recv_timeout(ANSWER_MAX.saturating_sub(waited)).ok();
            match complaint.and_then(Result::ok) {
                Some(said) if String::from_utf8_lossy(&said).contains(NO_REPOSITORY) => {
                    Err("not in a git repository".to_owned())
                }
                _ => Err(format!("{program} ended with {status}")),
            }
        }
        Some(Ok(said)) => String::from_utf8(said).map_err(|_| format!("{program} does not speak UTF-8")),
    }
}

/// What is read from a pipe to its end, or as much of it as a tool may say.
fn heard(pipe: impl Read + Send + 'static) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = pipe.take(ANSWER_BYTES_MAX).read_to_end(&mut said);
        // Nobody listens any more if it took too long.
        let _ = answer.send(read.map(|_| said));
    });
    answered
}

fn text_of(path: &Path) -> Result<String, String> {
    // To open a pipe would wait for whoever writes into it.
    if !std::fs::metadata(path).map_err(shown)?.is_file() {
        return Err("is no file that can be read to its end".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(shown)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(shown)?;
    if FILE_BYTES_MAX < bytes.len() as u64 {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())
}

fn fact_of(fact: HostFact) -> Result<String, String> {
    match fact {
        HostFact::System => Ok(std::env::consts::OS.to_owned()),
        HostFact::Architecture => Ok(std::env::consts::ARCH.to_owned()),
        HostFact::Processors => {
            std::thread::available_parallelism().map(|count| count.to_string()).map_err(shown)
        }
        HostFact::HostName => Ok(gethostname::gethostname().to_string_lossy().into_owned()),
        _ => Err("this version does not know how to look".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn git(folder: &Path, words: &[&str]) {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let done = Command::new("git").arg("-C").arg(folder).args(who).args(words).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    #[test]
    fn the_commit_is_known_and_whether_it_is_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet"]);
        fs::write(folder.path().join("train.py"), "fit()").unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "--quiet", "-m", "first"]);
        let look = || Capture::new(folder.path()).git().look();
        let clean = look();
        let state = clean.git.as_ref().unwrap();
        assert_eq!((state.commit.as_str().len(), state.is_dirty), (40, Some(false)), "{clean:?}");
        fs::write(folder.path().join("notes.txt"), "not known to git").unwrap();
        assert_eq!(look(), clean);
        fs::write(folder.path().join("train.py"), "fit(more)").unwrap();
        assert_eq!(look().git.unwrap().is_dirty, Some(true));
    }

    #[test]
    fn what_is_not_there_is_said_to_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("requirements.txt"), [0xff, 0xfe]).unwrap();
        fs::write(folder.path().join("Cargo.lock"), "x".repeat(5 * 1024 * 1024)).unwrap();
        let found =
            Capture::new(folder.path()).cargo_lock("Cargo.lock").requirements("requirements.txt").look();
        let told: Vec<String> = found.absent.iter().map(|it| format!("{}: {}", it.what, it.why)).collect();
        assert_eq!(
            told,
            ["Cargo.lock: is larger than 4194304 bytes", "requirements.txt: is not text in UTF-8"]
        );
        let outside = Capture::new(folder.path()).git().look();
        assert_eq!(outside.absent.first().map(|it| it.why.as_str()), Some("not in a git repository"));
        let nowhere = Capture::new(folder.path().join("nowhere")).git().requirements("r.txt").look();
        assert_eq!((nowhere.git, nowhere.files.len(), nowhere.absent.len()), (None, 0, 2));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join("requirements.txt")).status().unwrap();
        assert!(made.success());
        fs::create_dir(folder.path().join("Cargo.lock")).unwrap();
        let found =
            Capture::new(folder.path()).cargo_lock("Cargo.lock").requirements("requirements.txt").look();
        assert_eq!(found.absent.len(), 2);
        assert!(found.absent.iter().all(|it| it.why.as_str() == "is no file that can be read to its end"));
    }

    #[test]
    fn only_what_is_named_is_captured() {
        assert!(Capture::new(".").look().is_empty());
        let found = Capture::new(".").host([HostFact::Architecture]).look();
        assert_eq!(found.host.keys().collect::<Vec<_>>(), [&HostFact::Architecture]);
        assert!(found.absent.is_empty());
    }

    #[test]
    fn packages_are_read_from_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("r.txt"), "xgboost==1.7.0\n").unwrap();
        fs::write(folder.path().join("Cargo.lock"), "[[package]]\nname = \"bytes\"\nversion = \"1.12.2\"\n")
            .unwrap();
        let found = Capture::new(folder.path()).cargo_lock("Cargo.lock").requirements("r.txt").rust().look();
        let files: Vec<(&str, &str)> =
            found.files.iter().map(|file| (file.name().as_str(), file.text())).collect();
        assert_eq!(files, [("crates.txt", "bytes 1.12.2\n"), ("requirements.txt", "xgboost==1.7.0\n")]);
        assert!(found.rust.is_some_and(|version| version.as_str().contains('.')));
    }

    #[cfg(unix)]
    #[test]
    fn a_tool_that_does_not_answer_or_does_not_stop_is_not_waited_for() {
        let mut sleeping = Command::new("sleep");
        sleeping.arg("60");
        assert!(asked(sleeping).unwrap_err().contains("did not answer in 5 s"));
        let mut talking = Command::new("yes");
        talking.arg("x");
        assert!(asked(talking).unwrap_err().contains("ended with"));
        // One that closes its output is not waited for any longer.
        let mut silent = Command::new("sh");
        silent.args(["-c", "exec >&-; exec sleep 60"]);
        assert!(asked(silent).unwrap_err().contains("did not end in 5 s"));
        assert!(asked(Command::new("no-such-program")).unwrap_err().contains("cannot be started"));
    }
}
