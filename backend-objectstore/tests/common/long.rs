//! A long history, made in memory where that is quick.

use std::sync::Arc;

use backend_objectstore::Options;
use backend_objectstore::object_store::ObjectStore;
use registry_core::{By, Content, ModelName, PromoteOptions, Registration, RegistryExt as _, Stage, Version};

/// How many commits the history has.
pub(crate) const COMMITS: u64 = 10_000;

pub(crate) fn model() -> ModelName {
    "fraud".parse().unwrap()
}

/// A model of forty versions, the first of which went into production at once; it was described ever since. More
/// versions than a brief checkpoint holds as a whole: that is the case to be watched, and the quick one.
pub(crate) async fn write(store: Arc<dyn ObjectStore>, prefix: &str) {
    let registry = Options::default().open(store, prefix).await.unwrap();
    let (by, version) = (By::new("alice".parse().unwrap()), Version::new(1, 0, 0));
    for major in 1..=40 {
        let registration = Registration::new(Version::new(major, 0, 0), Content::default());
        registry.register(&by, &model(), registration, &[]).await.unwrap();
    }
    for stage in [Stage::Staging, Stage::Production] {
        registry.promote(&by, &model(), &version, stage, PromoteOptions::default()).await.unwrap();
    }
    let mut last = None;
    for number in 42..COMMITS {
        let text = format!("text {number}").parse().unwrap();
        last = Some(registry.describe(&by, &model(), None, Some(text)).await.unwrap());
    }
    assert_eq!(last.unwrap().state.revision().unwrap().get(), COMMITS);
}
