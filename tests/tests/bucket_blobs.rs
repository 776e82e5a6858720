//! Large files in a bucket on a real S3 server: in parts, interrupted by a network that is gone or by a kill,
//! resumed, downloaded by URL, and beside a collector. `cargo xtask test` starts the server.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use registry_core::storage::{ArtifactStore, ByteSource, ByteStream, StorageError, StorageErrorKind};
use registry_core::{
    Artifact, Clock as _, Digest, IdSource as _, ModelName, Registry, RegistryExt as _, Selector,
    SystemClock, SystemIds, Timestamp, VerifyOptions,
};
use registry_tests::fault_proxy::{Fault, FaultProxy, Plan};
use registry_tests::{s3_server, s3_url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MIB: u64 = 1024 * 1024;
const PART: u64 = 8 * MIB;
/// What may be sent twice when an upload is resumed: what was under way, and what was not noted yet.
const UNDER_WAY: u64 = 14 * PART;

fn fresh() -> String {
    format!("run-{:032x}", SystemIds.next_id())
}

async fn open(endpoint: SocketAddr, prefix: &str) -> Arc<dyn Registry> {
    registry_tests::open(&s3_url(endpoint, prefix)).await.unwrap()
}

/// Bytes no two parts of which are alike.
fn noise(size: u64, seed: u64) -> Bytes {
    let piece: Vec<u8> = (0..MIB).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut bytes = Vec::with_capacity(usize::try_from(size + MIB).unwrap());
    for number in 0..=size / MIB {
        bytes.extend_from_slice(&(seed ^ (number << 32)).to_le_bytes());
        bytes.extend_from_slice(&piece);
    }
    bytes.truncate(usize::try_from(size).unwrap());
    bytes.into()
}

async fn whole(store: &dyn ArtifactStore, digest: &Digest) -> Result<Vec<u8>, StorageError> {
    let pieces: Vec<Bytes> = store.read(digest, None).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// A request without a body, by hand: the status line and the body of the answer.
async fn get(path: &str) -> (String, Vec<u8>) {
    let mut stream = tokio::net::TcpStream::connect(s3_server().unwrap()).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", s3_server().unwrap());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(answer.get(..end).unwrap()).into_owned();
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    (head.lines().next().unwrap().to_owned(), answer.get(end + 4..).unwrap().to_vec())
}

/// How many uploads below a prefix the server holds that are neither complete nor aborted.
async fn uploads(prefix: &str) -> usize {
    let (status, body) = get("/registry-test?uploads").await;
    assert!(status.contains(" 200 "), "{status}");
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("ListMultipartUploadsResult"), "{body}");
    body.matches(&format!("<Key>{prefix}/")).count()
}

/// Breaks off at a place when it is read again.
struct BreaksOff(Bytes, usize, Mutex<u32>);

#[async_trait]
impl ByteSource for BreaksOff {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        let opened = {
            let mut opened = self.2.lock().unwrap();
            *opened += 1;
            *opened
        };
        if opened == 1 {
            return self.0.open(start).await;
        }
        let broken = StorageError::new(StorageErrorKind::NotDone, "the source broke off");
        let read = self.0.slice(..self.1).open(start).await?;
        Ok(Box::pin(read.chain(futures_util::stream::iter([Err(broken)]))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_blobs_come_back_and_no_upload_is_left() {
    let prefix = fresh();
    let registry = open(s3_server().unwrap(), &prefix).await;
    for size in [PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, 5 * PART + 4_321] {
        let bytes = noise(size, size);
        let digest = Digest::of(&bytes);
        let putting = (0..3).map(|_| registry.artifacts().put(&bytes, &|_| {}));
        for put in join_all(putting).await {
            assert_eq!(put.unwrap().digest, digest);
        }
        assert!(
            whole(registry.artifacts(), &digest).await.unwrap() == bytes,
            "{size} bytes came back changed"
        );
        let part = registry.artifacts().read(&digest, Some(PART - 5..PART + 5)).await.unwrap();
        let part: Vec<Bytes> = part.try_collect().await.unwrap();
        let range = usize::try_from(PART - 5).unwrap()..usize::try_from((PART + 5).min(size)).unwrap();
        assert_eq!(part.concat(), bytes.slice(range));
    }
    assert_eq!(uploads(&prefix).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_breaks_off_leaves_no_upload() {
    let prefix = fresh();
    let registry = open(s3_server().unwrap(), &prefix).await;
    let bytes = noise(6 * PART, 1);
    let source = BreaksOff(bytes.clone(), usize::try_from(4 * PART + 9).unwrap(), Mutex::new(0));
    let error = registry.artifacts().put(&source, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("the source broke off"), "{error}");
    assert_eq!(uploads(&prefix).await, 0);
    assert_eq!(registry.artifacts().stat(&Digest::of(&bytes)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_the_network_was_gone_an_upload_goes_on_where_it_was_and_old_ones_are_given_up() {
    let prefix = fresh();
    let proxy = FaultProxy::start(s3_server().unwrap(), Plan::new(1).only(&[Fault::Lost])).await.unwrap();
    let registry = open(proxy.address(), &prefix).await;
    let bytes = noise(40 * PART + 1, 2);
    let gone = |moved| {
        if 24 * PART <= moved {
            proxy.set_percent(100);
        }
    };
    let error = registry.artifacts().put(&bytes, &gone).await.unwrap_err();
    assert!(!error.to_string().contains("made-up-secret"), "{error}");
    proxy.set_percent(0);
    let first = proxy.bytes();
    assert!(24 * PART <= first, "{first}");
    assert_eq!(uploads(&prefix).await, 1);

    // Another process, as it were.
    let registry = open(proxy.address(), &prefix).await;
    assert_eq!(registry.artifacts().remove_abandoned(Timestamp::EPOCH).await.unwrap(), 0);
    registry.artifacts().put(&bytes, &|_| {}).await.unwrap();
    let all = proxy.bytes();
    assert!(all <= 40 * PART + UNDER_WAY, "{first} bytes were sent, and then {} more", all - first);
    assert!(whole(registry.artifacts(), &Digest::of(&bytes)).await.unwrap() == bytes);
    assert_eq!(uploads(&prefix).await, 0);

    // One that nobody goes on with is given up.
    let bytes = noise(40 * PART + 1, 3);
    registry.artifacts().put(&bytes, &gone).await.unwrap_err();
    proxy.set_percent(0);
    assert_eq!(uploads(&prefix).await, 1);
    let later = SystemClock.now().saturating_add(Duration::from_secs(5));
    assert_eq!(registry.artifacts().remove_abandoned(later).await.unwrap(), 1);
    assert_eq!(uploads(&prefix).await, 0);
    registry.artifacts().put(&bytes, &|_| {}).await.unwrap();
    assert!(whole(registry.artifacts(), &Digest::of(&bytes)).await.unwrap() == bytes);
}

fn worker(words: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.args(words).stdout(Stdio::piped()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_upload_is_resumed_by_the_next_process_within_little_memory() {
    let prefix = fresh();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.bin");
    let bytes = noise(40 * PART + 77, 4);
    std::fs::write(&path, &bytes).unwrap();
    let proxy = FaultProxy::start(s3_server().unwrap(), Plan::new(1)).await.unwrap();
    let url = s3_url(proxy.address(), &prefix);
    let words = ["file", &url, "large", path.to_str().unwrap()];
    let mut killed = worker(&words);
    while proxy.bytes() < 24 * PART {
        assert!(killed.try_wait().unwrap().is_none(), "it is done before it is killed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let first = proxy.bytes();
    assert_eq!(uploads(&prefix).await, 1);

    let output = tokio::task::spawn_blocking(move || {
        let words = ["file", &url, "large", path.to_str().unwrap()];
        worker(&words).wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success());
    let all = proxy.bytes();
    assert!(all <= 40 * PART + UNDER_WAY, "{first} bytes were sent, and then {} more", all - first);
    assert_eq!(uploads(&prefix).await, 0);
    let peak_kib: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(peak_kib < 128 * 1024, "{peak_kib} KiB");

    let registry = open(s3_server().unwrap(), &prefix).await;
    let model: ModelName = "large".parse().unwrap();
    let found = registry.get(&model, &Selector::LATEST).await.unwrap();
    let file: Artifact = found.content.artifacts.iter().next().unwrap().clone();
    assert!(registry.read(&file, 1 << 30).await.unwrap() == bytes);
    let options = VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() };
    assert!(registry.verify(&model, options).await.unwrap().is_sound());
}

/// Every fifth request goes wrong. A put that fails is repeated, as a caller would.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_blobs_arrive_whole_through_a_network_that_spoils_every_fifth_request() {
    let prefix = fresh();
    let proxy = FaultProxy::start(s3_server().unwrap(), Plan::new(9)).await.unwrap();
    let registry = open(proxy.address(), &prefix).await;
    proxy.set_percent(20);
    let blobs: Vec<Bytes> = (0..4).map(|number| noise((10 + number) * PART + number, number)).collect();
    let putting = blobs.iter().map(|bytes| async {
        for _ in 0..50 {
            match registry.artifacts().put(bytes, &|_| {}).await {
                Ok(blob) => return blob.digest,
                Err(error) => assert_eq!(error.kind, StorageErrorKind::NotDone, "{error}"),
            }
        }
        panic!("a put does not succeed");
    });
    let digests = join_all(putting).await;
    for (digest, bytes) in digests.iter().zip(&blobs) {
        // What arrives without an error is whole, also through the proxy.
        for attempt in 0.. {
            assert!(attempt < 50, "a read does not succeed");
            if let Ok(read) = whole(registry.artifacts(), digest).await {
                assert!(read == *bytes, "what was read is not what was put");
                break;
            }
        }
    }
    assert!(30 < proxy.counts().values().sum::<u64>(), "{:?}", proxy.counts());
    proxy.set_percent(0);
    registry
        .artifacts()
        .remove_abandoned(SystemClock.now().saturating_add(Duration::from_secs(5)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_url_gives_the_bytes_without_the_registry_and_holds_no_secret() {
    let prefix = fresh();
    // The server was told this key and its secret, and checks the signatures of URLs.
    let registry = open(s3_server().unwrap(), &prefix).await;
    let bytes = noise(100_000, 5);
    let path = "model.bin".parse().unwrap();
    let artifact = registry.upload(&path, &bytes, &|_| {}).await.unwrap();
    let url = registry.download_url(&artifact, Duration::from_secs(60)).await.unwrap().unwrap();
    let start = format!("http://{}", s3_server().unwrap());
    let target = url.strip_prefix(&start).unwrap_or_else(|| panic!("{url}"));
    assert!(target.contains("X-Amz-Signature=") && target.contains("X-Amz-Expires=60"), "{target}");
    let (status, body) = get(target).await;
    assert!(status.contains(" 200 "), "{status}");
    assert!(body == bytes, "{} bytes came", body.len());
    let (status, _) = get(&target.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).await;
    assert!(status.contains(" 403 "), "a changed URL is as good: {status}");
    assert!(!url.contains("made-up-secret"), "{url}");
}

/// The server's dates are whole seconds, so what is old must be made a while before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bytes_whose_put_was_acknowledged_are_never_collected_beside_it() {
    const BLOBS: u64 = 80;
    let prefix = fresh();
    let (writer, collector) =
        (open(s3_server().unwrap(), &prefix).await, open(s3_server().unwrap(), &prefix).await);
    let blobs: Vec<Bytes> = (0..BLOBS).map(|number| noise(100, number)).collect();
    for bytes in &blobs {
        writer.artifacts().put(bytes, &|_| {}).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let cutoff = SystemClock.now();
    let races = blobs.iter().enumerate().map(|(number, bytes)| {
        let (writer, collector) = (&writer, &collector);
        async move {
            let digest = Digest::of(bytes);
            let put = async {
                tokio::time::sleep(Duration::from_micros(number as u64 % 50 * 200)).await;
                writer.artifacts().put(bytes, &|_| {}).await.unwrap();
            };
            let (removed, ()) = tokio::join!(collector.artifacts().remove(&digest, cutoff), put);
            let found = writer.artifacts().stat(&digest).await.unwrap();
            assert_eq!(found, Some(100), "the bytes are gone");
            removed.unwrap()
        }
    });
    let races = futures_util::stream::iter(races).buffer_unordered(4);
    let removed: Vec<bool> = races.collect().await;
    let removed = removed.into_iter().filter(|removed| *removed).count();
    println!("{removed} of {BLOBS} were removed, and put again");
}
