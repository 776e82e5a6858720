//! Telling whoever is on call: over a real connection to a server that is away, too busy, gone, or somebody else.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod receiver;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use receiver::{Answer, Receiver, status};
use registry_core::monitor::{Action, Condition, Finding, Monitor, Observed, Rule, Summary};
use registry_core::{
    By, Clock, Content, Engine, Finite, ManualClock, MemoryArtifacts, MemoryLog, ModelName, PromoteOptions,
    Registration, Registry, RegistryExt as _, Scope, Stage, Timestamp, Version,
};
use registry_monitoring::{
    Form, Lines, Notification, Patience, Received, Secret, TOLERANCE, Undelivered, Webhook, verify,
};

const SECRET: &str = "whsec_bWFkZSB1cCBhbmQgbG9uZyBlbm91Z2ggZm9yIGFueWJvZHk=";

fn secret() -> Secret {
    SECRET.parse().unwrap()
}

fn start() -> Timestamp {
    "2024-01-15T10:30:00Z".parse().unwrap()
}

/// A clock that stands still, and notes how long was slept.
#[derive(Debug)]
struct Noting(ManualClock, Mutex<Vec<Duration>>);

impl Noting {
    fn new() -> Arc<Noting> {
        Arc::new(Noting(ManualClock::new(start()), Mutex::default()))
    }

    fn pauses(&self) -> Vec<u128> {
        self.1.lock().unwrap().iter().map(Duration::as_millis).collect()
    }
}

#[async_trait]
impl Clock for Noting {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.1.lock().unwrap().push(duration);
        self.0.sleep(duration).await;
    }
}

/// A registry in which v1.1.0 is in production and too slow.
async fn too_slow() -> (Arc<dyn Registry>, ModelName) {
    let clock = Arc::new(ManualClock::new(start()));
    let engine = Engine::new(Arc::<MemoryLog>::default(), Arc::<MemoryArtifacts>::default());
    let registry: Arc<dyn Registry> = Arc::new(engine.with_clock(clock.clone()));
    let (by, model): (By, ModelName) = (By::new("ana".parse().unwrap()), "fraud".parse().unwrap());
    for minor in [0, 1] {
        let version = Version::new(1, minor, 0);
        let registration = Registration::new(version.clone(), Content::default());
        registry.register(&by, &model, registration, &[]).await.unwrap();
        for stage in [Stage::Staging, Stage::Production] {
            registry.promote(&by, &model, &version, stage, PromoteOptions::default()).await.unwrap();
        }
    }
    let rule = Rule::new("latency".parse().unwrap(), Condition::Above(Finite::new(200.0).unwrap()));
    let scope = Scope::Model(model.clone());
    registry.set_monitor_rule(&by, &scope, "slow".parse().unwrap(), Some(rule)).await.unwrap();
    clock.advance(Duration::from_secs(60));
    let now = clock.now();
    let summary = Summary {
        version: Version::new(1, 1, 0),
        metric: "latency".parse().unwrap(),
        from: now,
        until: now,
        replica: None,
        observed: Observed::of([500.0, 900.0]),
    };
    registry.report_health(&by, &model, vec![summary]).await.unwrap();
    (registry, model)
}

async fn finding() -> Finding {
    let (registry, model) = too_slow().await;
    Monitor::new(registry, model).look().await.unwrap().remove(0)
}

async fn notification() -> Notification {
    Notification::from(&finding().await)
}

async fn sent(
    answers: impl IntoIterator<Item = Answer>,
) -> (Result<u32, Undelivered>, Receiver, Arc<Noting>) {
    let receiver = Receiver::answering(answers).await;
    let clock = Noting::new();
    let address = receiver.url("/hooks/PATH-SECRET?token=QUERY-SECRET").parse().unwrap();
    let patience = Patience { attempt_max: Duration::from_millis(300), ..Patience::default() };
    let webhook = Webhook::new(address, secret()).unwrap().with_clock(clock.clone()).with_patience(patience);
    let told = webhook.send(&notification().await).await;
    (told.map(|delivered| delivered.attempts), receiver, clock)
}

#[tokio::test]
async fn what_is_told_looks_like_this() {
    let text = serde_json::to_string_pretty(&notification().await).unwrap();
    insta::assert_snapshot!("notification", text);
    let again: Notification = serde_json::from_str(&text).unwrap();
    assert_eq!(again, notification().await);
}

#[tokio::test]
async fn the_id_is_that_of_the_finding_whoever_was_told_before() {
    let mut finding = finding().await;
    let id = Notification::from(&finding).id;
    finding.untold.push("the pager is broken".to_owned());
    assert_eq!(Notification::from(&finding).id, id);
    finding.action = Action::Alerted;
    assert_ne!(Notification::from(&finding).id, id);
}

#[tokio::test]
async fn a_receiver_verifies_what_it_got() {
    let (told, receiver, _) = sent([status(204)]).await;
    assert_eq!(told, Ok(1));
    let sent = &receiver.sent()[0];
    assert_eq!(
        (sent.method.as_str(), sent.uri.to_string().as_str()),
        ("POST", "/hooks/PATH-SECRET?token=QUERY-SECRET")
    );
    assert_eq!(sent.header("content-type"), "application/json");
    let received = Received {
        id: sent.header("webhook-id"),
        timestamp: sent.header("webhook-timestamp"),
        signature: sent.header("webhook-signature"),
    };
    verify(&[secret()], &received, &sent.body, start(), TOLERANCE).unwrap();
    let notification: Notification = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(notification.id, received.id);
    assert_eq!(notification.breach.watched.version, Version::new(1, 1, 0));
}

#[tokio::test]
async fn what_passes_is_tried_again_under_the_same_id() {
    let busy = |after: &str| Answer::With(429, vec![("retry-after", after.to_owned())], Vec::new());
    for (answers, attempts, pauses) in [
        (vec![status(500), status(503), status(200)], 3, vec![500, 1_000]),
        (vec![Answer::Cut, Answer::Never, status(200)], 3, vec![500, 1_000]),
        (vec![busy("7"), status(408), status(202)], 3, vec![7_000, 1_000]),
        (vec![busy("Mon, 15 Jan 2024 10:30:05 GMT"), status(200)], 2, vec![5_000]),
    ] {
        let shown = format!("{answers:?}");
        let (told, receiver, clock) = sent(answers).await;
        assert_eq!((told, clock.pauses()), (Ok(attempts), pauses), "{shown}");
        let sent = receiver.sent();
        assert!(sent.iter().all(|one| one.header("webhook-id") == sent[0].header("webhook-id")), "{shown}");
        let now = clock.now();
        for one in &sent {
            let received = Received {
                id: one.header("webhook-id"),
                timestamp: one.header("webhook-timestamp"),
                signature: one.header("webhook-signature"),
            };
            verify(&[secret()], &received, &one.body, now, TOLERANCE).unwrap();
        }
    }
}

#[tokio::test]
async fn what_does_not_pass_is_said_and_no_secret_with_it() {
    let elsewhere = Receiver::answering([status(200)]).await;
    let redirect = Answer::With(307, vec![("location", elsewhere.url("/STOLEN-SECRET"))], Vec::new());
    let asks = |after: &str| Answer::With(503, vec![("retry-after", after.to_owned())], Vec::new());
    for (answers, requests, says) in [
        (vec![status(400)], 1, "answered 400"),
        (vec![status(401)], 1, "answered 401; does it know the same secret?"),
        (vec![status(410)], 1, "answered 410; is the address still right?"),
        (vec![redirect], 1, "answered 307; redirects are not followed"),
        (vec![status(500), status(404)], 2, "answered 404"),
        (vec![status(502)], 5, "was not reached in 5 attempts: it answered 502"),
        (vec![Answer::Cut], 5, "was not reached in 5 attempts: no whole answer"),
        // Whoever asks for an hour is asked again after the longest pause, as long as there is time.
        (vec![asks("3600")], 3, "in 3 attempts: it answered 503 and asked to wait 3600 s"),
    ] {
        let (told, receiver, _) = sent(answers).await;
        let error = told.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(says), "{shown}");
        assert!(shown.contains(&receiver.url("/…")) && !shown.contains("SECRET"), "{shown}");
        assert_eq!(receiver.sent().len(), requests, "{shown}");
    }
    assert_eq!(elsewhere.sent().len(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_hides_no_rollback() {
    let nobody = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        format!("http://{}/hook", listener.local_addr().unwrap())
    };
    let patience = Patience { attempts_max: NonZeroU32::new(2).unwrap(), ..Patience::default() };
    let webhook = Webhook::new(nobody.parse().unwrap(), secret())
        .unwrap()
        .with_clock(Noting::new())
        .with_patience(patience);
    let there = Receiver::answering([status(200)]).await;
    let second = Webhook::new(there.url("/").parse().unwrap(), secret()).unwrap();
    let (registry, model) = too_slow().await;
    let mut monitor = Monitor::new(registry, model).telling(Arc::new(webhook)).telling(Arc::new(second));
    let findings = monitor.look().await.unwrap();
    assert_eq!(findings[0].action, Action::RolledBack { to: Version::new(1, 0, 0) });
    assert_eq!(findings[0].untold.len(), 1);
    assert!(findings[0].untold[0].contains("was not reached in 2 attempts: no connection"), "{findings:?}");
    // The one that is there hears of it too.
    let told: Notification = serde_json::from_slice(&there.sent()[0].body).unwrap();
    assert_eq!(told.untold, findings[0].untold);
}

/// What was written, shared with the test.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_line_for_programs_and_one_for_people() {
    let (programs, people) = (Written::default(), Written::default());
    let (registry, model) = too_slow().await;
    Monitor::new(registry, model)
        .telling(Arc::new(Lines::new(Form::Json, programs.clone())))
        .telling(Arc::new(Lines::new(Form::Sentence, people.clone())))
        .look()
        .await
        .unwrap();
    let text = |written: &Written| String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text(&programs), format!("{}\n", serde_json::to_string(&notification().await).unwrap()));
    insta::assert_snapshot!("sentence", text(&people));
}
