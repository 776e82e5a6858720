//! The exam, taken on MLflow servers that run on this machine, with what MLflow shows beside it.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::unimplemented, reason = "a test fails by panicking")]

mod common;

mod mlflow_3_on_sqlite {
    use crate::common::OnMlflow;

    registry_core::exam!(OnMlflow::new("REGISTRY_TEST_MLFLOW_3"));
}

mod mlflow_2_on_sqlite {
    use crate::common::OnMlflow;

    registry_core::exam!(OnMlflow::new("REGISTRY_TEST_MLFLOW_2"));
}

mod mlflow_3_on_postgresql {
    use crate::common::OnMlflow;

    registry_core::exam!(OnMlflow::new("REGISTRY_TEST_MLFLOW_PG"));
}
