//! Why this exists: one that is measured is a process of its own, so that its memory is its own, and a crash is an answer
//! like others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bench_protocol::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How one is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Whether it shows what the machine can do, rather than being a registry.
    pub(crate) is_limit: bool,
}

/// What it said.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) ns: Option<u64>,
    pub(crate) seen: Option<usize>,
    pub(crate) bytes: Option<u64>,
    pub(crate) cannot: Option<String>,
    pub(crate) failed: Option<String>,
}

pub(crate) struct Contender {
    pub(crate) launch: Launch,
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Contender {
    pub(crate) fn start(launch: &Launch, folder: &Path, log: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut process = Command::new(&launch.program)
            .args(&launch.arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", launch.name))?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("no output")?;
        Ok(Contender { launch: launch.clone(), process, input, output: BufReader::new(output) })
    }

    /// Tells it what to do; [`Contender::answer`] waits for it.
    pub(crate) fn tell(&mut self, task: &str, arguments: &[Value]) -> Result<(), Failure> {
        let words: Vec<Value> = std::iter::once(task.into()).chain(arguments.iter().cloned()).collect();
        let input = self.input.as_mut().ok_or("no input")?;
        writeln!(input, "{}", Value::from(words))?;
        Ok(input.flush()?)
    }

    pub(crate) fn answer(&mut self) -> Result<Answer, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let status = self.process.wait()?;
            return Ok(Answer { failed: Some(format!("ended: {status}")), ..Answer::default() });
        }
        Ok(serde_json::from_str(&line)?)
    }

    pub(crate) fn ask(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        self.tell(task, arguments)?;
        self.answer()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Without input it ends by itself.
        self.input = None;
        let _ = self.process.wait();
    }
}
