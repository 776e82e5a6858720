//! The command line of the model registry. See `registry --help`.
//!
//! Where to look: `cli.rs` is what can be typed; `commands/` does it, a file for each group of
//! commands; `view.rs` is what programs read and `words.rs` what people read; `card/` reads model cards.
//!
//! **Architecture Invariants:** no rule of the registry is here, only questions to it and its answers; no
//! command decides on an exit code (`failure.rs` does); nothing but `output.rs` writes to the standard
//! output.

mod card;
mod cli;
mod commands;
mod failure;
mod identity;
mod input;
mod output;
mod outside;
mod place;
mod progress;
mod table;
mod view;
mod words;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::failure::{Failure, Kind};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => {
            let json = cli.global.json;
            match run(cli) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => tell(&failure, json),
            }
        }
        Err(error) => usage(&error, arguments.iter().any(|argument| argument == "--json")),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Unavailable, format!("the program cannot start: {error}")))?;
    runtime.block_on(commands::run(cli))
}

/// Says what went wrong, where nobody reads the error output that is no further error.
fn tell(failure: &Failure, json: bool) -> ExitCode {
    let Some((kind, message)) = failure.told() else { return ExitCode::from(failure.quiet_exit_code()) };
    let mut stderr = anstream::stderr();
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let _ = if json {
        writeln!(stderr, "{}", failure::as_json(kind, &message, failure.gates()))
    } else {
        writeln!(stderr, "{style}error:{style:#} {}", output::harmless(&message))
    };
    ExitCode::from(kind.exit_code())
}

/// What the parser of the command line has to say: a mistake, or the help that was asked for.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_help || !json {
        let _ = error.print();
    } else {
        let text = error.render().to_string();
        let message = text.split("\n\nUsage:").next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message).trim_end();
        let _ = writeln!(std::io::stderr(), "{}", failure::as_json(Kind::Invalid, message, &[]));
    }
    if is_help { ExitCode::SUCCESS } else { ExitCode::from(Kind::Invalid.exit_code()) }
}
