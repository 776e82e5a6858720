//! Azure's own emulator of Blob Storage, in memory. It checks signatures, so the container is made by a request
//! that is signed; in Python, which has what signing needs, and is there for other servers.

use std::process::Command;

use super::server::{Launch, Scratch, Server, TERMINATE, ask, free_ports};
use super::{BUCKET, packages};

const PACKAGE: &str = "azurite@3.37.0";
/// Made up, as the tests know them.
const ACCOUNT: &str = "registrytest";
const ACCOUNT_KEY: &str = "bWFkZS11cC1rZXktbWFkZS11cC1rZXktbWFkZS11cCE=";

/// Makes a container, with the shared-key signature of Blob Storage.
const MAKE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
port, account, key, container = sys.argv[1:]
path = f"/{account}/{container}"
dated = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
lines = "".join(f"{name}:{value}\n" for name, value in dated.items())
text = "PUT" + "\n" * 12 + lines + f"/{account}{path}\nrestype:container"
digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
signed = {**dated, "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}"}
url = f"http://127.0.0.1:{port}{path}?restype=container"
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=signed))
"#;

pub(super) fn install() -> Result<(), String> {
    packages::node(PACKAGE).map(drop)
}

pub(super) fn start() -> Result<Vec<Server>, String> {
    let [port] = free_ports()?;
    let scratch = Scratch::new("azurite")?;
    let mut command = Command::new("node");
    command
        .arg("--max-old-space-size=512")
        .arg(packages::node(PACKAGE)?.join("azurite/dist/src/blob/main.js"))
        .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"])
        .args(["--blobPort", &port.to_string(), "--inMemoryPersistence", "--extentMemoryLimit", "512"])
        .current_dir(scratch.path())
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"));
    let server = Server::start(Launch {
        name: "azurite",
        command,
        scratch: Some(scratch),
        variables: vec![("REGISTRY_TEST_AZURE", format!("http://127.0.0.1:{port}/{ACCOUNT}"))],
        stop: TERMINATE,
        ready: Box::new(move || {
            if ask(port, "GET", "/", "").is_none() {
                return Ok(false);
            }
            let made = Command::new("python3")
                .args(["-c", MAKE_CONTAINER, &port.to_string(), ACCOUNT, ACCOUNT_KEY, BUCKET])
                .output()
                .map_err(|error| format!("`python3` is needed to make a container: {error}"))?;
            match made.status.success() {
                true => Ok(true),
                false => Err(format!("no container is made: {}", String::from_utf8_lossy(&made.stderr))),
            }
        }),
    })?;
    Ok(vec![server])
}
