//! What becomes of a registration whose file is not what it said it was.

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::storage::{ByteSource, ByteStream, StorageError};
use registry_core::{By, Content, Error, ModelName, Registration, RegistryExt as _, Upload, Version};

/// Says that it is so long, and gives that.
struct Changing {
    said: u64,
    given: Bytes,
}

#[async_trait]
impl ByteSource for Changing {
    fn size(&self) -> Option<u64> {
        Some(self.said)
    }

    async fn open(&self, start: u64) -> Result<ByteStream, StorageError> {
        self.given.open(start).await
    }
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_named_and_nothing_is_registered() {
    let folder = tempfile::tempdir().unwrap();
    let registry = backend_local::open(folder.path()).unwrap();
    let model: ModelName = "fraud".parse().unwrap();
    // A few bytes are written at once, many by a thread of their own.
    for (said, given) in [(9, 8), (8, 9), (3 << 20, (3 << 20) - 1)] {
        let source = Changing { said, given: vec![7; given].into() };
        let upload = Upload { path: "weights/model.bin".parse().unwrap(), source: &source };
        let registration = Registration::new(Version::new(1, 0, 0), Content::default());
        let by = By::new("ana".parse().unwrap());
        let refused = registry.register(&by, &model, registration, &[upload]).await.unwrap_err();
        let Error::SourceChanged { path, .. } = &refused else { panic!("{refused}") };
        assert_eq!(path.as_str(), "weights/model.bin");
        assert!(refused.to_string().contains(&format!("{given} bytes instead of {said}")), "{refused}");
    }
    assert!(registry.models(None, 10).await.unwrap().is_empty());
    let incoming = std::fs::read_dir(folder.path().join("blobs/incoming"));
    assert_eq!(incoming.unwrap().count(), 0, "nothing is left behind");
}
