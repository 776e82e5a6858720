//! What is sent again and what is not, against a server that says what it is told to.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What the server does with one request.
#[derive(Clone)]
enum Say {
    Answer(&'static str, &'static str),
    Cut,
    HangUp,
}

/// A server on this machine that answers as told, the last answer over and over, and writes down what came.
async fn server(answers: &[Say]) -> (Server, Arc<Mutex<Vec<String>>>) {
    server_with(answers, Auth::None).await
}

async fn server_with(answers: &[Say], auth: Auth) -> (Server, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/pre", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut answers = answers.to_vec();
    answers.reverse();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !complete(&request) {
                let count = socket.read(&mut piece).await.unwrap();
                assert!(0 < count, "a request was cut");
                request.extend_from_slice(&piece[..count]);
            }
            seen.lock().unwrap().push(String::from_utf8(request).unwrap());
            let say = if 1 < answers.len() { answers.pop().unwrap() } else { answers[0].clone() };
            let text = match say {
                Say::Answer(head, body) => {
                    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                }
                Say::Cut => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned(),
                Say::HangUp => String::new(),
            };
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    });
    let settings = Settings {
        url: Url::parse(&url).unwrap(),
        auth,
        workspace: Some("team a".to_owned()),
        ca_pem: None,
        timeout: Duration::from_secs(10),
    };
    (Server::new(settings).unwrap(), asked)
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| length.parse::<usize>().unwrap() <= body.len())
}

const BUSY: Say = Say::Answer("503 Busy", "{\"error_code\":\"TEMPORARILY_UNAVAILABLE\"}");
const DONE: Say = Say::Answer("200 OK", "{}");
const TAKEN: Say = Say::Answer(
    "400 Bad Request",
    "{\"error_code\":\"INVALID_PARAMETER_VALUE\",\"message\":\"Changing param values is not allowed.\"}",
);

#[tokio::test]
async fn what_may_be_done_twice_is_sent_again() {
    let (server, asked) = server(&[BUSY, Say::HangUp, Say::Cut, DONE]).await;
    server.log_parameter("run", "key", "value").await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|request| request == &asked[0]));
    assert!(asked[0].starts_with("POST /pre/api/2.0/mlflow/runs/log-parameter HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("x-mlflow-workspace: team a\r\n"));
    assert!(!asked[0].to_lowercase().contains("\r\norigin:"));
}

#[tokio::test]
async fn what_makes_something_is_sent_once() {
    for failure in [BUSY, Say::HangUp, Say::Cut] {
        let (server, asked) = server(&[failure, DONE]).await;
        let error = server.create_run("1", "name", 0, &[]).await.unwrap_err();
        assert!(error.doubtful, "{error:?}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_failure_is_told() {
    let (server, asked) = server(&[BUSY]).await;
    let error = server.run("id").await.unwrap_err();
    assert_eq!((error.kind, error.doubtful), (Kind::Server(503), true));
    assert_eq!(asked.lock().unwrap().len(), ATTEMPTS_MAX as usize);
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_leaves_the_doubt() {
    let denied = Say::Answer("403 Forbidden", "Permission denied");
    let (server, _) = server(&[Say::HangUp, denied.clone()]).await;
    let error = server.log_parameter("run", "key", "value").await.unwrap_err();
    assert_eq!((error.kind, error.doubtful), (Kind::Denied, true));
    let (server, asked) = self::server(&[denied, DONE]).await;
    let error = server.log_parameter("run", "key", "value").await.unwrap_err();
    assert_eq!((error.kind, error.doubtful), (Kind::Denied, false));
    assert_eq!(asked.lock().unwrap().len(), 1);
    // Another value is there, whatever became of the first attempt.
    let (server, _) = self::server(&[Say::HangUp, TAKEN]).await;
    assert_eq!(server.log_parameter("run", "key", "value").await.unwrap_err().kind, Kind::Taken);
}

#[tokio::test]
async fn nobody_listening_is_surely_not_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = Settings {
        url: Url::parse(&format!("http://{address}")).unwrap(),
        auth: Auth::None,
        workspace: None,
        ca_pem: None,
        timeout: Duration::from_secs(10),
    };
    let error = Server::new(settings).unwrap().create_run("1", "name", 0, &[]).await.unwrap_err();
    assert_eq!((error.kind, error.doubtful), (Kind::Transport, false), "{error:?}");
}

#[tokio::test]
async fn a_page_with_status_200_is_no_success() {
    let (server, _) = server(&[Say::Answer("200 OK", "<html>Please sign in</html>")]).await;
    let error = server.set_tag("run", "key", "value").await.unwrap_err();
    assert_eq!((error.kind, error.doubtful), (Kind::Server(200), true));
    assert!(error.message.contains("no answer of an MLflow server"), "{error:?}");
    let (server, _) = self::server(&[Say::Answer("302 Found\r\nlocation: https://elsewhere/", "")]).await;
    let error = server.set_tag("run", "key", "value").await.unwrap_err();
    assert!(error.message.contains("redirects to https://elsewhere/"), "{error:?}");
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept() {
    let busy = Say::Answer("429 Too Many Requests\r\nretry-after: 1", "");
    let (server, _) = server(&[busy, Say::Answer("200 OK", "{\"run\":{\"info\":{\"run_id\":\"x\"}}}")]).await;
    let before = tokio::time::Instant::now();
    assert!(server.run("x").await.unwrap().is_some());
    assert!(Duration::from_secs(1) <= before.elapsed());
}

#[tokio::test]
async fn secrets_are_sent_and_never_shown() {
    let echo = Say::Answer("403 Forbidden", "who is hunter2?");
    let basic = Auth::Basic { user: "me".to_owned(), password: "hunter2".to_owned() };
    let bearer = Auth::Bearer("hunter2".to_owned());
    for (auth, header) in
        [(basic, "authorization: Basic bWU6aHVudGVyMg=="), (bearer, "authorization: Bearer hunter2")]
    {
        let (server, asked) = server_with(std::slice::from_ref(&echo), auth).await;
        let error = server.run("id").await.unwrap_err();
        assert!(asked.lock().unwrap()[0].contains(header), "{:?}", asked.lock());
        assert!(!format!("{error:?} {server:?}").contains("hunter2"), "{error:?}");
    }
}

/// A server with a certificate that nobody believes but who is told to. It ends each connection after one answer, and
/// does not say so, as servers do with connections that have rested too long.
async fn secure_server() -> (String, Vec<u8>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // A client that does not believe us ends here.
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !complete(&request) {
                let count = socket.read(&mut piece).await.unwrap();
                request.extend_from_slice(&piece[..count]);
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            let _ = socket.shutdown().await;
        }
    });
    (url, ca_certificate.pem().into_bytes())
}

#[tokio::test]
async fn certificates_are_believed_by_whoever_is_told_to_and_ended_connections_are_made_anew() {
    let (url, pem) = secure_server().await;
    let settings = |ca_pem| Settings {
        url: Url::parse(&url).unwrap(),
        auth: Auth::Bearer("t0ken".to_owned()),
        workspace: None,
        ca_pem,
        timeout: Duration::from_secs(5),
    };
    let server = Server::new(settings(Some(pem))).unwrap();
    for _ in 0..3 {
        server.log_parameter("run", "key", "value").await.unwrap();
    }
    let error = Server::new(settings(None)).unwrap().log_parameter("run", "key", "value").await.unwrap_err();
    assert_eq!(error.kind, Kind::Transport);
    assert!(error.message.contains("certificate"), "{error:?}");
    assert!(!error.message.contains("t0ken"));
    let error = Server::new(settings(Some(b"nothing".to_vec()))).unwrap_err();
    assert!(error.contains("no certificate"), "{error}");
}
