//! An MLflow server whose files are in a bucket that every client reaches by itself: the log is on the server, and
//! the bytes, and the files that MLflow's clients load, go straight to the bucket.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backend_mlflow::Options;
use backend_objectstore::BucketFiles;
use registry_core::files::OpenFiles as _;
use registry_core::{
    By, IdSource as _, ModelName, RegistryExt as _, Selector, SystemIds, VerifyOptions, Version,
};
use registry_tests::{mlflow_server, s3_server};

fn buckets() -> BucketFiles {
    let endpoint = s3_server().unwrap();
    BucketFiles::new().with_options(
        "s3",
        &format!(
            "endpoint=http://{endpoint}&allow_http=true&region=us-east-1&access_key_id=made-up-key\
            &secret_access_key=made-up-secret"
        ),
    )
}

#[tokio::test]
async fn bytes_and_files_go_straight_to_the_bucket() {
    for variable in ["REGISTRY_TEST_MLFLOW_3", "REGISTRY_TEST_MLFLOW_2"] {
        let server = mlflow_server(variable).unwrap();
        let name = format!("t{:016x}", SystemIds.next_id() >> 64);
        let place = format!("s3://registry-test/run-{name}/mlflow");
        let options = || {
            Options::new(&format!("http://{server}"))
                .unwrap()
                .with_registry(&name)
                .with_prefix(format!("{name}-"))
                .with_artifacts_at(&place)
        };
        let open = || options().with_files(Arc::new(buckets())).open().unwrap();
        let registry = open();
        let (by, model): (By, ModelName) = (By::new("test".parse().unwrap()), "in-a-bucket".parse().unwrap());
        for major in 1..=2 {
            let version = Version::new(major, 0, 0);
            registry_tests::register(&registry, &by, &model, &version).await.unwrap();
            registry_tests::into_production(&registry, &by, &model, &version).await.unwrap();
        }
        registry.rollback(&by, &model, None, false).await.unwrap();
        let verified = open()
            .verify(&model, VerifyOptions { bytes: true, markers: true, ..VerifyOptions::default() })
            .await
            .unwrap();
        assert!(verified.is_sound() && verified.files == 2, "{variable}: {verified:?}");
        // The file of a version is below the folder of its run, for MLflow's clients.
        let files = buckets().open_files(&place).await.unwrap();
        let runs = format!("{name}/model/in-a-bucket");
        let found = files.list(&runs).await.unwrap();
        assert_eq!(found.len(), 2, "{variable}: {found:?}");
        for run in found {
            let shown = files.list(&format!("{runs}/{}/artifacts/model", run.name)).await.unwrap();
            let names: Vec<&str> = shown.iter().map(|file| file.name.as_str()).collect();
            assert_eq!(names, ["model.bin"], "{variable}");
        }
        // Who cannot reach the bucket is told so, and still reads the log.
        let blind = options().open().unwrap();
        let found = blind.get(&model, &Selector::PRODUCTION).await.unwrap();
        assert_eq!(found.version, Version::new(1, 0, 0));
        let file = found.content.artifacts.iter().next().unwrap();
        let error = blind.read(file, 1_000).await.unwrap_err();
        assert!(error.to_string().contains("cannot be reached from here"), "{error}");
    }
}
