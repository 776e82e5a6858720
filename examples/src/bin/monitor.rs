//! A service that answers with a new version, a rule that says how slow it may be, and somebody on call who gets a signed
//! webhook when the version is taken out. All of it in this process: the one on call is a thread.
//!
//! ```console
//! cargo run -p registry-examples --bin monitor
//! ```

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use registry_core::monitor::{Aggregate, Condition, Meters, Monitor, Rule};
use registry_core::{
    By, Clock as _, Content, Finite, ModelName, PromoteOptions, Registration, Registry as _,
    RegistryExt as _, Scope, Selector, Stage, SystemClock, Version,
};
use registry_examples::page::{answer, chapter, say};
use registry_monitoring::{Notification, Received, Secret, TOLERANCE, Webhook, verify};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Made up; make one of your own from 24 to 64 random bytes.
const SECRET: &str = "whsec_bWFkZSB1cCBhbmQgbG9uZyBlbm91Z2ggZm9yIGFueWJvZHk=";
/// The longest body that the one on call reads.
const BODY_BYTES_MAX: usize = 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = Arc::new(registry_core::in_memory());
    let (ana, replica) = (By::new("ana".parse()?), By::new("replica-1".parse()?));
    let model: ModelName = "fraud-detection".parse()?;

    chapter("A new version, and what it must not do");
    let (old, new) = (Version::new(3, 0, 0), Version::new(3, 1, 0));
    for version in [&old, &new] {
        let registration = Registration::new(version.clone(), Content::default());
        registry.register(&ana, &model, registration, &[]).await?;
        for stage in [Stage::Staging, Stage::Production] {
            registry.promote(&ana, &model, version, stage, PromoteOptions::default()).await?;
        }
    }
    let slow = Rule::new("latency".parse()?, Condition::Above(Finite::new(200.0)?)).of(Aggregate::P95);
    say(&format!("{new} is in production. The rule: {slow}."));
    let scope = Scope::Model(model.clone());
    registry.set_monitor_rule(&ana, &scope, "slow".parse()?, Some(slow)).await?;

    chapter("It serves, and turns slow");
    let meters = Meters::new(Some("replica-1".parse()?));
    let started = registry.clock().now();
    let latency = meters.meter(&new, &"latency".parse()?);
    // These times are made up; a service would measure its own.
    (0..500).for_each(|number| latency.observe(150.0 + f64::from(number)));
    let summaries = meters.take(started, registry.clock().now());
    for summary in &summaries {
        let p95 = summary.observed.aggregate(Aggregate::P95).unwrap_or(f64::NAN);
        answer(&format!("{} requests in the last minute, p95 {p95:.0} ms", summary.observed.count));
    }
    registry.report_health(&replica, &model, summaries).await?;

    chapter("A monitor looks, and somebody is told");
    let secret: Secret = SECRET.parse()?;
    let (address, on_call) = somebody_on_call(secret.clone())?;
    let webhook = Webhook::new(address.parse()?, secret)?;
    let mut monitor = Monitor::new(Arc::clone(&registry), model.clone()).telling(Arc::new(webhook));
    for finding in monitor.look().await? {
        say(&format!(
            "The rule `{}` is broken: {}; {}.",
            finding.rule, finding.breach.reason, finding.action
        ));
        if !finding.untold.is_empty() {
            return Err(finding.untold.join("; ").into());
        }
    }
    let told = on_call.recv_timeout(Duration::from_secs(10))??;
    say("On call, the signature was verified, and this was read:");
    answer(&told.to_string());

    let live = registry.get(&model, &Selector::PRODUCTION).await?;
    say(&format!("In production now: {}, since {} by {}.", live.version, live.staged.at, live.staged.actor));
    Ok(())
}

/// What the one on call believed, or why not.
type Told = std::result::Result<Notification, String>;

/// A thread that receives one webhook, verifies it and passes it on; and its address.
fn somebody_on_call(secret: Secret) -> Result<(String, Receiver<Told>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = format!("http://{}/on-call", listener.local_addr()?);
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more where this cannot be sent.
        let _ = sender.send(received(&listener, secret).map_err(|error| error.to_string()));
    });
    Ok((address, receiver))
}

/// Of HTTP only what is needed here; a service has a server for that.
fn received(listener: &TcpListener, secret: Secret) -> Result<Notification> {
    let (mut stream, _) = listener.accept()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut id, mut timestamp, mut signature, mut length) = Default::default();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            if line.trim().is_empty() { break } else { continue }
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => id = value.to_owned(),
            "webhook-timestamp" => timestamp = value.to_owned(),
            "webhook-signature" => signature = value.to_owned(),
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    if BODY_BYTES_MAX < length {
        return Err("the body is longer than any notification".into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let received = Received { id: &id, timestamp: &timestamp, signature: &signature };
    let verified = verify(&[secret], &received, &body, SystemClock.now(), TOLERANCE);
    let status = if verified.is_ok() { "204 No Content" } else { "401 Unauthorized" };
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")?;
    verified?;
    Ok(serde_json::from_slice(&body)?)
}
