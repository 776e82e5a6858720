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
    asked: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Counted {
    pub(crate) async fn before(server: &str) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (server, seen) = (server.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut start = vec![0; 1024];
                    let count = client.read(&mut start).await.unwrap();
                    let text = String::from_utf8_lossy(&start[..count]).into_owned();
                    let path = text.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
                    let asked = path.strip_prefix("/api/2.0/mlflow/").or(path.strip_prefix("/api/2.0/"));
                    // A file's own name says nothing here.
                    let asked = match asked.unwrap() {
                        file if file.starts_with("mlflow-artifacts/artifacts/") => {
                            "mlflow-artifacts/artifacts/…"
                        }
                        other => other,
                    };
                    seen.lock().unwrap().push(asked.to_owned());
                    let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                    server.write_all(&start[..count]).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Counted { address, asked }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}
