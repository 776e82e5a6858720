//! Why this exists: no emulator of Google Cloud Storage that can be installed answers what `object_store`
//! asks; it speaks Google's XML API, and they speak the JSON one. So this small server takes requests in Google's
//! dialect and passes them on to the S3 server of the tests in Amazon's. What is stored, listed and raced
//! for is that server's doing, not ours.
//!
//! **What it shows, and what not.** It exercises `object_store`'s client for Google, and what this crate
//! makes of its answers. It proves nothing about Google's servers: the translation rests on Google's documents.
//!
//! ```text
//! Google                                    Amazon
//! Authorization: Bearer <token>             Authorization: AWS4-HMAC-SHA256 …
//! x-goog-if-generation-match: 0             If-None-Match: *
//! /bucket/a%2Fb                             /bucket/a/b
//! DELETE of what is not there: 404          204
//! everything else                           the same: PUT, GET, HEAD, list version 2, multipart uploads
//! ```
//!
//! It is strict: what is not in this table is refused with 400, so that nothing is silently ignored. It
//! answers without `x-goog-generation`, of which nothing here makes use.

use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, TRANSFER_ENCODING,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// The only one that is accepted. Made up.
pub(crate) const TOKEN: &str = "made-up-token";

/// Starts a translator for the S3 server at an address, once in this process, and gives its URL.
pub(crate) fn start(upstream: SocketAddr) -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // A runtime of its own: those of tests end with them.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(TcpListener::from_std(listener).unwrap(), upstream).await });
        });
        url
    })
}

async fn serve(listener: TcpListener, upstream: SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request| async move {
            let answer = match translated(request, upstream).await {
                Ok(request) => pass_on(request, upstream).await,
                Err(refusal) => Ok(refusal),
            };
            // The connection breaks, as it would between the client and a server that fails.
            answer.map_err(|error| error.to_string())
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

type Answer = Response<Full<Bytes>>;

/// A refusal in the form of Google's.
fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

/// The same request in Amazon's dialect, or why there is none.
async fn translated(
    request: Request<Incoming>,
    upstream: SocketAddr,
) -> Result<Request<Full<Bytes>>, Answer> {
    let (mut parts, body) = request.into_parts();
    let bearer = format!("Bearer {TOKEN}");
    if parts.headers.get(AUTHORIZATION).is_none_or(|found| found.as_bytes() != bearer.as_bytes()) {
        return Err(refusal(StatusCode::UNAUTHORIZED, "AuthenticationRequired", "Authentication required."));
    }
    let headers = dialect(&parts.method, std::mem::take(&mut parts.headers), upstream)?;
    // Google's client escapes all of a key, also its slashes.
    let (path, query) = (parts.uri.path().replace("%2F", "/"), parts.uri.query());
    let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
    let body = body
        .collect()
        .await
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, "IncompleteBody", &error.to_string()))?;
    let mut request = Request::new(Full::new(body.to_bytes()));
    *request.method_mut() = parts.method;
    *request.uri_mut() = target.parse().unwrap();
    *request.headers_mut() = headers;

    let removes_object = request.method() == Method::DELETE && query.is_none();
    if removes_object {
        let mut look = Request::new(Full::default());
        *look.method_mut() = Method::HEAD;
        *look.uri_mut() = request.uri().clone();
        *look.headers_mut() = request.headers().clone();
        let found = pass_on(look, upstream).await;
        if found.is_ok_and(|found| found.status() == StatusCode::NOT_FOUND) {
            return Err(refusal(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist."));
        }
    }
    Ok(request)
}

/// The headers in Amazon's dialect.
fn dialect(method: &Method, headers: HeaderMap, upstream: SocketAddr) -> Result<HeaderMap, Answer> {
    let refused = |name: &HeaderName| {
        let message = format!("{name} is not translated for {method}");
        Err(refusal(StatusCode::BAD_REQUEST, "InvalidArgument", &message))
    };
    let mut translated = HeaderMap::new();
    for (name, value) in &headers {
        match name.as_str() {
            "x-goog-if-generation-match" if *method == Method::PUT && value == "0" => {
                translated.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            other if other.starts_with("x-goog-") || other.starts_with("x-amz-") => return refused(name),
            // Amazon's way to create what is absent must not come through untranslated.
            _ if *method == Method::PUT && (name == IF_NONE_MATCH || name == IF_MATCH) => {
                return refused(name);
            }
            _ if [AUTHORIZATION, HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) => {}
            _ => drop(translated.insert(name, value.clone())),
        }
    }
    let signature = "AWS4-HMAC-SHA256 Credential=made-up-key/20240101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=00";
    translated.insert(AUTHORIZATION, HeaderValue::from_static(signature));
    translated.insert(HOST, HeaderValue::from_str(&upstream.to_string()).unwrap());
    Ok(translated)
}

/// What the S3 server answers, without what is Amazon's.
async fn pass_on(
    request: Request<Full<Bytes>>,
    upstream: SocketAddr,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let head = request.method() == Method::HEAD;
    let stream = TokioIo::new(TcpStream::connect(upstream).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let (mut parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    let amazons: Vec<HeaderName> =
        parts.headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).cloned().collect();
    for name in amazons.iter().chain(&[CONNECTION, TRANSFER_ENCODING]) {
        parts.headers.remove(name);
    }
    if !head {
        // It is set from the body; an answer to HEAD has none, and tells a length.
        parts.headers.remove(CONTENT_LENGTH);
    }
    Ok(Response::from_parts(parts, Full::new(body)))
}
