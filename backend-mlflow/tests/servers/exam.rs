//! The exam, taken on MLflow servers that run on this machine: commits, bytes and MLflow's own registry. The files
//! of two of them are in a folder of the server, those of the third in a bucket behind it.

macro_rules! exam {
    ($server:ident, $variable:literal) => {
        mod $server {
            use crate::common::OnMlflow;

            registry_core::exam!(OnMlflow::new($variable));
        }
    };
}

exam!(mlflow_3_on_sqlite, "REGISTRY_TEST_MLFLOW_3");
exam!(mlflow_2_on_sqlite, "REGISTRY_TEST_MLFLOW_2");
exam!(mlflow_3_on_postgresql, "REGISTRY_TEST_MLFLOW_PG");
