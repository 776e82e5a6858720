//! What it costs to register a large file, beside hashing it alone and copying it alone.
//! `cargo bench -p registry-tests --bench artifacts`; needs 7 GiB of free disk.
//!
//! The three are done in turn, round after round. An import hashes and copies, so it can at best be as fast
//! as the slower of the two; the last line says how near it comes.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use registry_core::{By, Content, Hasher, ModelName, Registration, RegistryExt as _, Upload, Version};

type Failure = Box<dyn std::error::Error>;

const SIZE: u64 = 2 << 30;
const PIECE: usize = 1 << 20;
const ROUNDS: usize = 5;

fn write_noise(path: &Path) -> Result<(), Failure> {
    let mut file = File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = Vec::with_capacity(PIECE);
    for _ in 0..SIZE / PIECE as u64 {
        piece.clear();
        while piece.len() < PIECE {
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

/// Reads a file in pieces, as an import does.
fn each_piece(path: &Path, mut use_piece: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        use_piece(piece.get(..read).unwrap_or_default())?;
    }
}

fn hash(path: &Path) -> Result<(), Failure> {
    let mut hasher = Hasher::new();
    each_piece(path, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    std::hint::black_box(hasher.finish());
    Ok(())
}

fn copy(path: &Path, target: &Path) -> Result<(), Failure> {
    let mut file = File::create(target)?;
    each_piece(path, |piece| file.write_all(piece))?;
    file.sync_all()?;
    Ok(())
}

async fn register(path: &Path, folder: &Path) -> Result<(), Failure> {
    let registry = backend_local::open(folder)?;
    let model: ModelName = "large".parse()?;
    let source = registry_files::FileSource::open(path)?;
    let upload = Upload { path: "model.bin".parse()?, source: &source };
    let registration = Registration::new(Version::new(1, 0, 0), Content::default());
    registry.register(&By::new("bench".parse()?), &model, registration, &[upload]).await?;
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let (source, target) = (place.path().join("source"), place.path().join("copy"));
    write_noise(&source)?;
    let (mut hashing, mut copying, mut registering) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        hash(&source)?;
        hashing.push(start.elapsed());

        let start = Instant::now();
        copy(&source, &target)?;
        copying.push(start.elapsed());
        std::fs::remove_file(&target)?;

        let folder = place.path().join(format!("registry-{round}"));
        let start = Instant::now();
        register(&source, &folder).await?;
        registering.push(start.elapsed());
        std::fs::remove_dir_all(&folder)?;
    }
    let speed = |time: Duration| SIZE as f64 / (1 << 30) as f64 / time.as_secs_f64();
    let (hash, copy, register) = (median(&mut hashing), median(&mut copying), median(&mut registering));
    println!("hash alone       {:.2} GiB/s", speed(hash));
    println!("copy and fsync   {:.2} GiB/s", speed(copy));
    println!("register         {:.2} GiB/s", speed(register));
    println!(
        "register reaches {:.2} of the slower of the two",
        speed(register) / speed(hash).min(speed(copy))
    );
    Ok(())
}
