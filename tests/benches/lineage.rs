//! What questions of lineage cost: on a graph of a million edges in memory, and on 50,000 models in SQLite, where what
//! is asked for is found by its terms. `cargo bench -p registry-tests --bench lineage`.
//!
//! The line `load` also says how much memory the graph takes in the end (`max alloc`): divide by the number of edges,
//! which is written above the table.

#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use backend_local::{LocalRegistry, Options, Synchronous};
use registry_core::lineage::{Derivation, Graph, Link, NodeName};
use registry_core::state::ModelState;
use registry_core::{
    By, Content, Engine, FeatureSchema, MemoryArtifacts, MemoryLog, ModelName, ModelVersion, Need,
    Registration, Registry as _, RegistryExt as _, Selector, Stream, StreamKind, Term, Version,
};

#[global_allocator]
static MEMORY: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    if !std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        println!("edges: {}, nodes: {}", WORLD.graph.edge_count(), WORLD.graph.node_count());
        for of in REACHES {
            println!("{of} reaches {} versions", WORLD.graph.impact(&name(of)).len());
        }
    }
    divan::main();
}

const MODELS: u64 = 2_000;
const VERSIONS: u64 = 124;
const SQLITE_MODELS: u64 = 50_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn by() -> By {
    By::new("bench".parse().expect("legal"))
}

fn name(text: &str) -> NodeName {
    text.parse().expect("legal")
}

fn model(number: u64) -> ModelName {
    format!("model-{number:05}").parse().expect("legal")
}

/// A version with data, feature code, a set of five features, an experiment of its own, an input and a parent.
fn content(number: u64, minor: u64) -> Content {
    let mut content = Content::default();
    let text = |text: String| Some(text.parse().expect("legal"));
    content.metadata.training_data_version = text(format!("2024-{}", minor % 12));
    content.metadata.feature_engineering_version = text(format!("v{}", number % 20));
    content.metadata.experiment = text(format!("exp-{number}-{minor}"));
    let features = (0..5).map(|feature| format!("f{}", (number + feature) % 100)).collect::<Vec<_>>();
    let features =
        serde_json::json!({"set": format!("set-{}", number % 50), "version": "1", "features": features});
    content.features = Some(serde_json::from_value::<FeatureSchema>(features).expect("legal"));
    let code = serde_json::json!({"link": "input", "kind": "code", "id": format!("train-{number}.py")});
    content.links.push(serde_json::from_value(code).expect("legal"));
    let parent = match minor {
        0 => model(number / 2),
        _ => model(number),
    };
    let version = Version::new(1, minor.saturating_sub(1), 0);
    if (number, minor) != (0, 0) {
        let model = ModelVersion { model: parent, version };
        content.links.push(Link::DerivedFrom { model, how: Derivation::FineTuned });
    }
    content
}

struct World {
    states: Vec<(ModelName, Arc<ModelState>)>,
    graph: Graph,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = runtime();
    let registry = Engine::new(Arc::new(MemoryLog::default()), Arc::new(MemoryArtifacts::default()))
        .with_streams_kept(NonZeroUsize::MIN.saturating_add(4_000));
    let mut states = Vec::new();
    for number in 0..MODELS {
        let model = model(number);
        for minor in 0..VERSIONS {
            let registration = Registration::new(Version::new(1, minor, 0), content(number, minor));
            runtime.block_on(registry.register(&by(), &model, registration, &[])).expect("registers");
        }
        let last = Version::new(1, VERSIONS - 1, 0);
        runtime.block_on(registry_tests::into_production(&registry, &by(), &model, &last)).expect("promotes");
        let state = runtime.block_on(registry.state(&Stream::from(&model), &Need::Whole)).expect("read");
        states.push((model, state));
    }
    let graph = graph(&states);
    World { states, graph }
});

fn graph(states: &[(ModelName, Arc<ModelState>)]) -> Graph {
    let mut graph = Graph::new();
    for (model, state) in states {
        state.versions().for_each(|version| graph.add(model, version));
    }
    graph
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn load(bencher: divan::Bencher<'_, '_>) {
    let world = &*WORLD;
    bencher.bench_local(|| graph(&world.states));
}

/// What reaches few versions, many, and nearly all.
const REACHES: [&str; 4] =
    ["code:train-1999.py", "model:model-00007@v1.0.0", "feature-set:set-7", "feature:f7"];

#[divan::bench(args = REACHES)]
fn impact(bencher: divan::Bencher<'_, '_>, of: &str) {
    let (graph, of) = (&WORLD.graph, name(of));
    bencher.bench_local(|| graph.impact(&of).len());
}

#[divan::bench]
fn upstream(bencher: divan::Bencher<'_, '_>) {
    let (graph, of) = (&WORLD.graph, name("model:model-01999@v1.123.0"));
    bencher.bench_local(|| graph.upstream(&of).len());
}

#[divan::bench]
fn common_ancestors(bencher: divan::Bencher<'_, '_>) {
    let graph = &WORLD.graph;
    let (one, other) = (name("model:model-01999@v1.123.0"), name("model:model-01000@v1.123.0"));
    bencher.bench_local(|| graph.common_ancestors(&one, &other).len());
}

struct OnDisk {
    runtime: tokio::runtime::Runtime,
    registry: LocalRegistry,
    _place: tempfile::TempDir,
}

/// 50,000 models of one version each, every thousandth of which uses the rare data.
static ON_DISK: LazyLock<OnDisk> = LazyLock::new(|| {
    let place = tempfile::tempdir().expect("a folder");
    let runtime = runtime();
    let options = Options { synchronous: Synchronous::Normal, ..Options::default() };
    let registry = options.open(place.path()).expect("opens");
    for number in 0..SQLITE_MODELS {
        let mut content = content(number, 0);
        content.links.clear();
        if number % 5_000 == 0 {
            content.metadata.training_data_version = Some("rare".parse().expect("legal"));
        }
        let registration = Registration::new(Version::new(1, 0, 0), content);
        runtime.block_on(registry.register(&by(), &model(number), registration, &[])).expect("registers");
    }
    OnDisk { runtime, registry, _place: place }
});

#[divan::bench]
fn find_by_term_among_50_000_models(bencher: divan::Bencher<'_, '_>) {
    let OnDisk { runtime, registry, .. } = &*ON_DISK;
    let term = Term::new("data", "rare");
    bencher.bench_local(|| {
        let found = registry.streams(StreamKind::Model, Some(&term), None, 1_000);
        assert_eq!(runtime.block_on(found).expect("found").len(), 10);
    });
}

#[divan::bench]
fn impact_of_rare_data_among_50_000_models(bencher: divan::Bencher<'_, '_>) {
    let OnDisk { runtime, registry, .. } = &*ON_DISK;
    let of = name("data:rare");
    bencher.bench_local(|| {
        let impact = runtime.block_on(registry.impact(&of, None)).expect("found");
        assert_eq!(impact.influence().len(), 10);
    });
}

#[divan::bench]
fn lineage_of_a_version_among_50_000_models(bencher: divan::Bencher<'_, '_>) {
    let OnDisk { runtime, registry, .. } = &*ON_DISK;
    let model = model(4_321);
    bencher.bench_local(|| {
        runtime.block_on(registry.lineage(&model, &Selector::Newest, None)).expect("found").records.len()
    });
}
