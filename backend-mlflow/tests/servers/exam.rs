//! The exam, taken on MLflow servers that run on this machine. The bytes are in memory, and are examined with their
//! own backend.

macro_rules! exam {
    ($server:ident, $variable:literal) => {
        mod $server {
            use crate::common::OnMlflow;

            registry_core::exam_cases!(OnMlflow::new($variable), log: [
                an_empty_log_has_nothing,
                what_is_appended_is_read_back_to_the_byte,
                a_slot_is_filled_once,
                racers_for_a_slot_have_one_winner,
                reading_goes_in_pages,
                another_handle_sees_a_record_at_once,
                streams_are_listed_in_order_and_pages,
                streams_are_found_by_term,
                terms_are_found_no_later_than_the_record,
                kinds_of_streams_do_not_mix,
                hostile_names_round_trip_and_never_collide,
                large_records_round_trip,
                checkpoints_are_kept_and_replaced,
            ]);

            registry_core::exam_cases!(OnMlflow::new($variable), registry: [
                a_whole_life,
                many_writers_lose_nothing,
                racers_for_production_end_with_one,
                a_repeated_request_is_done_once,
                a_reused_request_id_is_refused,
                compare_and_set_by_revision,
                clocks_that_disagree_keep_times_in_order,
                a_reader_hours_behind_catches_up,
                a_cold_reader_agrees_with_a_warm_one,
                checkpoints_that_do_not_fit_are_ignored,
                what_was_in_production_when,
                a_damaged_record_is_found_and_named,
                damaged_bytes_are_found_and_named,
                rollback_passes_over_damaged_bytes,
                garbage_is_collected_and_nothing_else,
                versions_are_found_across_models,
                commits_are_watched_in_order,
                a_follower_sees_the_new_production_version,
            ]);
        }
    };
}

exam!(mlflow_3_on_sqlite, "REGISTRY_TEST_MLFLOW_3");
exam!(mlflow_2_on_sqlite, "REGISTRY_TEST_MLFLOW_2");
exam!(mlflow_3_on_postgresql, "REGISTRY_TEST_MLFLOW_PG");
