//! Large files, and bytes that are put while somebody collects garbage.

use backend_mlflow::{Options, Parts};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use registry_core::storage::{ArtifactStore as _, Blob};
use registry_core::{Clock as _, Digest, SystemClock};

use crate::common::OnMlflow;
use crate::wire::Counted;

/// Bytes that do not repeat.
fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Where the server keeps files in a bucket, large ones go there in parts; elsewhere it says that it takes none, once,
/// and they go in one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_go_in_parts_where_the_server_offers_it() {
    const SIZE: usize = 40 * 1024 * 1024;
    for (variable, in_parts) in [
        ("REGISTRY_TEST_MLFLOW_PG", true),
        ("REGISTRY_TEST_MLFLOW_3", false),
        ("REGISTRY_TEST_MLFLOW_2", false),
    ] {
        let on = OnMlflow::new(variable);
        let counted = Counted::before(&on.address).await;
        let options = Options::new(&counted.address).unwrap().with_registry(&on.registry);
        let Parts { artifacts, .. } = options.open_parts().unwrap();
        for seed in [1, 2] {
            let bytes = noise(SIZE, seed);
            let told = std::sync::atomic::AtomicU64::new(0);
            let progress = |moved| told.store(moved, std::sync::atomic::Ordering::Relaxed);
            counted.take();
            let blob = artifacts.put(&bytes, &progress).await.unwrap();
            let asked = counted.take();
            assert_eq!(blob, Blob { digest: Digest::of(&bytes), size: SIZE as u64 });
            assert_eq!(told.into_inner(), SIZE as u64);
            let count = |start: &str| asked.iter().filter(|path| path.starts_with(start)).count();
            assert_eq!(
                count("mlflow-artifacts/mpu/complete"),
                usize::from(in_parts),
                "{variable}: {asked:?}"
            );
            assert_eq!(
                count("mlflow-artifacts/mpu/create"),
                usize::from(in_parts || seed == 1),
                "{variable}"
            );
            let read = artifacts.read(&blob.digest, None).await.unwrap();
            let read: Vec<Bytes> = read.try_collect().await.unwrap();
            assert!(read.concat() == bytes, "{variable}: other bytes came back");
            let end = artifacts.read(&blob.digest, Some(SIZE as u64 - 5..u64::MAX)).await.unwrap();
            let end: Vec<Bytes> = end.try_collect().await.unwrap();
            assert!(end.concat() == bytes[SIZE - 5..], "{variable}: another end came back");
        }
    }
}

/// Bytes whose put was acknowledged are there, whatever collectors do that decided before it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bytes_that_were_put_are_never_collected_beside_it() {
    for variable in ["REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_PG"] {
        let on = OnMlflow::new(variable);
        let open = || on.options().open_parts().unwrap().artifacts;
        let (one, two, three) = (open(), open(), open());
        let mut removed = 0;
        for round in 0..25_u64 {
            let bytes = noise(1_000, round + 1);
            let blob = one.put(&bytes, &|_| {}).await.unwrap();
            let cutoff = SystemClock.now();
            let put = async {
                // At any moment of what the collectors do.
                SystemClock.sleep(std::time::Duration::from_millis(round * 3 % 60)).await;
                let put = one.put(&bytes, &|_| {}).await.unwrap();
                assert_eq!(two.stat(&put.digest).await.unwrap(), Some(1_000), "{variable} round {round}");
                let read = three.read(&put.digest, None).await.unwrap();
                let read: Vec<Bytes> = read.try_collect().await.unwrap();
                assert!(read.concat() == bytes, "{variable} round {round}");
            };
            let collect = join_all([&two, &three].map(|store| store.remove(&blob.digest, cutoff)));
            let ((), collected) = tokio::join!(put, collect);
            removed += collected.into_iter().filter(|removed| *removed.as_ref().unwrap()).count();
            assert_eq!(two.stat(&blob.digest).await.unwrap(), Some(1_000), "{variable} round {round}");
        }
        assert!(0 < removed, "no collector ever removed anything");
    }
}
