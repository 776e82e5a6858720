//! A server on this machine that keeps what it is sent and gives one answer to all.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The first line and the header fields, in lower case but for their values.
    head: Vec<String>,
    pub(crate) body: String,
}

impl Sent {
    pub(crate) fn line(&self) -> &str {
        &self.head[0]
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let field = |line: &&String| line.split(':').next().unwrap().eq_ignore_ascii_case(name);
        let line = self.head.iter().skip(1).find(field).unwrap();
        line.split_once(':').unwrap().1.trim()
    }
}

pub(crate) struct Receiver {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Receiver {
    pub(crate) fn answering(status: u16, body: &'static str) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let receiver = Receiver { address: listener.local_addr().unwrap(), sent: Arc::default() };
        let sent = Arc::clone(&receiver.sent);
        // Ends with the process, which is that of one test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sent = Arc::clone(&sent);
                std::thread::spawn(move || serve(stream.unwrap(), status, body, &sent));
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, status: u16, body: &str, sent: &Mutex<Vec<Sent>>) {
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        // A client that goes away asks for nothing.
        if from.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let request = Sent { head, body: String::new() };
    let mut bytes = vec![0; request.header("content-length").parse().unwrap()];
    from.read_exact(&mut bytes).unwrap();
    sent.lock().unwrap().push(Sent { body: String::from_utf8(bytes).unwrap(), ..request });
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    (&stream).write_all(answer.as_bytes()).unwrap();
}
