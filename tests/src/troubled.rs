//! Writers behind a wire that spoils requests, who do not give up and note what was acknowledged; and what must be
//! true of the log afterwards. The same for every store that is reached over a wire.

#![expect(clippy::unwrap_used, clippy::panic, reason = "it is a part of tests, which fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::{
    By, Content, Error, ModelName, Outcome, PromoteOptions, Receipt, Recorded, Registration, Registry,
    RegistryExt as _, Revision, Stage, Upload, VerifyOptions, Version,
};

/// How often a caller asks again, under the same id, before the test calls it hopeless.
const ATTEMPTS_MAX: u32 = 300;

/// Opens a registry as a caller does who does not give up.
pub async fn open(url: &str) -> Arc<dyn Registry> {
    for _ in 0..ATTEMPTS_MAX {
        match crate::open(url).await {
            Ok(registry) => return registry,
            Err(Error::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the registry cannot be opened");
}

/// The model that they write to.
pub fn model() -> ModelName {
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

/// So many writers at once, through the wire; then everything is looked at directly.
pub async fn write_and_check(through: &str, directly: &str, writers: u64, commits_each: usize) {
    let writing: Vec<_> =
        (0..writers).map(|number| tokio::spawn(writer(number, through.to_owned(), commits_each))).collect();
    let mut acknowledged = BTreeMap::new();
    for writer in writing {
        acknowledged.extend(writer.await.unwrap());
    }
    let registry = open(directly).await;
    let log = registry.log(&model(), Revision::FIRST, 10_000).await.unwrap();
    let mut found = BTreeMap::new();
    for recorded in log {
        let id = recorded.commit.request_id.to_string();
        assert_eq!(found.insert(id.clone(), recorded), None, "{id} was carried out twice");
    }
    assert_eq!(found.len(), acknowledged.len(), "what is in the log is not what was acknowledged");
    assert_eq!(found.len(), usize::try_from(writers).unwrap() * commits_each);
    assert!(found == acknowledged, "what is in the log is not what was acknowledged");
    let verified = registry
        .verify(&model(), VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() })
        .await
        .unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    let state = registry.model(&model()).await.unwrap();
    assert_eq!(u64::try_from(state.versions().count()).unwrap(), verified.files);
    for version in state.versions() {
        for file in &version.content.artifacts {
            assert_eq!(registry.read(file, 1_000_000).await.unwrap(), bytes_of(&version.version));
        }
    }
}
