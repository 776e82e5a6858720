//! Why this exists: most training is a script that nobody wants to change. A command is run as a run: it ends as the
//! command does, and what the command wants to say of itself it says with `registry experiment log` and the like, which
//! find the run in the environment.
//!
//! Who interrupts this program means the command. `SIGTERM` is passed on at once; `SIGINT` is not, since a terminal sends
//! it to both. A command that does not end within ten seconds is asked to by `SIGTERM`, and after ten more it is killed,
//! as it is at once when a second signal comes. The run is recorded as aborted.

use std::ffi::OsString;
use std::future::Future;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use registry_core::experiment::RunOutcome;
use registry_core::{
    By, Error, ExperimentName, Outcome, Registry, RegistryExt as _, Rejection, RunName, Text,
};
use serde::Serialize;
use tokio::process::{Child, Command};

use super::{Beginning, tell};
use crate::cli::Writing;
use crate::commands::{Session, warn};
use crate::failure::{Failure, Kind};
use crate::output::one_line;
use crate::place::Purpose;

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// `registry experiment run xgboost-v1 --increment 0042 -- python train.py`
#[derive(Debug, Args)]
pub(crate) struct RunCommand {
    /// The experiment; a new name makes a new one
    experiment: ExperimentName,
    #[command(flatten)]
    beginning: Beginning,
    #[command(flatten)]
    writing: Writing,
    /// The command and its arguments, behind `--`. It finds the run in REGISTRY_RUN
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How it went, for programs.
#[derive(Serialize)]
struct Went<'a> {
    run: &'a RunName,
    outcome: &'a RunOutcome,
    exit_code: u8,
}

impl RunCommand {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let started = self.beginning.started()?;
        let keep_alive = started.lease.duration() / 3;
        let registry = session.open(if by.dry_run { Purpose::Read } else { Purpose::Begin }).await?;
        let begun = registry.start_run(&by, &self.experiment, started).await?;
        if by.dry_run {
            return tell(session, &begun.run, &begun.receipt);
        }
        let run = begun.run;
        if let Outcome::Repeated(_) = begun.receipt.outcome {
            let message = format!(
                "this request id has started {run} before, so the command was not started; use a new id to run it \
                 again, or see `registry experiment show {run}`"
            );
            return Err(Failure::new(Kind::Conflict, message));
        }
        let by = By { request_id: None, expected: None, ..by };
        let mut signals = Signals::new()?;
        let (program, arguments) = self.command.split_first().ok_or_else(no_command)?;
        let mut command = Command::new(program);
        command.args(arguments).env("REGISTRY_RUN", run.to_string()).env("REGISTRY_ACTOR", by.actor.as_str());
        if let Some(place) = session.place() {
            command.env("REGISTRY_URL", place);
        }
        if session.out.json {
            // The standard output is for the answer.
            command.stdout(Stdio::from(std::io::stderr()));
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let name = program.to_string_lossy();
                let message = format!("the command {} cannot be started: {error}", one_line(&name));
                let reason = text(&message)?;
                ended(registry.as_ref(), &by, &run, &RunOutcome::Failed { reason }).await?;
                return Err(Failure::new(Kind::Invalid, message));
            }
        };
        let alive = alive(registry.as_ref(), &by, &run, keep_alive);
        let (status, signal) = watched(&mut child, &mut signals, alive).await?;
        let code = exit_code(status, signal);
        let outcome = match signal {
            Some(signal) => {
                RunOutcome::Aborted { reason: text(&format!("interrupted by {}", signal.as_str()))? }
            }
            None if status.success() => RunOutcome::Finished,
            None => RunOutcome::Failed { reason: text(&format!("the command ended with {status}"))? },
        };
        ended(registry.as_ref(), &by, &run, &outcome).await?;
        if session.out.json {
            session.out.document(&Went { run: &run, outcome: &outcome, exit_code: code })?;
        } else {
            let why = outcome.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            let name = session.out.paint().bold(&run.to_string());
            session.out.line(format!("{name} {outcome}{why}"))?;
        }
        if code == 0 { Ok(()) } else { Err(Failure::Command(code)) }
    }
}

fn no_command() -> Failure {
    Failure::new(Kind::Invalid, "there is no command behind `--`")
}

fn text(words: &str) -> Result<Text, Failure> {
    let short: String = words.chars().take(Text::CHARS_MAX).collect();
    Ok(one_line(&short).parse()?)
}

/// Says now and then that the run is alive. A sign that cannot be given is no reason to end the command.
async fn alive(registry: &dyn Registry, by: &By, run: &RunName, every: Duration) -> Failure {
    loop {
        tokio::time::sleep(every).await;
        match registry.continue_run(by, run).await {
            // The command ended the run itself, and goes on.
            Ok(_) | Err(Error::Rejected(Rejection::RunEnded { .. })) => {}
            Err(error) => warn(&format!("no sign of life could be recorded for {run}: {error}")),
        }
    }
}

/// Records how the run ended, unless the command did.
async fn ended(registry: &dyn Registry, by: &By, run: &RunName, outcome: &RunOutcome) -> Result<(), Failure> {
    match registry.end_run(by, run, outcome.clone()).await {
        Ok(_) => Ok(()),
        Err(Error::Rejected(Rejection::RunEnded { outcome, .. })) => {
            warn(&format!("the command has recorded itself that {run} {outcome}"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What interrupts this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Interrupt,
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal"))]
    Terminate,
}

impl Signal {
    fn as_str(self) -> &'static str {
        match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        }
    }

    /// The number by which shells tell it.
    fn number(self) -> u8 {
        match self {
            Signal::Interrupt => 2,
            Signal::Terminate => 15,
        }
    }
}

/// Waits for the end of the command, and passes on what interrupts this program.
async fn watched(
    child: &mut Child,
    signals: &mut Signals,
    alive: impl Future<Output = Failure>,
) -> Result<(ExitStatus, Option<Signal>), Failure> {
    let mut alive = std::pin::pin!(alive);
    let mut first = None;
    let mut was_asked = false;
    loop {
        let patience = async {
            match first {
                Some(_) => tokio::time::sleep(GRACE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A terminal interrupts both at once: a command that ended by that was interrupted, and did not fail.
            biased;
            signal = signals.next() => {
                if first.is_some() {
                    kill(child);
                } else if signal == Signal::Terminate {
                    terminate(child);
                    was_asked = true;
                }
                first.get_or_insert(signal);
            }
            status = child.wait() => {
                let status = status.map_err(|error| {
                    Failure::new(Kind::Unavailable, format!("the command cannot be waited for: {error}"))
                })?;
                return Ok((status, first));
            }
            () = patience => {
                if was_asked {
                    kill(child);
                } else {
                    terminate(child);
                    was_asked = true;
                }
            }
            failure = &mut alive => return Err(failure),
        }
    }
}

/// One that is over already need not be killed.
fn kill(child: &mut Child) {
    let _ = child.start_kill();
}

#[cfg(unix)]
fn terminate(child: &mut Child) {
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        // One that is over already need not be asked.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    kill(child);
}

#[cfg(unix)]
fn exit_code(status: ExitStatus, signal: Option<Signal>) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let of_signal = |number: u8| 128_u8.saturating_add(number);
    match (signal, status.code(), status.signal()) {
        (Some(signal), ..) => of_signal(signal.number()),
        (None, Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, None, Some(number)) => of_signal(u8::try_from(number).unwrap_or(0)),
        (None, None, None) => 1,
    }
}

#[cfg(not(unix))]
fn exit_code(status: ExitStatus, signal: Option<Signal>) -> u8 {
    match signal {
        Some(signal) => 128_u8.saturating_add(signal.number()),
        None if status.success() => 0,
        None => status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1),
    }
}

/// The signals as they come.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Kind::Unavailable, format!("signals cannot be listened to: {error}"))
            })
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// The signals as they come.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A terminal sends the signal to both, and the command may be over before it is heard here.
    #[tokio::test]
    async fn a_command_that_ended_by_an_interrupt_was_interrupted() {
        for _ in 0..16 {
            let mut signals = Signals::new().unwrap();
            let mut child = Command::new("true").spawn().unwrap();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (_, signal) = watched(&mut child, &mut signals, std::future::pending()).await.unwrap();
            assert_eq!(signal, Some(Signal::Interrupt));
        }
    }
}
