//! The S3 server of most tests. Of those that a package brings, it is one whose conditional writes have exactly one
//! winner, also under races, and it is quick. It is not Amazon's: it believes any signature but those of URLs, and
//! keeps everything in memory.

use std::process::Command;

use super::server::{Launch, Server, TERMINATE, ask, free_ports};
use super::{ACCESS_KEY, BUCKET, SECRET_KEY, packages};

const PACKAGE: &str = "ministack==1.5.33";

pub(super) fn install() -> Result<(), String> {
    packages::python(PACKAGE).map(drop)
}

pub(super) fn start() -> Result<Vec<Server>, String> {
    let (server, _) = start_for("ministack", |address| vec![("REGISTRY_TEST_S3", address)])?;
    Ok(vec![server])
}

/// Another one, and its address, for a server that keeps its files in a bucket.
pub(super) fn start_for(
    name: &'static str,
    variables: impl FnOnce(String) -> Vec<(&'static str, String)>,
) -> Result<(Server, String), String> {
    let [port] = free_ports()?;
    let mut command = Command::new(packages::python(PACKAGE)?.join("ministack"));
    command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
    // The signatures of URLs it checks.
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let signature = format!(
        "Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20240101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=00\r\n"
    );
    let address = format!("http://127.0.0.1:{port}");
    let server = Server::start(Launch {
        name,
        command,
        scratch: None,
        variables: variables(address.clone()),
        stop: TERMINATE,
        ready: Box::new(move || match ask(port, "PUT", &format!("/{BUCKET}"), &signature) {
            Some(answer) if answer.contains(" 200 ") => Ok(true),
            Some(answer) => Err(format!("no bucket is made: {answer}")),
            None => Ok(false),
        }),
    })?;
    Ok((server, address))
}
