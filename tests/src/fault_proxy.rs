//! Why this exists: what a network does to requests cannot be provoked on a loopback interface, and a store
//! that only pretends to fail inside this process leaves out the client, its retries, its connection pool
//! and its parser. So a proxy stands between a client and a real server and spoils requests on the wire.
//!
//! It speaks HTTP/1.1 as far as it must: it finds where a request and a response end, and passes every byte of
//! them on as it came, `Host` included, since signatures cover it. A client is simply given the proxy's
//! address in place of the server's. Nothing in it is about S3.
//!
//! ```no_run
//! # async fn test() -> std::io::Result<()> {
//! use registry_tests::fault_proxy::{Fault, FaultProxy, Plan};
//!
//! let server = "127.0.0.1:9000".parse().map_err(std::io::Error::other)?;
//! let proxy = FaultProxy::start(server, Plan::new(7).percent(20)).await?;
//! println!("talk to {}", proxy.url());
//! proxy.set_percent(0); // from here on it is faultless
//! println!("{} replies were lost", proxy.count(Fault::ReplyLost));
//! # Ok(())
//! # }
//! ```
//!
//! **Deterministic**: what befalls the n-th request is drawn from the seed and n alone. Which request is
//! the n-th is up to the scheduler, if several are under way at once.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The largest head and the largest body that are passed on; more is a mistake in a test.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It is passed on, late.
    Delay,
    /// The connection is closed, and the server never hears of it.
    Lost,
    /// The server acts; the connection is closed in place of a reply.
    ReplyLost,
    /// The connection is reset, and the server never hears of the request.
    Reset,
    /// The server acts; the connection is reset in place of a reply.
    ResetAfter,
    /// The proxy answers with this status, and the server never hears of the request.
    Refused(u16),
    /// The server acts; the proxy answers with this status.
    RefusedAfter(u16),
    /// The server acts; less of its reply is passed on than the reply announces.
    ResponseCut,
    /// Less of the request is passed on than it announces; then both connections are closed.
    RequestCut,
}

impl Fault {
    /// One of each.
    pub const ALL: [Fault; 13] = [
        Fault::Delay,
        Fault::Lost,
        Fault::ReplyLost,
        Fault::Reset,
        Fault::ResetAfter,
        Fault::Refused(409),
        Fault::Refused(429),
        Fault::Refused(500),
        Fault::Refused(503),
        Fault::RefusedAfter(500),
        Fault::RefusedAfter(503),
        Fault::ResponseCut,
        Fault::RequestCut,
    ];
}

/// Which requests are spoilt, and how.
#[derive(Debug, Clone)]
#[must_use]
pub struct Plan {
    seed: u64,
    percent: u64,
    faults: Vec<Fault>,
    delay: Duration,
}

impl Plan {
    /// None, for now, then any of [`Fault::ALL`].
    pub fn new(seed: u64) -> Self {
        Plan { seed, percent: 0, faults: Fault::ALL.to_vec(), delay: Duration::from_millis(50) }
    }

    /// That many of a hundred requests.
    pub fn percent(mut self, percent: u64) -> Self {
        self.percent = percent;
        self
    }

    /// Only these.
    pub fn only(mut self, faults: &[Fault]) -> Self {
        self.faults = faults.to_vec();
        self
    }

    /// The longest that [`Fault::Delay`] delays.
    pub fn delay(mut self, most: Duration) -> Self {
        self.delay = most;
        self
    }
}

/// Stands between a client and a server until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    plan: Plan,
    percent: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    done: Mutex<BTreeMap<Fault, u64>>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FaultProxy {
    /// A proxy on a free port of this machine.
    pub async fn start(server: SocketAddr, plan: Plan) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            percent: plan.percent.into(),
            plan,
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            done: Mutex::default(),
        });
        let for_all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            // Dropped with the task, and with it all connections.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&for_all);
                connections.spawn(async move {
                    // What goes wrong here goes wrong for the client too, who is the one under test.
                    let _ = serve(client, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(FaultProxy { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same, as the beginning of a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, spoils that many of a hundred requests.
    pub fn set_percent(&self, percent: u64) {
        self.shared.percent.store(percent, Ordering::Relaxed);
    }

    /// How many requests came, spoilt or not.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many bytes the bodies had of all requests that reached the server as a whole.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How often a fault befell a request.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts().get(&fault).copied().unwrap_or(0)
    }

    /// How often each fault befell a request.
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.shared.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Numbers that look random, and are the same for the same seed and place.
fn drawn(seed: u64, place: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0xa076_1d64_78bd_642f) ^ place.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    mixed ^ (mixed >> 31)
}

impl Shared {
    /// What befalls the next request, and a number to spare.
    fn next(&self) -> (Option<Fault>, u64) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let random = drawn(self.plan.seed, number);
        let spoilt = random % 100 < self.percent.load(Ordering::Relaxed);
        let which = usize::try_from((random >> 16) % self.plan.faults.len().max(1) as u64).unwrap_or(0);
        let fault = self.plan.faults.get(which).copied().filter(|_| spoilt);
        if let Some(fault) = fault {
            *self.done.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
        }
        (fault, random >> 32)
    }
}

/// A request or a response.
struct Message {
    /// The first line and the header fields, with the empty line that ends them.
    head: Vec<u8>,
    /// As it came on the wire.
    body: Vec<u8>,
    /// Whether its end is the end of the connection.
    ends_connection: bool,
}

fn broken(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

/// The value of a header field, in lower case.
fn field(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    text.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
    })
}

type Incoming = BufReader<TcpStream>;

/// The next head; none if the connection ends before it.
async fn read_head(from: &mut Incoming) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match from.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
        if HEAD_BYTES_MAX < head.len() {
            return Err(broken("a head without an end"));
        }
    }
    Ok(Some(head))
}

async fn read_exactly(from: &mut Incoming, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
    if BODY_BYTES_MAX < into.len().saturating_add(length) {
        return Err(broken("a body that is too large"));
    }
    let read = from.take(length as u64).read_to_end(into).await?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// A body in chunks, with their sizes, as it is on the wire.
async fn read_chunks(from: &mut Incoming) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let start = body.len();
        while !body.get(start..).unwrap_or_default().ends_with(b"\r\n") {
            read_exactly(from, 1, &mut body).await?;
        }
        let line = String::from_utf8_lossy(body.get(start..).unwrap_or_default()).into_owned();
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| broken("a chunk without a size"))?;
        // The chunk, or else nothing, and the end of its line. Trailing fields are not used by anybody here.
        read_exactly(from, size.saturating_add(2), &mut body).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn read_body(from: &mut Incoming, head: Vec<u8>, to_the_end: bool) -> io::Result<Message> {
    let mut body = Vec::new();
    let mut ends_connection = field(&head, "connection").is_some_and(|value| value == "close");
    if field(&head, "transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        body = read_chunks(from).await?;
    } else if let Some(length) = field(&head, "content-length") {
        let length = length.parse().map_err(|_| broken("a length that is no number"))?;
        read_exactly(from, length, &mut body).await?;
    } else if to_the_end {
        from.take(BODY_BYTES_MAX as u64).read_to_end(&mut body).await?;
        ends_connection = true;
    }
    Ok(Message { head, body, ends_connection })
}

/// The server's answer to a request.
async fn ask(server: SocketAddr, request: &Message) -> io::Result<Message> {
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    server.write_all(&request.head).await?;
    server.write_all(&request.body).await?;
    let mut server = BufReader::new(server);
    loop {
        let Some(head) = read_head(&mut server).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let status = status(&head);
        if status / 100 == 1 {
            continue;
        }
        if request.head.starts_with(b"HEAD ") || matches!(status, 204 | 304) {
            let ends_connection = field(&head, "connection").is_some_and(|value| value == "close");
            return Ok(Message { head, body: Vec::new(), ends_connection });
        }
        return read_body(&mut server, head, true).await;
    }
}

/// The status of a response's head; 0 if there is none.
fn status(head: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(head);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// An answer of the proxy's own.
fn answer(request: &Message, status: u16) -> Vec<u8> {
    let (reason, code) = match status {
        409 => ("Conflict", "OperationAborted"),
        429 => ("Too Many Requests", "TooManyRequests"),
        500 => ("Internal Server Error", "InternalError"),
        _ => ("Service Unavailable", "SlowDown"),
    };
    let body = format!("<Error><Code>{code}</Code><Message>injected by a test</Message></Error>");
    let length = body.len();
    let sent = if request.head.starts_with(b"HEAD ") { "" } else { body.as_str() };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{sent}"
    )
    .into_bytes()
}

/// The bytes of a reply, without some at its end: half of the body, if it has one, else of the head.
fn cut(message: &Message) -> Vec<u8> {
    let mut bytes = message.head.clone();
    match message.body.len() {
        0 => bytes.truncate(bytes.len() / 2),
        length => bytes.extend_from_slice(message.body.get(..length / 2).unwrap_or_default()),
    }
    bytes
}

/// One connection of the client, request after request.
async fn serve(client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    while let Some(head) = read_head(&mut client).await? {
        if field(&head, "expect").is_some_and(|value| value == "100-continue") {
            client.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let request = read_body(&mut client, head, false).await?;
        let (fault, random) = shared.next();
        let before = match fault {
            Some(Fault::Lost) => return Ok(()),
            Some(Fault::Reset) => return reset(&client),
            Some(Fault::RequestCut) => {
                let mut server = TcpStream::connect(shared.server).await?;
                server.write_all(&cut(&request)).await?;
                return server.shutdown().await;
            }
            Some(Fault::Refused(status)) => Some(answer(&request, status)),
            Some(Fault::Delay) => {
                let most = u64::try_from(shared.plan.delay.as_millis()).unwrap_or(u64::MAX);
                tokio::time::sleep(Duration::from_millis(random % most.saturating_add(1))).await;
                None
            }
            _ => None,
        };
        let (reply, ends) = match before {
            Some(reply) => (reply, false),
            None => {
                let reply = ask(shared.server, &request).await?;
                shared.bytes.fetch_add(request.body.len() as u64, Ordering::Relaxed);
                match fault {
                    Some(Fault::ReplyLost) => return Ok(()),
                    Some(Fault::ResetAfter) => return reset(&client),
                    Some(Fault::RefusedAfter(status)) => (answer(&request, status), false),
                    Some(Fault::ResponseCut) => (cut(&reply), true),
                    _ => ([reply.head, reply.body].concat(), reply.ends_connection),
                }
            }
        };
        client.get_mut().write_all(&reply).await?;
        if ends || request.ends_connection {
            return client.get_mut().shutdown().await;
        }
    }
    Ok(())
}

/// So that dropping the connection resets it.
fn reset(client: &Incoming) -> io::Result<()> {
    client.get_ref().set_zero_linger()
}
