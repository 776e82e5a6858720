//! What the tests share: a folder of their own, the real binary in it, and redaction of what differs
//! from run to run.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part")]

pub(crate) mod receiver;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with a registry in `registry` and files in `work`, gone at the end.
pub(crate) struct World {
    folder: tempfile::TempDir,
    url: Option<String>,
}

/// All that a registry holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    commits: Option<i64>,
    blobs: Vec<(PathBuf, u64)>,
}

impl Stored {
    /// The same with so many commits more.
    pub(crate) fn and_commits(self, more: i64) -> Stored {
        Stored { commits: self.commits.map(|commits| commits + more), ..self }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) fn new() -> World {
        let world = World { folder: tempfile::tempdir().unwrap(), url: None };
        std::fs::create_dir(world.work()).unwrap();
        world
    }

    /// The same, with the registry at that URL.
    pub(crate) fn at(self, url: String) -> World {
        World { url: Some(url), ..self }
    }

    /// A registry in a folder that is used like a bucket.
    pub(crate) fn in_a_folder_of_objects() -> World {
        let world = World::new();
        let url = format!("file://{}", world.registry().display());
        world.at(url)
    }

    /// A registry in a bucket of the S3 server that `cargo xtask test` starts.
    #[cfg(feature = "servers")]
    pub(crate) fn in_a_bucket() -> World {
        let endpoint = address("REGISTRY_TEST_S3");
        World::new().at(format!(
            "s3://registry-test/cli-{}?endpoint={endpoint}&allow_http=true&region=us-east-1\
             &access_key_id=made-up-key&secret_access_key=made-up-secret",
            unique()
        ))
    }

    /// A registry on an MLflow server that `cargo xtask test` starts, where others may see it.
    #[cfg(feature = "servers")]
    pub(crate) fn on_mlflow(variable: &str) -> World {
        let (address, name) = (address(variable), format!("cli-{}", unique()));
        World::new().at(format!("mlflow+{address}?registry={name}&prefix={name}-"))
    }

    /// A copy of another world's registry and files.
    pub(crate) fn copy_of(other: &World) -> World {
        let world = World { folder: tempfile::tempdir().unwrap(), url: None };
        copy(other.folder.path(), world.folder.path());
        world
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The binary, in the world's folder, with nothing of this machine in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("REGISTRY_URL", self.url.as_ref().map_or_else(|| self.registry().into(), OsString::from))
            .env("REGISTRY_ACTOR", "ada@example.com")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// Runs and demands success.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        ran.stdout
    }

    /// Runs with `--json`, demands success and reads the answer.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        serde_json::from_str(&self.ok(&arguments)).unwrap()
    }

    /// What people read of a run, redacted.
    pub(crate) fn seen(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        let mut text = format!("$ registry {}\n{}", arguments.join(" "), ran.stdout);
        if !ran.stderr.is_empty() {
            text.push_str(&format!("--- on the error output\n{}", ran.stderr));
        }
        if ran.code != 0 {
            text.push_str(&format!("--- exit code {}\n", ran.code));
        }
        redacted(&text.replace(self.folder.path().to_str().unwrap(), "[folder]"))
    }

    /// All that is stored: how many commits there are, and which blobs of which size. `None` if there is
    /// no registry at all.
    pub(crate) fn stored(&self) -> Option<Stored> {
        if !self.registry().exists() {
            return None;
        }
        let mut blobs = Vec::new();
        files(&self.registry().join("blobs"), &mut blobs);
        blobs.sort();
        Some(Stored { commits: self.commits(), blobs })
    }

    /// `None` if there is no database, or none that can be read.
    fn commits(&self) -> Option<i64> {
        let database = self.registry().join("registry.db");
        if !database.exists() {
            return None;
        }
        let connection = rusqlite::Connection::open(database).ok()?;
        connection.query_row("SELECT count(*) FROM commits", [], |row| row.get(0)).ok()
    }

    /// Exchanges a byte in the stored body of a commit.
    pub(crate) fn damage_commit(&self, stream: &str, revision: i64) {
        let connection = rusqlite::Connection::open(self.registry().join("registry.db")).unwrap();
        let place = rusqlite::params![stream, revision];
        let select =
            "SELECT body FROM commits WHERE slot = (SELECT number FROM streams WHERE name = ?1) << 32 | ?2";
        let mut body: Vec<u8> = connection.query_row(select, place, |row| row.get(0)).unwrap();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        let trigger: String = connection
            .query_row("SELECT sql FROM sqlite_schema WHERE name = 'commits_are_never_changed'", [], |row| {
                row.get(0)
            })
            .unwrap();
        connection.execute_batch("DROP TRIGGER commits_are_never_changed; DELETE FROM checkpoints").unwrap();
        let update = "UPDATE commits SET body = ?3 WHERE slot = (SELECT number FROM streams WHERE name = ?1) << 32 | ?2";
        connection.execute(update, rusqlite::params![stream, revision, body]).unwrap();
        connection.execute_batch(&trigger).unwrap();
    }

    /// The blob with these bytes.
    pub(crate) fn blob(&self, bytes: &[u8]) -> PathBuf {
        let mut blobs = Vec::new();
        files(&self.registry().join("blobs"), &mut blobs);
        let holds = |path: &PathBuf| std::fs::read(path).unwrap() == bytes;
        blobs.into_iter().map(|(path, _)| path).find(holds).unwrap()
    }

    /// Exchanges a byte in a blob.
    pub(crate) fn damage_blob(&self, bytes: &[u8]) {
        let path = self.blob(bytes);
        let mut damaged = bytes.to_vec();
        damaged[0] ^= 1;
        // Blobs are stored read-only.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, damaged).unwrap();
    }
}

#[cfg(feature = "servers")]
fn address(variable: &str) -> String {
    let address = std::env::var(variable).unwrap();
    assert!(address.starts_with("http://127.0.0.1:"), "{address} is not on this machine");
    address
}

/// What no other test uses as a name.
#[cfg(feature = "servers")]
fn unique() -> String {
    format!("{}-{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos())
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push((entry.path(), entry.metadata().unwrap().len()));
        }
    }
}

/// The text without the instants of this century's second quarter, digests, ids of keys and drawn ids.
pub(crate) fn redacted(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((length, word)) =
            [instant(rest), digest(rest), key(rest), drawn_id(rest)].into_iter().flatten().next()
        {
            result.push_str(word);
            rest = &rest[length..];
        } else {
            result.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

fn shaped(text: &str, shape: &str) -> bool {
    let fits = |(c, s): (char, char)| if s == '0' { c.is_ascii_digit() } else { c == s };
    shape.chars().count() <= text.chars().count() && text.chars().zip(shape.chars()).all(fits)
}

fn instant(text: &str) -> Option<(usize, &'static str)> {
    let year: u32 = text.get(..4)?.parse().ok()?;
    if !shaped(text, "0000-00-00") || !(2025..2090).contains(&year) {
        return None;
    }
    for shape in ["0000-00-00 00:00:00Z", "0000-00-00T00:00:00.000000Z"] {
        if shaped(text, shape) {
            return Some((shape.len(), "[time]"));
        }
    }
    Some((10, "[date]"))
}

fn hex(text: &str) -> usize {
    text.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count()
}

fn digest(text: &str) -> Option<(usize, &'static str)> {
    let digits = text.strip_prefix("sha256:")?;
    (hex(digits) == 64).then_some((71, "sha256:[digest]"))
}

fn key(text: &str) -> Option<(usize, &'static str)> {
    let digits = text.strip_prefix("key ")?;
    (hex(digits) == 64).then_some((68, "key [id]"))
}

fn drawn_id(text: &str) -> Option<(usize, &'static str)> {
    (hex(text) == 32).then_some((32, "[id]"))
}
