//! The exam, taken by stores that need no server: memory and a folder.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

mod memory {
    use std::sync::Arc;

    use backend_objectstore::object_store::memory::InMemory;

    use crate::common::Stored;

    registry_core::exam!(Stored::new(Arc::new(InMemory::new()), "in/memory", ()));
}

mod folder {
    use std::sync::Arc;

    use backend_objectstore::object_store::local::LocalFileSystem;

    use crate::common::Stored;

    fn folder() -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        Stored::new(Arc::new(store), "team/a", folder)
    }

    registry_core::exam!(folder());
}
