//! An S3 server that ignores `If-None-Match`: every writer of an object is told that it was created. It is here
//! so that the tests can show that such a store is refused.

use std::process::Command;

use super::server::{Launch, Scratch, Server, TERMINATE, ask, free_ports};
use super::{BUCKET, packages};

const PACKAGE: &str = "s3rver@3.7.1";

pub(super) fn install() -> Result<(), String> {
    packages::node(PACKAGE).map(drop)
}

pub(super) fn start() -> Result<Vec<Server>, String> {
    let [port] = free_ports()?;
    let scratch = Scratch::new("s3rver")?;
    let mut command = Command::new("node");
    command
        .arg("--max-old-space-size=128")
        .arg(packages::node(PACKAGE)?.join("s3rver/bin/s3rver.js"))
        .args(["--silent", "--no-vhost-buckets", "--address", "127.0.0.1", "--port", &port.to_string()])
        .args(["--configure-bucket", BUCKET, "--directory"])
        .arg(scratch.path());
    let server = Server::start(Launch {
        name: "s3rver",
        command,
        scratch: Some(scratch),
        variables: vec![("REGISTRY_TEST_UNFIT_S3", format!("http://127.0.0.1:{port}"))],
        stop: TERMINATE,
        // It makes the bucket before it listens.
        ready: Box::new(move || Ok(ask(port, "GET", "/", "").is_some())),
    })?;
    Ok(vec![server])
}
