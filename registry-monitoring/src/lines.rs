//! Why this exists: where programs already gather what a service writes to its output, that is the shortest way to
//! whoever is on call: a line for each finding, for programs or for people.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use registry_core::monitor::{Finding, Notify};

use crate::notification::Notification;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// A [`Notification`] in JSON.
    Json,
    /// A time and a sentence.
    Sentence,
}

/// Writes a line for each finding.
pub struct Lines<W> {
    form: Form,
    output: Mutex<W>,
}

impl Lines<std::io::Stdout> {
    /// To the standard output.
    pub fn to_stdout(form: Form) -> Self {
        Lines::new(form, std::io::stdout())
    }
}

impl<W: Write + Send> Lines<W> {
    /// To anywhere.
    pub fn new(form: Form, output: W) -> Self {
        Lines { form, output: Mutex::new(output) }
    }
}

#[async_trait]
impl<W: Write + Send> Notify for Lines<W> {
    async fn notify(&self, finding: &Finding) -> Result<(), String> {
        let notification = Notification::from(finding);
        let line = match self.form {
            Form::Json => notification.json(),
            Form::Sentence => format!("{} {notification}", notification.time),
        };
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece, so that lines of several threads do not mix.
        let written = output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush());
        written.map_err(|error| format!("the line could not be written: {error}"))
    }
}
