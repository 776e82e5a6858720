//! An MLflow server behind a proxy that spoils every tenth request: nothing is lost, nothing is done twice, nothing
//! is reported as failed that happened, and nothing that we wrote is taken for somebody else's.
//! `cargo xtask test` starts the servers.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use registry_core::{IdSource as _, Registry as _, RegistryExt as _, SystemIds};
use registry_tests::fault_proxy::{Fault, FaultProxy, Plan};
use registry_tests::troubled::{model, open, write_and_check};
use registry_tests::{mlflow_server, mlflow_url};

async fn troubled(variable: &str, seed: u64, writers: u64, commits_each: usize) -> BTreeMap<Fault, u64> {
    let server = mlflow_server(variable).unwrap();
    let name = format!("t{:016x}", SystemIds.next_id() >> 64);
    let proxy = FaultProxy::start(server, Plan::new(seed).percent(10)).await.unwrap();
    let (through, directly) = (mlflow_url(proxy.address(), &name), mlflow_url(server, &name));
    write_and_check(&through, &directly, writers, commits_each).await;
    let counts = proxy.counts();
    println!("seed {seed}: {} requests, spoilt: {counts:?}", proxy.requests());
    // What the faults left undone in MLflow is finished by the next write.
    let registry = open(&directly).await;
    let text = "after the storm".parse().unwrap();
    let by = registry_core::By::new("test".parse().unwrap());
    registry.describe(&by, &model(), None, Some(text)).await.unwrap();
    let drift = registry.drift(&model()).await.unwrap().unwrap();
    assert!(drift.changes().is_empty(), "{:?}", drift.changes());
    assert!(drift.unfinished().is_empty(), "{:?}", drift.unfinished());
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_of_100_commits_lose_double_and_misreport_nothing_on_mlflow_3_on_sqlite() {
    let counts = troubled("REGISTRY_TEST_MLFLOW_3", 1, 4, 25).await;
    for fault in Fault::ALL {
        assert!(0 < counts.get(&fault).copied().unwrap_or(0), "{fault:?} never happened: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_writers_have_other_troubles_on_mlflow_2_on_sqlite() {
    troubled("REGISTRY_TEST_MLFLOW_2", 2, 3, 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_writers_have_yet_other_troubles_on_mlflow_3_on_postgresql() {
    troubled("REGISTRY_TEST_MLFLOW_PG", 3, 3, 16).await;
}
