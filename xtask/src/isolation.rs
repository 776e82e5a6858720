//! Why this exists: a cloud client that finds no credentials goes and asks a metadata server for some, which
//! is not on this machine. Tests must not be able to do that by mistake. So they run in a network namespace
//! that has the loopback interface and nothing else: a mistake fails there, and reaches nobody.

use std::process::Command;

/// Brings the loopback interface up, which a new namespace has but leaves down, and becomes the program given.
/// In Python, since that is there for the servers and `ip` need not be: the numbers are SIOCSIFFLAGS, and
/// IFF_UP with IFF_RUNNING.
const LOOPBACK_UP: &str = "import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:
    fcntl.ioctl(interface, 0x8914, struct.pack('16sh', b'lo', 0x41))
os.execvp(sys.argv[1], sys.argv[1:])";

/// The ways into a namespace: as root, and as anybody on systems that let users have namespaces. Best is one
/// that has its own processes too: when the first of them ends, however it ends, the system ends all others,
/// and no server is left behind.
const WAYS: [&[&str]; 4] = [
    &["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--map-root-user"],
    &["--net"],
    &["--net", "--map-root-user"],
];

fn inside(way: &[&str], program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(["--", "python3", "-c", LOOPBACK_UP]).arg(program);
    command
}

/// Runs this program again with these arguments, where there is no network but the loopback interface.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let works =
        |way: &&&[&str]| inside(way, "true".as_ref()).output().is_ok_and(|output| output.status.success());
    let mut command = match WAYS.iter().find(works) {
        Some(way) => inside(way, this.as_os_str()),
        None => {
            eprintln!(
                "xtask: this machine gives no network namespace; it goes on without one, with explicit \
                 loopback addresses and made-up credentials only"
            );
            Command::new(&this)
        }
    };
    let status = command.args(words).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", words.join(" "))) }
}
