//! Why this exists: MLflow says the same thing in several ways, and different things in one way. "Already
//! exists" is a 400, a lost race is a 400 with SQL in it, a refusal may be plain text and a missing
//! endpoint a page of HTML. What each means is decided here, once, and so is the question that matters most
//! of a write that failed: may it have been carried out all the same?

use std::fmt;

use registry_core::storage::{StorageError, StorageErrorKind};
use serde::Deserialize;

/// The longest message of a server that is passed on: servers answer with whole pages.
const MESSAGE_CHARS_MAX: usize = 600;

/// What went wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was to be made is there already.
    AlreadyExists,
    /// What was asked for is not there.
    NotFound,
    /// The parameter has another value, and keeps it.
    Taken,
    /// Another writer got in the way in the database; nothing was written.
    Conflict,
    /// The run or the experiment is deleted.
    NotActive,
    /// The server does not accept what was sent.
    Invalid,
    /// The server does not let us.
    Denied,
    /// The server does not have this endpoint, or has it switched off.
    FeatureMissing,
    /// The server, or something before it, failed with this status.
    Server(u16),
    /// There was no answer, or only a part of one.
    Transport,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestError {
    pub(crate) kind: Kind,
    /// Without secrets, and not long.
    pub(crate) message: String,
    /// Whether the request may have been carried out, now or by an earlier attempt, or may yet be.
    pub(crate) doubtful: bool,
}

impl RestError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        RestError { kind, message: message.into(), doubtful: false }
    }

    pub(crate) fn doubtful(mut self, doubtful: bool) -> Self {
        self.doubtful |= doubtful;
        self
    }

    /// What the failure of a read means, or of a step that by itself makes no commit.
    pub(crate) fn failed(self, doing: impl fmt::Display) -> StorageError {
        let kind = match self.kind {
            Kind::Denied => StorageErrorKind::PermissionDenied,
            _ => StorageErrorKind::NotDone,
        };
        StorageError::new(kind, format!("{doing} failed: {}", self.message))
    }

    /// What the failure of the one request that makes a commit means.
    pub(crate) fn append_failed(self, doing: impl fmt::Display) -> StorageError {
        let doubtful = self.doubtful;
        let mut failed = self.failed(doing);
        if doubtful {
            failed.kind = StorageErrorKind::Unknown;
        }
        failed
    }
}

/// What an answer other than a success means.
pub(crate) fn classify(status: u16, body: &str) -> RestError {
    #[derive(Deserialize)]
    struct Json {
        error_code: Option<String>,
        message: Option<String>,
        detail: Option<serde_json::Value>,
    }
    let json: Option<Json> = serde_json::from_str(body).ok();
    let is_json = json.is_some();
    let (code, message) = match json {
        Some(Json { error_code, message, detail }) => {
            let detail = detail.map(|detail| detail.as_str().map_or(detail.to_string(), str::to_owned));
            (error_code.unwrap_or_default(), message.or(detail).unwrap_or_default())
        }
        None => (String::new(), body.to_owned()),
    };
    let message = if is_json { message } else { without_markup(&message) };
    let error = |kind| {
        let shown = one_line(&message);
        let code = if code.is_empty() { String::new() } else { format!(" {code}") };
        RestError::new(kind, format!("the server says {status}{code}: {shown}"))
    };
    match (status, code.as_str()) {
        (_, "RESOURCE_ALREADY_EXISTS") => error(Kind::AlreadyExists),
        (401 | 403, _) | (_, "PERMISSION_DENIED" | "UNAUTHENTICATED") => error(Kind::Denied),
        (_, "FEATURE_DISABLED" | "NOT_IMPLEMENTED" | "ENDPOINT_NOT_FOUND") | (405 | 501, _) => {
            error(Kind::FeatureMissing)
        }
        (_, "RESOURCE_DOES_NOT_EXIST") => error(Kind::NotFound),
        (404, _) if is_json => error(Kind::NotFound),
        (404, _) => error(Kind::FeatureMissing),
        (400, "INVALID_PARAMETER_VALUE") if message.contains("Changing param values is not allowed") => {
            error(Kind::Taken)
        }
        (400, "INVALID_PARAMETER_VALUE") if message.contains("must be in the 'active' state") => {
            error(Kind::NotActive)
        }
        (400, "BAD_REQUEST") if is_lost_race(&message) => error(Kind::Conflict),
        // Whatever else the database said: who knows whether before or after it had written.
        (400, "BAD_REQUEST") => error(Kind::Server(400)).doubtful(true),
        (408 | 429, _) | (500.., _) => error(Kind::Server(status)).doubtful(true),
        (400..=499, _) => error(Kind::Invalid),
        _ => error(Kind::Server(status)).doubtful(true),
    }
}

/// Whether a database's message says that a row was there already, so that nothing was written.
fn is_lost_race(message: &str) -> bool {
    ["IntegrityError", "UniqueViolation", "UNIQUE constraint", "duplicate key", "Duplicate entry"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// The words of a page of HTML; other text as it is.
fn without_markup(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let mut words = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                words.push(' ');
            }
            c if !inside => words.push(c),
            _ => {}
        }
    }
    words
}

/// Text as one line that is not long.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0_usize;
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if MESSAGE_CHARS_MAX <= count {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

/// What must never be shown.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Short ones would blot out ordinary words, and are none.
    pub(crate) fn new(values: impl IntoIterator<Item = String>) -> Self {
        Secrets(values.into_iter().filter(|value| 4 <= value.len()).collect())
    }

    pub(crate) fn blotted(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of MLflow 3.18.0 and 2.22.5 (on SQLite and PostgreSQL), and of what stands before them.
    #[test]
    fn answers_of_real_servers_mean_this() {
        let cases: [(u16, &str, Kind, bool); 21] = [
            (
                400,
                r#"{"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Registered Model (name=m1) already exists.", "sqlstate": "KAM00"}"#,
                Kind::AlreadyExists,
                false,
            ),
            (
                400,
                r#"{"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Experiment(name=reg) already exists. Error: (sqlite3.IntegrityError) UNIQUE"}"#,
                Kind::AlreadyExists,
                false,
            ),
            (
                404,
                r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run with id=00000000000000000000000000000000 not found"}"#,
                Kind::NotFound,
                false,
            ),
            (
                400,
                r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Changing param values is not allowed. Param with key='c2' was already logged with value='a\nb\n' for run ID='1c57370d303542c0926e85c2566b2ec9'. Attempted logging new value 'other'."}"#,
                Kind::Taken,
                false,
            ),
            (
                400,
                r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Changing param values is not allowed. Params were already logged='[{'key': 'p0'}]'"}"#,
                Kind::Taken,
                false,
            ),
            (
                400,
                r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "The run 1c57370d303542c0926e85c2566b2ec9 must be in the 'active' state. Current state is deleted."}"#,
                Kind::NotActive,
                false,
            ),
            (
                400,
                r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid Model Version stage: Canary."}"#,
                Kind::Invalid,
                false,
            ),
            (
                400,
                r#"{"error_code": "BAD_REQUEST", "message": "(sqlite3.IntegrityError) UNIQUE constraint failed: params.key, params.run_uuid\n[SQL: INSERT"}"#,
                Kind::Conflict,
                false,
            ),
            (
                400,
                r#"{"error_code": "BAD_REQUEST", "message": "(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint \"param_pk\""}"#,
                Kind::Conflict,
                false,
            ),
            (
                400,
                r#"{"error_code": "BAD_REQUEST", "message": "(psycopg2.errors.StringDataRightTruncation) value too long"}"#,
                Kind::Server(400),
                true,
            ),
            (401, "You are not authenticated. Please see …", Kind::Denied, false),
            (403, "Permission denied", Kind::Denied, false),
            (403, "Invalid Host header - possible DNS rebinding attack detected", Kind::Denied, false),
            (
                404,
                "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>",
                Kind::FeatureMissing,
                false,
            ),
            (405, "<!doctype html>\n<title>405 Method Not Allowed</title>", Kind::FeatureMissing, false),
            (
                500,
                r#"{"error_code": "FEATURE_DISABLED", "message": "Workspaces are not enabled."}"#,
                Kind::FeatureMissing,
                false,
            ),
            (501, r#"{"error_code": "NOT_IMPLEMENTED", "message": ""}"#, Kind::FeatureMissing, false),
            (500, r#"{"error_code": "INTERNAL_ERROR", "message": "x"}"#, Kind::Server(500), true),
            (503, r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "x"}"#, Kind::Server(503), true),
            (504, "<html>gateway timeout</html>", Kind::Server(504), true),
            (302, "", Kind::Server(302), true),
        ];
        for (status, body, kind, doubtful) in cases {
            let error = classify(status, body);
            assert_eq!((error.kind, error.doubtful), (kind, doubtful), "{status} {body}");
        }
    }

    #[test]
    fn pages_become_one_short_line() {
        let page = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not\nFound</h1>\n";
        assert_eq!(classify(404, page).message, "the server says 404: 404 Not Found Not Found");
        assert!(classify(500, &"x ".repeat(10_000)).message.chars().count() < 650);
        assert_eq!(
            classify(400, r#"{"detail":"Invalid path"}"#).message,
            "the server says 400: Invalid path"
        );
    }

    #[test]
    fn only_what_may_have_been_done_is_unknown() {
        let unknown = classify(502, "").append_failed("writing");
        assert_eq!(unknown.kind, StorageErrorKind::Unknown);
        let denied = classify(403, "Permission denied");
        assert_eq!(denied.clone().append_failed("writing").kind, StorageErrorKind::PermissionDenied);
        // Refused now, but an earlier attempt may have gone through.
        assert_eq!(denied.doubtful(true).append_failed("writing").kind, StorageErrorKind::Unknown);
        assert_eq!(classify(400, "no").append_failed("writing").kind, StorageErrorKind::NotDone);
        assert_eq!(classify(502, "").failed("reading").kind, StorageErrorKind::NotDone);
    }

    #[test]
    fn secrets_are_blotted_out() {
        let secrets = Secrets::new(["hunter2".to_owned(), String::new(), "a".to_owned()]);
        assert_eq!(secrets.blotted("key hunter2 and a"), "key … and a");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
