//! Every chapter of the document that this project was created from, on SQLite, in a bucket and on MLflow.
//! `docs/seed-coverage.md` names for each heading of it what serves it, and the test here that proves it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod advanced;
mod coverage;
mod integration;
mod operations;
mod practice;
mod records;
mod world;

/// Each chapter in each of the worlds.
macro_rules! chapters {
    ($($part:ident: $($chapter:ident),+;)+) => {
        mod on_sqlite {
            $($(#[tokio::test]
            async fn $chapter() {
                super::$part::$chapter(super::world::World::on_sqlite().await).await;
            })+)+
        }

        #[cfg(feature = "servers")]
        mod in_a_bucket {
            $($(#[tokio::test]
            async fn $chapter() {
                super::$part::$chapter(super::world::World::in_a_bucket().await).await;
            })+)+
        }

        #[cfg(feature = "servers")]
        mod mlflow_3_on_sqlite {
            $($(#[tokio::test]
            async fn $chapter() {
                super::$part::$chapter(super::world::World::on_mlflow().await).await;
            })+)+
        }

        /// The names of all chapters.
        const CHAPTERS: &[&str] = &[$($(stringify!($chapter)),+),+];
    };
}

chapters! {
    operations: the_five_questions, the_four_stages, registration, the_next_number, promotion_after_a_trial,
        rollback, rollback_by_itself, retrieval;
    records: metadata, lineage, comparison;
    integration: automatic_registration, increments_and_their_models, living_documents, providers;
    practice: three_kinds_of_change, signatures, approval, deprecation;
    advanced: monitoring, governance, environments;
}
