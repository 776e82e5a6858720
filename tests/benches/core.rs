//! What the core costs by itself: no disk, no other process. `cargo bench -p registry-tests --bench core`.

#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]

use registry_core::{
    By, Content, Engine, MemoryArtifacts, MemoryLog, ModelName, Registration, Registry as _,
    RegistryExt as _, Selector, Version, codec,
};

fn main() {
    divan::main();
}

const SIZES: [u64; 3] = [10, 1_000, 10_000];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn by() -> By {
    By::new("bench".parse().expect("legal"))
}

fn model() -> ModelName {
    "fraud".parse().expect("legal")
}

/// A model in memory with that many versions, the last of them in production.
fn filled(runtime: &tokio::runtime::Runtime, versions: u64) -> Engine<MemoryLog, MemoryArtifacts> {
    let registry = registry_core::in_memory();
    runtime.block_on(async {
        for minor in 0..versions {
            let registration = Registration::new(Version::new(1, minor, 0), Content::default());
            registry.register(&by(), &model(), registration, &[]).await.expect("registers");
        }
        let last = Version::new(1, versions - 1, 0);
        registry_tests::into_production(&registry, &by(), &model(), &last).await.expect("promotes");
    });
    registry
}

#[divan::bench(args = SIZES)]
fn get_production(bencher: divan::Bencher<'_, '_>, versions: u64) {
    let runtime = runtime();
    let registry = filled(&runtime, versions);
    let model = model();
    bencher.bench_local(|| runtime.block_on(registry.get(&model, &Selector::PRODUCTION)).expect("found"));
}

#[divan::bench(args = SIZES)]
fn get_latest(bencher: divan::Bencher<'_, '_>, versions: u64) {
    let runtime = runtime();
    let registry = filled(&runtime, versions);
    let model = model();
    bencher.bench_local(|| runtime.block_on(registry.get(&model, &Selector::LATEST)).expect("found"));
}

#[divan::bench(args = SIZES)]
fn register(bencher: divan::Bencher<'_, '_>, versions: u64) {
    let runtime = runtime();
    let registry = filled(&runtime, versions);
    let model = model();
    let mut minor = versions;
    bencher.bench_local(move || {
        minor += 1;
        let registration = Registration::new(Version::new(1, minor, 0), Content::default());
        runtime.block_on(registry.register(&by(), &model, registration, &[])).expect("registers")
    });
}

#[divan::bench]
fn encode_and_decode_a_commit(bencher: divan::Bencher<'_, '_>) {
    let runtime = runtime();
    let registry = filled(&runtime, 10);
    let stream = registry_core::Stream::Model(model());
    let log = runtime.block_on(registry.history(&stream, registry_core::Revision::FIRST, 1)).expect("read");
    let commit = log.into_iter().next().expect("there is one").commit;
    bencher.bench_local(|| {
        let encoded = codec::encode(&commit);
        codec::decode(&stream, commit.revision, &encoded.bytes).expect("whole")
    });
}

/// One observation of a model that serves, on one thread and on two at once. An item is an observation.
#[divan::bench(threads = [1, 2])]
fn observe(bencher: divan::Bencher<'_, '_>) {
    const OBSERVATIONS: u64 = 10_000;
    let meters = registry_core::monitor::Meters::new(None);
    let meter = meters.meter(&Version::new(1, 0, 0), &"latency".parse().expect("legal"));
    bencher.counter(divan::counter::ItemsCount::new(OBSERVATIONS)).bench(|| {
        for number in 0..OBSERVATIONS {
            meter.observe(divan::black_box(20.0 + (number % 97) as f64));
        }
    });
}
