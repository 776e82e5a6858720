//! What goes over the wire: another client's requests, and a count of our own.

use std::sync::Arc;

/// What another client of the server does: one request, with its answer.
pub(crate) async fn ask(address: &str, path: &str, body: &serde_json::Value) -> serde_json::Value {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = address.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let (method, body) = if body.is_null() { ("GET", String::new()) } else { ("POST", body.to_string()) };
    let request = format!(
        "{method} /api/2.0/mlflow/{path} HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.split(' ').nth(1) == Some("200"), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}

/// Stands between a client and a server and writes down what is asked. Each request has a connection of its
/// own, so the first line of each tells it all.
pub(crate) struct Counted {
    pub(crate) address: String,
    asked: Arc<std::sync::Mutex<Vec<Asked>>>,
}

/// What is asked for, and what after the question mark.
type Asked = (String, String);

impl Counted {
    pub(crate) async fn before(server: &str) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<std::sync::Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (server, seen) = (server.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut start = vec![0; 1024];
                    let count = client.read(&mut start).await.unwrap();
                    let text = String::from_utf8_lossy(&start[..count]).into_owned();
                    let target = text.split(' ').nth(1).unwrap();
                    let (path, query) = target.split_once('?').unwrap_or((target, ""));
                    let asked = path.strip_prefix("/api/2.0/mlflow/").or(path.strip_prefix("/api/2.0/"));
                    // A file's own name says nothing here.
                    let asked = match asked.unwrap() {
                        file if file.starts_with("mlflow-artifacts/artifacts/") => {
                            "mlflow-artifacts/artifacts/…"
                        }
                        other => other,
                    };
                    seen.lock().unwrap().push((asked.to_owned(), query.to_owned()));
                    let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                    server.write_all(&start[..count]).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Counted { address, asked }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.take_all().into_iter().map(|(path, _)| path).collect()
    }

    /// The runs that were read.
    pub(crate) fn take_runs(&self) -> Vec<String> {
        let runs = self.take_all().into_iter().filter(|(path, _)| path == "runs/get");
        runs.map(|(_, query)| query.trim_start_matches("run_id=").to_owned()).collect()
    }

    fn take_all(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}
