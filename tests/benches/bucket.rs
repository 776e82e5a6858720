//! What a large file costs to put into a bucket and to get out again, beside `object_store` alone doing the
//! same transfer with the same parts and as many of them at once.
//! `REGISTRY_TEST_S3=http://127.0.0.1:<port> cargo bench -p registry-tests --bench bucket`; needs a server on
//! this machine with a bucket `registry-test`, 8 GiB of memory for it if it keeps everything there, and
//! 2 GiB of free disk.
//!
//! The two are done in turn, round after round. Ours hashes before it sends, checks what it sends, and
//! verifies what it reads; the other does none of it. How much memory ours takes is measured first, in a
//! process of its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path as FilePath;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend_objectstore::object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use backend_objectstore::object_store::path::Path;
use backend_objectstore::object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_core::storage::ByteSource as _;
use registry_core::{Artifact, Hasher, IdSource as _, Registry, RegistryExt as _, SystemIds};
use registry_files::FileSource;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SIZE: u64 = 2 << 30;
const ROUNDS: usize = 3;
/// As in the crate: the size of parts and ranges, and how many are under way at once.
const PART: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;
const RANGE: u64 = 4 << 20;
const RANGES_AT_ONCE: usize = 6;

fn write_noise(path: &FilePath) -> Result<(), Failure> {
    let mut file = File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = Vec::with_capacity(1 << 20);
    for _ in 0..SIZE >> 20 {
        piece.clear();
        while piece.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            piece.extend_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(())
}

/// Reads the file as ours does, cuts it into parts and sends them, each in a task of its own.
async fn upload_alone(store: &Arc<dyn ObjectStore>, key: &Path, source: &FileSource) -> Result<(), Failure> {
    let mut upload = store.put_multipart(key).await?;
    let mut stream = source.open(0).await?;
    let mut sending = JoinSet::new();
    let (mut part, mut length) = (Vec::new(), 0);
    loop {
        let mut piece = stream.next().await.transpose()?;
        let ended = piece.is_none();
        while length == PART || (ended && length != 0) || piece.as_ref().is_some_and(|p| !p.is_empty()) {
            if let Some(piece) = piece.as_mut().filter(|_| length < PART) {
                let cut = piece.split_to(piece.len().min(PART - length));
                length += cut.len();
                part.push(cut);
            }
            if length == PART || ended {
                if PARTS_AT_ONCE <= sending.len() {
                    sending.join_next().await.transpose()?.transpose()?;
                }
                let payload: PutPayload = std::mem::take(&mut part).into_iter().collect();
                length = 0;
                sending.spawn(upload.put_part(payload));
            }
        }
        if ended {
            break;
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    upload.complete().await?;
    Ok(())
}

/// Reads by ranges, each in a task of its own, in order.
async fn download_alone(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<u64, Failure> {
    let size = store.head(key).await?.size;
    let mut pieces = futures_util::stream::iter((0..size).step_by(RANGE as usize))
        .map(|start| {
            let (store, key) = (Arc::clone(store), key.clone());
            let range = start..size.min(start + RANGE);
            async move { tokio::spawn(async move { store.get_range(&key, range).await }).await }
        })
        .buffered(RANGES_AT_ONCE);
    let mut read = 0;
    while let Some(piece) = pieces.next().await {
        let piece: Bytes = piece??;
        read += std::hint::black_box(piece).len() as u64;
    }
    Ok(read)
}

/// One number of KiB from the system's account of this process.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Ours alone, in a process of its own, whose memory is then nobody else's: prints the peak in KiB after
/// the upload and after the download.
async fn ours_alone(url: &str, path: &str) -> Result<(), Failure> {
    let registry = registry_tests::open(url).await?;
    let artifact = registry.upload(&"model.bin".parse()?, &FileSource::open(path)?, &|_| {}).await?;
    println!("{}", peak_kib());
    read(&*registry, &artifact).await?;
    println!("{}", peak_kib());
    Ok(())
}

async fn read(registry: &dyn Registry, artifact: &Artifact) -> Result<(), Failure> {
    let mut stream = registry.open(artifact).await?;
    while let Some(piece) = stream.next().await {
        std::hint::black_box(piece?);
    }
    Ok(())
}

#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
}

impl Measured {
    async fn add<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let start = Instant::now();
        let done = work.await?;
        self.times.push(start.elapsed());
        Ok(done)
    }

    fn median(&mut self) -> f64 {
        self.times.sort_unstable();
        self.times.get(self.times.len() / 2).copied().unwrap_or_default().as_secs_f64()
    }

    fn show(&mut self, what: &str) {
        let speed = SIZE as f64 / (1_u64 << 30) as f64 / self.median();
        println!("{what:32} {speed:.2} GiB/s, {:.2} s", self.median());
    }
}

async fn compare(
    name: &str,
    registry: &dyn Registry,
    store: Arc<dyn ObjectStore>,
    source: &FileSource,
    blob: &Path,
    bare: &Path,
) -> Result<(), Failure> {
    let [mut up, mut up_alone, mut down, mut down_alone] = [(); 4].map(|()| Measured::default());
    let path = "model.bin".parse()?;
    for _ in 0..ROUNDS {
        let ours = up.add(async { Ok(registry.upload(&path, source, &|_| {}).await?) }).await?;
        down.add(read(registry, &ours)).await?;
        store.delete(blob).await?;
        up_alone.add(upload_alone(&store, bare, source)).await?;
        down_alone.add(download_alone(&store, bare)).await?;
        store.delete(bare).await?;
    }
    up.show(&format!("{name}: upload"));
    up_alone.show(&format!("{name}: upload, store alone"));
    println!("{name}: upload ratio {:.2}", up.median() / up_alone.median());
    down.show(&format!("{name}: download"));
    down_alone.show(&format!("{name}: download, store alone"));
    println!("{name}: download ratio {:.2}", down.median() / down_alone.median());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, url, path] = &arguments[..]
        && word == "ours"
    {
        return ours_alone(url, path).await;
    }
    let Ok(server) = registry_tests::s3_server() else {
        println!("bucket: no server; start one and set REGISTRY_TEST_S3");
        return Ok(());
    };
    let place = tempfile::tempdir()?;
    let path = place.path().join("source");
    write_noise(&path)?;
    let source = FileSource::open(&path)?;

    let mut hasher = Hasher::new();
    let start = Instant::now();
    let mut stream = source.open(0).await?;
    while let Some(piece) = stream.next().await {
        hasher.update(&piece?);
    }
    let digest = hasher.finish();
    println!("reading and hashing alone takes {:.2} s", start.elapsed().as_secs_f64());

    let run = format!("bench-{:032x}", SystemIds.next_id());
    let hex = digest.hex();
    let (first, rest) = hex.split_at(2);
    let blob = Path::parse(format!("{run}/blobs/sha256/{first}/{rest}"))?;
    let bare = Path::parse(format!("{run}-alone"))?;
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{server}"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id("made-up-key")
        .with_secret_access_key("made-up-secret")
        .with_bucket_name("registry-test")
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()?;
    let registry = registry_tests::open(&registry_tests::s3_url(server, &run)).await?;
    let output = Command::new(std::env::current_exe()?)
        .args(["ours".as_ref(), registry_tests::s3_url(server, &run).as_ref(), path.as_os_str()])
        .output()?;
    let peaks = String::from_utf8(output.stdout)?;
    println!("peak memory in KiB after the upload, and after the download: {}", peaks.replace('\n', " "));
    store.delete(&blob).await?;
    compare("S3", &*registry, Arc::new(store), &source, &blob, &bare).await
}
