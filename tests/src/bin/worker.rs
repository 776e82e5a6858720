//! A process that uses a registry, for tests that need several, or one to be killed.
//!
//! It prints a line for every commit that was acknowledged: `<revision> <request id>`.

use std::io::Write as _;

use registry_core::{By, Error, ModelName, Receipt, RegistryExt as _, Version};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["tags", url, model, writer, count] => tags(url, &model.parse()?, writer, count.parse()?).await?,
        ["life", url, model] => life(url, &model.parse()?).await?,
        ["promote", url, model, version] => promote(url, &model.parse()?, &version.parse()?).await?,
        ["file", url, model, path] => file(url, &model.parse()?, path).await?,
        _ => return Err("usage: worker tags|life|promote|file URL MODEL …".into()),
    }
    Ok(())
}

fn acknowledge(receipt: &Receipt) {
    if let Some(commit) = receipt.commit() {
        let mut out = std::io::stdout().lock();
        // If nobody listens any more, nobody will miss it.
        let _ = writeln!(out, "{} {}", commit.revision, receipt.request_id);
        let _ = out.flush();
    }
}

/// So many commits to one model.
async fn tags(url: &str, model: &ModelName, writer: &str, count: usize) -> Result<(), Error> {
    let registry = registry_tests::open(url).await?;
    let by = By::new(writer.parse()?);
    for number in 0..count {
        let set = [(format!("{writer}-{number}").parse()?, String::new())].into();
        acknowledge(&registry.change_tags(&by, model, None, set, Vec::new()).await?);
    }
    Ok(())
}

/// Registers and promotes until it is killed.
async fn life(url: &str, model: &ModelName) -> Result<(), Error> {
    let registry = registry_tests::open(url).await?;
    let by = By::new("worker".parse()?);
    for minor in 0..10_000 {
        let version = Version::new(1, minor, 0);
        acknowledge(&registry_tests::register(&registry, &by, model, &version).await?.receipt);
        registry_tests::into_production(&registry, &by, model, &version).await?;
        if minor % 3 == 2 {
            acknowledge(&registry.rollback(&by, model, None, false).await?.receipt);
        }
    }
    Ok(())
}

/// One promotion from staging to production.
async fn promote(url: &str, model: &ModelName, version: &Version) -> Result<(), Error> {
    let registry = registry_tests::open(url).await?;
    let by = By::new("racer".parse()?);
    let options = Default::default();
    let done = registry.promote(&by, model, version, registry_core::Stage::Production, options).await?;
    acknowledge(done.receipt());
    Ok(())
}

/// Registers one file, and prints how much memory the process has used at most, in KiB.
async fn file(url: &str, model: &ModelName, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let registry = registry_tests::open(url).await?;
    let by = By::new("worker".parse()?);
    let source = registry_files::FileSource::open(path)?;
    let upload = registry_core::Upload { path: "model.bin".parse()?, source: &source };
    let registration = registry_core::Registration::new(Version::new(1, 0, 0), Default::default());
    registry.register(&by, model, registration, &[upload]).await?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    println!("{}", peak.trim().trim_end_matches(" kB"));
    Ok(())
}
