//! The exam, and hostile names, for stores that need no server: memory and a folder.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/hostile.rs"]
mod hostile;

mod memory {
    use std::sync::Arc;

    use backend_objectstore::object_store::ObjectStore;
    use backend_objectstore::object_store::memory::InMemory;

    use crate::common::Stored;

    registry_core::exam!(Stored::new(Arc::new(InMemory::new()), "in/memory", ()));

    #[test]
    fn hostile_names_are_refused_or_kept() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        crate::hostile::names_are_refused_or_kept(&store, "run-0", 512);
    }
}

mod folder {
    use std::path::Path;
    use std::sync::Arc;

    use backend_objectstore::object_store::ObjectStore;
    use backend_objectstore::object_store::local::LocalFileSystem;

    use crate::common::Stored;

    fn folder() -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        Stored::new(Arc::new(store), "team/a", folder)
    }

    registry_core::exam!(folder());

    /// What is in a folder, in order.
    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Here the store's own listing is not believed: the folders around are looked at.
    #[test]
    fn hostile_names_are_refused_or_kept() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("store");
        std::fs::create_dir(&root).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&root).unwrap());
        crate::hostile::names_are_refused_or_kept(&store, "run-0", 128);
        assert_eq!(names(around.path()), ["store"]);
        assert_eq!(names(&root), ["run-0"]);
        for registry in names(&root.join("run-0")) {
            assert!(registry.starts_with("registry-"), "{registry}");
            let registry = root.join("run-0").join(registry);
            assert_eq!(names(&registry), ["in it"]);
            for name in names(&registry.join("in it")) {
                let known = ["blobs", "names", "probe", "registry.json", "streams", "terms"];
                assert!(known.contains(&name.as_str()), "{name}");
            }
        }
    }
}
