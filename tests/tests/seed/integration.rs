//! "Integration with SpecWeave" and "Model Registry Providers".

use registry_core::RegistryExt as _;
use registry_docs::{Mode, Options, outputs, read, write};

use crate::world::{World, because, measured, number};

/// "Increment-Model Mapping": the tree of files of an increment.
pub(crate) async fn increments_and_their_models(world: World) {
    for (version, increment) in [("v3.0.0", "0042"), ("v3.1.0", "0042-fraud-detection"), ("v4.0.0", "0043")] {
        let mut content = measured(&[("accuracy", 0.87)]);
        content.metadata.increment = Some(increment.parse().unwrap());
        world.register(version, content).await;
    }
    let records = read(world.registry.as_ref(), None).await.unwrap();
    let options =
        Options { tree: true, files: true, increment: Some("0042".parse().unwrap()), ..Options::default() };
    let folder = world.folder.path().join("increment");
    std::fs::create_dir(&folder).unwrap();
    let wanted = outputs(&records, &options).unwrap();
    write(world.registry.as_ref(), &wanted, &folder, Mode::Write).await.unwrap();
    for version in ["v3.0.0", "v3.1.0"] {
        let place = folder.join(format!("models/fraud-detection-model-{version}"));
        let weights = std::fs::read_to_string(place.join("model.pkl")).unwrap();
        assert_eq!(weights, format!("the weights of {version}"));
        assert!(place.join("metadata.json").is_file());
    }
    assert!(!folder.join("models/fraud-detection-model-v4.0.0").exists(), "it is of another increment");
    for file in ["model_catalog.yaml", "lineage_graph.json", "deployment_history.md"] {
        assert!(folder.join("registry").join(file).is_file(), "{file}");
    }
}

/// "Living Docs Integration": the page of the document, which a second run leaves alone.
pub(crate) async fn living_documents(world: World) {
    for (version, accuracy) in [("v2.5.0", 0.83), ("v3.0.0", 0.85), ("v3.1.0", 0.87)] {
        world.live(version, &[("accuracy", accuracy)]).await;
    }
    let why = because(&world.ana, "Superseded by v3.x series");
    let old = number("v2.5.0");
    world.registry.deprecate(&why, &world.model, &old, None, None).await.unwrap();
    let folder = world.folder.path().join("docs");
    std::fs::create_dir(&folder).unwrap();
    let update = async || {
        let records = read(world.registry.as_ref(), None).await.unwrap();
        let wanted = outputs(&records, &Options::default()).unwrap();
        write(world.registry.as_ref(), &wanted, &folder, Mode::Write).await.unwrap()
    };
    assert_eq!(update().await.changed().count(), 2);
    let file = folder.join("pages/fraud-detection-model.md");
    let page = std::fs::read_to_string(&file).unwrap();
    for says in
        ["Current Production Model", "Version History", "| v3.1.0 | Prod | 0.87 |", "Rollback Plan", "v3.0.0"]
    {
        assert!(page.contains(says), "{says}\n{page}");
    }
    std::fs::write(&file, format!("{page}\nCall Ana first.\n")).unwrap();
    assert_eq!(update().await.changed().count(), 0, "nothing happened since");
    assert!(std::fs::read_to_string(&file).unwrap().ends_with("Call Ana first.\n"));
}

/// "MLflow Model Registry" and "Custom Registry": the store is chosen by a URL, and what is in it is what counts.
pub(crate) async fn providers(world: World) {
    world.live("v3.1.0", &[]).await;
    let other = registry_tests::open(&world.url).await.unwrap();
    let found = other.get(&world.model, &registry_core::Selector::PRODUCTION).await.unwrap();
    assert_eq!(found.version.to_string(), "v3.1.0");
    let file = found.artifact(&"model.pkl".parse().unwrap()).unwrap();
    assert_eq!(other.read(file, 1024).await.unwrap(), "the weights of v3.1.0");
}
