//! A real HTTP server that answers as it is told to, and keeps what it was sent.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part")]

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// With a status, header lines and a body.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Not within any time that a test waits.
    Never,
    /// By closing the connection.
    Cut,
}

pub(crate) fn status(status: u16) -> Answer {
    Answer::With(status, Vec::new(), Vec::new())
}

pub(crate) fn body(body: impl Into<Vec<u8>>) -> Answer {
    Answer::With(200, Vec::new(), body.into())
}

/// What was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<Vec<Answer>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Receiver {
    /// Gives these answers one after the other, the last one from then on.
    pub(crate) async fn answering(answers: impl IntoIterator<Item = Answer>) -> Receiver {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut answers: Vec<Answer> = answers.into_iter().collect();
        answers.reverse();
        let receiver = Receiver { address, answers: Arc::new(Mutex::new(answers)), sent: Arc::default() };
        let (answers, sent) = (Arc::clone(&receiver.answers), Arc::clone(&receiver.sent));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, sent) = (Arc::clone(&answers), Arc::clone(&sent));
                let service = hyper::service::service_fn(move |request| {
                    answered(request, Arc::clone(&answers), Arc::clone(&sent))
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
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

async fn answered(
    request: Request<Incoming>,
    answers: Arc<Mutex<Vec<Answer>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes().to_vec();
    let (method, uri, headers) = (parts.method.to_string(), parts.uri, parts.headers);
    sent.lock().unwrap().push(Sent { method, uri, headers, body });
    let answer = {
        let mut answers = answers.lock().unwrap();
        if 1 < answers.len() { answers.pop() } else { answers.last().cloned() }
    };
    match answer.unwrap() {
        Answer::Cut => Err(std::io::Error::other("cut")),
        Answer::Never => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Ok::<_, Infallible>(Response::default()).map_err(|never| match never {})
        }
        Answer::With(status, headers, body) => {
            let mut answer = Response::new(Full::new(Bytes::from(body)));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                answer.headers_mut().insert(name, value.parse().unwrap());
            }
            Ok(answer)
        }
    }
}
