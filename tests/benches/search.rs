//! What a search costs among 100,000 versions: 1,000 models of 100 versions each in SQLite, all of them looked
//! at before. `cargo bench -p registry-tests --bench search`.
//!
//! Of each kind of thing that has a term, ten models have the one that is asked for, in every version; each
//! answer is the whole one.

#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]

use std::sync::LazyLock;

use backend_local::{LocalRegistry, Options, Synchronous};
use registry_core::features::Feature;
use registry_core::{
    By, Content, Digest, FeatureSchema, Metric, ModelName, Query, Registration, RegistryExt as _, Upload,
    Version,
};

/// How many models have one and the same owner, tag, data and feature.
const ALIKE: u64 = 10;

/// A registry, and what it needs to be asked.
struct World {
    runtime: tokio::runtime::Runtime,
    registry: LocalRegistry,
    models: u64,
    versions: u64,
    digest: Digest,
    _folder: tempfile::TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // `cargo test --benches` only wants to know that it works.
    let (models, versions) =
        if std::env::args().any(|word| word == "--test") { (20, 3) } else { (1_000, 100) };
    World::new(models, versions)
});

fn main() {
    divan::main();
}

fn content(group: u64, number: u64) -> Content {
    let legal = |text: String| text.parse().expect("legal");
    let mut content = Content::default();
    let metadata = &mut content.metadata;
    metadata.algorithm = Some(legal("XGBoost".to_owned()));
    metadata.framework = Some(legal("xgboost==1.7.0".to_owned()));
    metadata.owner = Some(format!("owner-{group}@example.com").parse().expect("legal"));
    metadata.training_data_version = Some(legal(format!("data-{group}")));
    metadata.hyperparameters.insert("n_estimators".into(), number.into());
    for name in ["accuracy", "precision", "recall", "roc_auc", "f1_score"] {
        let value = f64::from(u32::try_from(number % 100).expect("small")) / 100.0;
        content.metrics.insert(name.parse().expect("legal"), Metric::new(value).expect("finite"));
    }
    content.tags.insert(format!("tag-{group}").parse().expect("legal"), String::new());
    content.tags.insert("team".parse().expect("legal"), format!("team-{group}"));
    let features = (0..20).map(|feature| Feature::new(format!("feature-{group}-{feature}"))).collect();
    content.features = Some(FeatureSchema::new(None, None, features).expect("legal"));
    content
}

impl World {
    fn new(models: u64, versions: u64) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let by = By::new("bench".parse().expect("legal"));
        let options = Options { synchronous: Synchronous::Normal, ..Options::default() };
        let registry = options.open(folder.path()).expect("opens");
        eprintln!("filling {models} × {versions} versions …");
        let mut digest = None;
        runtime.block_on(async {
            for number in 0..models {
                let model: ModelName = format!("model-{number:05}").parse().expect("legal");
                let bytes = bytes::Bytes::from(format!("the weights of {model}"));
                let upload = Upload { path: "model.bin".parse().expect("legal"), source: &bytes };
                digest = Some(Digest::of(&bytes));
                for minor in 0..versions {
                    let version = Version::new(1, minor, 0);
                    let registration = Registration::new(version, content(number / ALIKE, minor));
                    let uploads = std::slice::from_ref(&upload);
                    registry.register(&by, &model, registration, uploads).await.expect("registers");
                }
            }
            registry.search(&Query::default()).await.expect("is searched");
        });
        eprintln!("searching …");
        World { runtime, registry, models, versions, digest: digest.expect("a model"), _folder: folder }
    }

    /// Bencher, filter, and how many versions of how many models it must find.
    fn bench(&self, bencher: divan::Bencher<'_, '_>, text: &str, expected: u64) {
        let query = Query { limit: Query::LIMIT_MAX, ..text.parse::<Query>().expect("legal") };
        let ask = || self.runtime.block_on(self.registry.search(&query)).expect("is searched");
        assert_eq!(ask().matches.len() as u64, expected, "{text}");
        bencher.bench_local(ask);
    }
}

/// Filters that terms answer: of ten models each, or of one.
#[divan::bench(args = ["tag.tag-1", "owner = 'owner-1@example.com'", "data = 'data-1'", "feature = 'feature-1-7'"])]
fn by_term(bencher: divan::Bencher<'_, '_>, filter: &str) {
    WORLD.bench(bencher, filter, ALIKE * WORLD.versions);
}

#[divan::bench]
fn by_digest_of_a_file(bencher: divan::Bencher<'_, '_>) {
    WORLD.bench(bencher, &format!("digest = {}", WORLD.digest), WORLD.versions);
}

#[divan::bench]
fn by_name(bencher: divan::Bencher<'_, '_>) {
    WORLD.bench(bencher, "name = 'model-00007'", WORLD.versions);
}

#[divan::bench]
fn by_term_and_metric_in_an_order(bencher: divan::Bencher<'_, '_>) {
    let filter = "owner = 'owner-1@example.com' and metric.accuracy < 0.5 order by metric.accuracy desc";
    let few = WORLD.versions.min(50);
    WORLD.bench(bencher, filter, ALIKE * few);
}

/// A term that leads to every model, and a value that only ten have.
#[divan::bench]
fn by_a_value_behind_a_common_term(bencher: divan::Bencher<'_, '_>) {
    WORLD.bench(bencher, "tag.team = 'team-1'", ALIKE * WORLD.versions);
}

/// No term at all: every version is looked at.
#[divan::bench]
fn by_looking_at_everything(bencher: divan::Bencher<'_, '_>) {
    WORLD.bench(bencher, "metric.accuracy < 0.01", WORLD.models);
}

/// A page of a hundred in another order than that of names.
#[divan::bench]
fn the_best_hundred_of_all(bencher: divan::Bencher<'_, '_>) {
    let query: Query = "order by metric.accuracy desc, version".parse().expect("legal");
    let ask = || WORLD.runtime.block_on(WORLD.registry.search(&query)).expect("is searched");
    assert!(ask().matches.len() <= 100);
    bencher.bench_local(ask);
}
