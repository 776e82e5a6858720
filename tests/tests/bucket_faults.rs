//! A bucket on a real S3 server behind a proxy that spoils every fifth request: nothing is lost, nothing is
//! done twice, and nothing is reported as failed that happened. `cargo xtask test` starts the server.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use registry_core::{IdSource as _, SystemIds};
use registry_tests::fault_proxy::{Fault, FaultProxy, Plan};
use registry_tests::troubled::{open, write_and_check};

async fn troubled(seed: u64, commits_each: usize) -> BTreeMap<Fault, u64> {
    let prefix = format!("run-{:032x}/faults", SystemIds.next_id());
    let server = registry_tests::s3_server().unwrap();
    let proxy = FaultProxy::start(server, Plan::new(seed).percent(20)).await.unwrap();
    let (through, directly) =
        (registry_tests::s3_url(proxy.address(), &prefix), registry_tests::s3_url(server, &prefix));
    write_and_check(&through, &directly, 4, commits_each).await;
    let counts = proxy.counts();
    println!("seed {seed}: {} requests, spoilt: {counts:?}", proxy.requests());
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
