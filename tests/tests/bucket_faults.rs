//! A bucket on a real S3 server behind a proxy that spoils every fifth request: nothing is lost, nothing is
//! done twice, and nothing is reported as failed that happened. `cargo xtask test` starts the server.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::{
    By, Content, Error, IdSource as _, ModelName, Outcome, PromoteOptions, Receipt, Recorded, Registration,
    Registry, RegistryExt as _, Revision, Stage, SystemIds, Upload, VerifyOptions, Version,
};
use registry_tests::fault_proxy::{Fault, FaultProxy, Plan};

/// How often a caller asks again, under the same id, before the test calls it hopeless.
const ATTEMPTS_MAX: u32 = 300;

/// As a caller does who does not give up.
async fn open(url: &str) -> Arc<dyn Registry> {
    for _ in 0..ATTEMPTS_MAX {
        match registry_tests::open(url).await {
            Ok(registry) => return registry,
            Err(Error::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the registry cannot be opened");
}

fn model() -> ModelName {
    "troubled".parse().unwrap()
}

fn bytes_of(version: &Version) -> Bytes {
    let line = format!("the weights of {version}\n");
    line.repeat(2_000).into()
}

/// What a writer asks for, one after the other.
#[derive(Debug, Clone)]
enum Verb {
    Register(Version),
    Tag,
    Promote(Version, Stage),
    Rollback,
}

async fn ask(registry: &Arc<dyn Registry>, by: &By, id: &str, verb: &Verb) -> Result<Receipt, Error> {
    match verb {
        Verb::Register(version) => {
            let bytes = bytes_of(version);
            let upload = Upload { path: "model.bin".parse().unwrap(), source: &bytes };
            let registration = Registration::new(version.clone(), Content::default());
            Ok(registry.register(by, &model(), registration, &[upload]).await?.receipt)
        }
        Verb::Tag => {
            let set = [(id.parse().unwrap(), String::new())].into();
            registry.change_tags(by, &model(), None, set, Vec::new()).await
        }
        Verb::Promote(version, stage) => {
            let done = registry.promote(by, &model(), version, *stage, PromoteOptions::default()).await?;
            Ok(done.receipt().clone())
        }
        Verb::Rollback => Ok(registry.rollback(by, &model(), None, false).await?.receipt),
    }
}

/// Writes until it has so many commits acknowledged; gives them by their request ids.
async fn writer(writer: u64, url: String, commits: usize) -> BTreeMap<String, Recorded> {
    let registry = open(&url).await;
    let mut acknowledged = BTreeMap::new();
    let mut number = 0;
    while acknowledged.len() < commits {
        let version = Version::new(writer + 1, number / 8, 0);
        let verb = match number % 8 {
            0 => Verb::Register(version),
            2 => Verb::Promote(version, Stage::Staging),
            4 => Verb::Promote(version, Stage::Production),
            6 => Verb::Rollback,
            _ => Verb::Tag,
        };
        let id = format!("w{writer}-n{number}");
        number += 1;
        let by = By::new(format!("writer-{writer}").parse().unwrap()).with_request_id(id.parse().unwrap());
        let mut unknown = false;
        for attempt in 0.. {
            assert!(attempt < ATTEMPTS_MAX, "{id} ({verb:?}) does not get done");
            match ask(&registry, &by, &id, &verb).await {
                Ok(receipt) => {
                    match receipt.outcome {
                        Outcome::Committed(recorded) => drop(acknowledged.insert(id, recorded)),
                        Outcome::Repeated(recorded) => {
                            assert!(unknown, "{id} ({verb:?}) was reported as failed, and had happened");
                            acknowledged.insert(id, recorded);
                        }
                        Outcome::Unchanged => {}
                        other => panic!("{id}: {other:?}"),
                    }
                    break;
                }
                Err(Error::OutcomeUnknown { .. }) => unknown = true,
                Err(Error::Unavailable(_) | Error::Contention { .. }) => {}
                // Another writer was faster, and now there is nothing to go back to.
                Err(Error::Rejected(_)) if matches!(verb, Verb::Rollback | Verb::Promote(..)) => break,
                Err(other) => panic!("{id} ({verb:?}): {other}"),
            }
        }
    }
    acknowledged
}

async fn troubled(seed: u64, commits_each: usize) -> BTreeMap<Fault, u64> {
    const WRITERS: u64 = 4;
    let prefix = format!("run-{:032x}/faults", SystemIds.next_id());
    let proxy =
        FaultProxy::start(registry_tests::s3_server().unwrap(), Plan::new(seed).percent(20)).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            tokio::spawn(writer(number, registry_tests::s3_url(proxy.address(), &prefix), commits_each))
        })
        .collect();
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let counts = proxy.counts();
    println!("seed {seed}: {} requests, spoilt: {counts:?}", proxy.requests());
    drop(proxy);

    let server = registry_tests::s3_server().unwrap();
    let registry = open(&registry_tests::s3_url(server, &prefix)).await;
    let log = registry.log(&model(), Revision::FIRST, 10_000).await.unwrap();
    let mut found = BTreeMap::new();
    for recorded in log {
        let id = recorded.commit.request_id.to_string();
        assert_eq!(found.insert(id.clone(), recorded), None, "{id} was carried out twice");
    }
    assert_eq!(found.len(), usize::try_from(WRITERS).unwrap() * commits_each);
    assert!(found == acknowledged, "what is in the log is not what was acknowledged");
    let verified = registry.verify(&model(), VerifyOptions { bytes: true, against: None }).await.unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    let state = registry.model(&model()).await.unwrap();
    assert_eq!(u64::try_from(state.versions().count()).unwrap(), verified.files);
    for version in state.versions() {
        let file = version.content.artifacts.iter().next().unwrap();
        assert_eq!(registry.read(file, 1_000_000).await.unwrap(), bytes_of(&version.version));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_of_500_commits_lose_double_and_misreport_nothing() {
    let counts = troubled(1, 125).await;
    for fault in Fault::ALL {
        assert!(0 < counts.get(&fault).copied().unwrap_or(0), "{fault:?} never happened: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_have_other_troubles_with_another_seed() {
    troubled(2, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_have_yet_other_troubles_with_a_third_seed() {
    troubled(3, 30).await;
}

/// A new registry tries its store out. That a reply was lost then says nothing against the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fit_store_is_not_called_unfit_because_replies_are_lost() {
    let plan = Plan::new(1).percent(20).only(&[Fault::ReplyLost, Fault::RefusedAfter(503)]);
    let proxy = FaultProxy::start(registry_tests::s3_server().unwrap(), plan).await.unwrap();
    for _ in 0..25 {
        let prefix = format!("run-{:032x}/new", SystemIds.next_id());
        open(&registry_tests::s3_url(proxy.address(), &prefix)).await;
    }
}
