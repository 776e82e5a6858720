//! What the workers of this folder have in common: they are told on their input what to do, and answer how long it took.
//! The protocol is written down in `python/worker.py`.

use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use serde_json::{Value, json};

/// Whatever goes wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many entries a page of a list has.
pub const PAGE: usize = 100;

/// What became of a task.
pub enum Answer {
    /// It was done; there was nothing to time.
    Done,
    /// How long it took, and how many entries were seen.
    Timed { ns: u128, seen: Option<usize> },
    /// There is nothing of the kind.
    Cannot(&'static str),
    /// How much memory is in use.
    Memory(u64),
}

/// One that is measured.
pub trait Contender {
    /// Does what it is told.
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure>;
}

/// Answers until the input ends.
pub fn serve(contender: &mut dyn Contender) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let words: Vec<Value> = serde_json::from_str(&line?)?;
        let Some((task, arguments)) = words.split_first() else { continue };
        let task = task.as_str().unwrap_or_default();
        let answer = match task {
            "memory" => memory().map(Answer::Memory),
            _ => contender.work(task, arguments),
        };
        let answer = match answer {
            Ok(Answer::Done) => json!({}),
            Ok(Answer::Timed { ns, seen }) => json!({"ns": ns as u64, "seen": seen}),
            Ok(Answer::Cannot(reason)) => json!({"cannot": reason}),
            Ok(Answer::Memory(bytes)) => json!({"bytes": bytes}),
            Err(error) => json!({"failed": error.to_string()}),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// What this process has in memory, in bytes.
pub fn memory() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

/// The argument at that place, as text.
pub fn text(arguments: &[Value], place: usize) -> Result<&str, Failure> {
    arguments.get(place).and_then(Value::as_str).ok_or_else(|| "an argument is missing".into())
}

/// The argument at that place, as a number.
pub fn number(arguments: &[Value], place: usize) -> Result<u64, Failure> {
    arguments.get(place).and_then(Value::as_u64).ok_or_else(|| "an argument is missing".into())
}

/// How long some work takes.
pub fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, u128), Failure> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed().as_nanos()))
}
