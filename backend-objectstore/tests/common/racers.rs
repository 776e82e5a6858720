//! Many writers, each with a client of its own, want the same slot at once.

use std::sync::Arc;

use backend_objectstore::object_store::ObjectStore;
use backend_objectstore::{BucketLog, Options};
use futures_util::future::join_all;
use registry_core::storage::{Append, CommitLog as _, Record};
use registry_core::{Revision, Stream, Timestamp};

/// Of so many racers exactly one is told that it won, and its record is there; each round, for another slot.
pub(crate) async fn one_wins_each_round(
    store: impl Fn() -> Arc<dyn ObjectStore>,
    prefix: &str,
    racers: usize,
    rounds: u64,
) {
    let mut logs: Vec<BucketLog> = Vec::new();
    for _ in 0..racers {
        logs.push(Options::default().open_parts(store(), prefix).await.unwrap().0);
    }
    let stream = Stream::Model("raced".parse().unwrap());
    for round in 1..=rounds {
        let revision = Revision::new(round).unwrap();
        let racing = logs.iter().enumerate().map(|(racer, log)| {
            let record = Record {
                stream: stream.clone(),
                revision,
                request_id: format!("racer-{racer}").parse().unwrap(),
                time: Timestamp::EPOCH,
                terms: Vec::new(),
                body: format!("{{\"racer\":{racer}}}").into(),
            };
            async move { (racer, log.append(&record).await.unwrap()) }
        });
        let results = join_all(racing).await;
        let winners: Vec<usize> = results
            .iter()
            .filter(|(_, result)| *result == Append::Written)
            .map(|(racer, _)| *racer)
            .collect();
        let read = logs.first().unwrap().read(&stream, revision, 10).await.unwrap();
        let kept: Vec<String> =
            read.iter().map(|record| String::from_utf8_lossy(&record.body).into_owned()).collect();
        let expected: Vec<String> = winners.iter().map(|racer| format!("{{\"racer\":{racer}}}")).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(kept, expected, "round {round}");
    }
}
