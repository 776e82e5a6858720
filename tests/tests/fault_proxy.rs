//! The proxy that spoils requests does what it says, and passes everything else on to the byte.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use registry_tests::fault_proxy::{Fault, FaultProxy, Plan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const REQUEST: &[u8] = b"POST /a%20b?c=d HTTP/1.1\r\nhOsT: somewhere\r\nContent-Length: 10\r\n\r\n0123456789";
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nX-Odd:  kept \r\nContent-Length: 8\r\n\r\nabcdefgh";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n";

type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that writes down what it heard, as soon as it is silent for a moment or the connection ends, and
/// always says the same.
async fn server(reply: &'static [u8]) -> (std::net::SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let ears = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let mut length = 0;
            loop {
                let read = client.read(request.get_mut(length..).unwrap()).await.unwrap();
                length += read;
                if read == 0 || length == REQUEST.len() {
                    break;
                }
            }
            request.truncate(length);
            ears.lock().unwrap().push(request);
            if length == REQUEST.len() {
                let _ = client.write_all(reply).await;
            }
        }
    });
    (address, heard)
}

/// What a client hears until the connection ends, and whether it was reset.
async fn ask(proxy: &FaultProxy, requests: usize) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    for _ in 0..requests {
        stream.write_all(REQUEST).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    let reset = stream.read_to_end(&mut heard).await.is_err();
    (heard, reset)
}

#[tokio::test]
async fn without_faults_every_byte_is_passed_on_and_connections_are_kept() {
    for reply in [REPLY, CHUNKED] {
        let (address, heard) = server(reply).await;
        let proxy = FaultProxy::start(address, Plan::new(1)).await.unwrap();
        assert_eq!(ask(&proxy, 2).await, (reply.repeat(2), false));
        assert_eq!(*heard.lock().unwrap(), [REQUEST, REQUEST]);
        assert_eq!((proxy.requests(), proxy.counts().len(), proxy.bytes()), (2, 0, 20));
    }
}

#[tokio::test]
async fn each_fault_is_what_its_name_says() {
    for fault in Fault::ALL {
        let (address, heard) = server(REPLY).await;
        let plan = Plan::new(1).percent(100).only(&[fault]);
        let proxy = FaultProxy::start(address, plan).await.unwrap();
        let (reply, reset) = ask(&proxy, 1).await;
        if fault == Fault::RequestCut {
            // The server hears it after the client was left alone.
            while heard.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        let heard = heard.lock().unwrap().clone();
        let acted = heard == [REQUEST];
        let said = String::from_utf8(reply.clone()).unwrap();
        match fault {
            Fault::Delay => assert!(acted && reply == REPLY, "{said}"),
            Fault::Lost => assert!(heard.is_empty() && reply.is_empty() && !reset),
            Fault::ReplyLost => assert!(acted && reply.is_empty() && !reset),
            Fault::Reset => assert!(heard.is_empty() && reply.is_empty() && reset),
            Fault::ResetAfter => assert!(acted && reply.is_empty() && reset),
            Fault::Refused(status) => {
                assert!(heard.is_empty() && said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            }
            Fault::RefusedAfter(status) => {
                assert!(acted && said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            }
            Fault::ResponseCut => assert!(acted && said.ends_with("\r\n\r\nabcd"), "{said}"),
            Fault::RequestCut => {
                assert_eq!(heard, [REQUEST.strip_suffix(b"56789").unwrap()]);
                assert!(reply.is_empty());
            }
        }
        assert_eq!(proxy.count(fault), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn the_same_seed_spoils_the_same_requests() {
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let (address, _) = server(REPLY).await;
        let plan = Plan::new(seed).percent(30).only(&[Fault::Refused(429), Fault::Refused(503)]);
        let proxy = FaultProxy::start(address, plan).await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..200 {
            let (reply, _) = ask(&proxy, 1).await;
            statuses.push(String::from_utf8_lossy(&reply).split(' ').nth(1).unwrap().to_owned());
        }
        let spoilt = statuses.iter().filter(|status| *status != "200").count();
        assert!((30..=90).contains(&spoilt), "{spoilt} of 200 is not about 30 percent");
        runs.push(statuses);
    }
    assert_eq!(runs.first(), runs.get(1));
    assert_ne!(runs.first(), runs.get(2));
}
