//! "Integration with SpecWeave" and "Model Registry Providers".

use bytes::Bytes;
use registry_core::experiment::RunStatus;
use registry_core::{Registry as _, RegistryExt as _, Selector, Upload, Version};
use registry_docs::{Mode, Options, outputs, read, write};

use crate::world::{World, because, measured, number, taking};

/// "Automatic Registration": `with track_experiment("xgboost-v1", increment="0042") as exp`.
pub(crate) async fn automatic_registration(world: World) {
    let experiment = || {
        let begun = world.registry.experiment("xgboost-v1".parse().unwrap(), &world.ana);
        begun.increment("0042".parse().unwrap()).spawning(|task| drop(tokio::spawn(task)))
    };
    for (depth, expected) in [(6, Version::new(0, 1, 0)), (8, Version::new(0, 1, 1))] {
        let weights = Bytes::from(format!("trees of depth {depth}"));
        let registered = experiment()
            .track(async |run| {
                run.param("max_depth", depth).await?;
                for (step, loss) in [(1, 0.7), (2, 0.4)] {
                    run.metric("loss", step, loss).await?;
                }
                run.artifact(&Upload { path: "model.pkl".parse()?, source: &weights }).await?;
                run.register_model(&world.model, taking(&["amount"]), &[]).await
            })
            .await
            .unwrap();
        assert_eq!(registered.version.version, expected);
    }
    let found = world.registry.get_with_files(&world.model, &Selector::Newest).await.unwrap();
    let metadata = &found.content.metadata;
    assert_eq!(metadata.experiment.as_ref().unwrap().as_str(), "xgboost-v1");
    assert_eq!(metadata.increment.as_ref().unwrap().as_str(), "0042");
    assert_eq!(metadata.hyperparameters["max_depth"], 8);
    assert_eq!(found.content.metrics[&"loss".parse().unwrap()].value.get(), 0.4);
    let file = found.artifact(&"model.pkl".parse().unwrap()).unwrap();
    assert_eq!(world.registry.read(file, 1024).await.unwrap(), "trees of depth 8");
    let run = world.registry.run(metadata.run.as_ref().unwrap()).await.unwrap();
    assert_eq!(run.status(world.registry.clock().now()), RunStatus::Finished);

    // What went wrong is on record, and so is what nobody finished.
    let failed =
        experiment().track(async |_| Err::<(), Box<dyn std::error::Error>>("no such column".into())).await;
    assert_eq!(failed.unwrap_err().to_string(), "no such column");
    drop(experiment().start().await.unwrap());
    let experiment = "xgboost-v1".parse().unwrap();
    let ends = async || {
        let runs = world.registry.runs(&experiment).await.unwrap();
        let now = world.registry.clock().now();
        runs.runs().map(|(_, run)| run.status(now)).collect::<Vec<_>>()
    };
    for _ in 0..600 {
        if !matches!(ends().await.last(), Some(RunStatus::Running)) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let ends = ends().await;
    assert!(
        matches!(
            ends[..],
            [RunStatus::Finished, RunStatus::Finished, RunStatus::Failed, RunStatus::Aborted { .. }]
        ),
        "{ends:?}"
    );
}

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
