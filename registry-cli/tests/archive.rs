//! Archives through the binary.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;

#[test]
fn a_registry_goes_into_a_file_and_comes_out_again() {
    let (world, other) = (World::new(), World::in_a_folder_of_objects());
    world.write("model.bin", "the weights");
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    world.ok(&["promote", "fraud", "v1", "--to", "staging"]);
    let file = world.work().join("fraud.tar");
    let file = file.display().to_string();
    let told = world.ok(&["export", "fraud", "--output", &file]);
    assert_eq!(told, "exported 1 log with 2 records, 1 blob with 11 B\n");
    let ran = world.run(&["export", "--output", &file]);
    assert!(ran.code == 2 && ran.stderr.contains("is there already"), "{}", ran.stderr);

    other.write("bad.tar", "no archive");
    let ran = other.run(&["import", "bad.tar"]);
    assert!(ran.code == 2 && ran.stderr.contains("was cut short"), "{}", ran.stderr);
    assert!(!other.registry().exists());
    let told = other.ok(&["import", &file, "--dry-run"]);
    assert_eq!(told, "dry run, nothing was written; it holds 1 log with 2 records, 1 blob with 11 B\n");
    assert!(!other.registry().exists());
    let told = other.ok(&["import", &file]);
    assert_eq!(told, "imported 1 log with 2 records, 1 blob with 11 B; 2 records and 11 B were new\n");
    assert_eq!(other.json(&["import", &file])["records_written"], 0);
    other.ok(&["verify", "fraud", "--bytes"]);
    assert_eq!(other.json(&["info", "fraud", "v1"]), world.json(&["info", "fraud", "v1"]));
}
