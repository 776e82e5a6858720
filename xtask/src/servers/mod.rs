//! The servers that tests run against: pinned, installed once into a cache, started on free ports of this
//! machine, reachable from nowhere else, and gone when the tests are over.
//!
//! One file per kind. A new kind is a file with `install` and `start`, which gives the server and those that it
//! needs, and a line in [`KINDS`]. All are started before any is waited for, so that together they take as long
//! as the slowest.

mod azurite;
mod ministack;
mod mlflow;
mod packages;
mod postgresql;
mod prometheus;
mod s3rver;
mod seaweedfs;
mod server;

pub(crate) use mlflow::programs_of_mlflow;
pub(crate) use packages::python_list;
use server::Server;

/// The bucket, or container, that each server has when it is ready.
const BUCKET: &str = "registry-test";
/// Made up. The servers that check signatures know these.
const ACCESS_KEY: &str = "made-up-key";
const SECRET_KEY: &str = "made-up-secret";

struct Kind {
    install: fn() -> Result<(), String>,
    start: fn() -> Result<Vec<Server>, String>,
}

/// The slowest to come up are first.
const KINDS: [Kind; 8] = [
    Kind { install: mlflow::install_3, start: mlflow::start_3 },
    Kind { install: mlflow::install_2, start: mlflow::start_2 },
    Kind { install: mlflow::install_on_postgresql, start: mlflow::start_on_postgresql },
    Kind { install: ministack::install, start: ministack::start },
    Kind { install: azurite::install, start: azurite::start },
    Kind { install: seaweedfs::install, start: seaweedfs::start },
    Kind { install: s3rver::install, start: s3rver::start },
    Kind { install: prometheus::install, start: prometheus::start },
];

/// Installs what is not installed yet.
pub(crate) fn install() -> Result<(), String> {
    KINDS.iter().try_for_each(|kind| (kind.install)())
}

/// Servers that run, and are stopped when this is dropped.
pub(crate) struct Servers(Vec<Server>);

impl Servers {
    /// The variables that tell the tests where they are.
    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        self.0.iter().flat_map(Server::variables).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // All are told before any is waited for.
        self.0.iter().for_each(Server::terminate);
    }
}

/// All of them, ready. If one does not come up, those that did are stopped.
pub(crate) fn start() -> Result<Servers, String> {
    let mut servers = Servers(Vec::new());
    for kind in &KINDS {
        servers.0.extend((kind.start)()?);
    }
    for server in &mut servers.0 {
        server.wait()?;
    }
    Ok(servers)
}
