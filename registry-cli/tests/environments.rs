//! A version on its way from one registry to another through the binary.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::World;
use insta::assert_snapshot;

/// A registry with one version, and where another one may be.
fn begun() -> (World, String) {
    let world = World::new();
    world.write("model.bin", "the weights");
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    let other = world.registry().with_file_name("staging");
    (world, format!("file://{}", other.display()))
}

#[test]
fn a_version_on_its_way() {
    let (world, other) = begun();
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        story.push_str(&world.seen(arguments));
        story.push('\n');
    };
    let to_staging =
        ["promote-to", "fraud", "v1", "--to", &other, "--name-here", "dev", "--stage", "staging"];
    tell(&[&to_staging[..], &["--dry-run"]].concat());
    tell(&[&to_staging[..], &["-m", "tested"]].concat());
    tell(&to_staging);
    tell(&["info", "fraud", "v1"]);
    tell(&["info", "fraud", "v1", "--registry", &other]);
    tell(&["history", "fraud"]);
    tell(&["history", "fraud", "--registry", &other]);
    tell(&["tag", "fraud", "reviewed", "--version", "v1"]);
    tell(&to_staging);
    assert_snapshot!(story);
}

#[test]
fn programs_read_where_it_came_from_and_where_it_went() {
    let (world, other) = begun();
    let names = ["--name-here", "dev", "--name-there", "live"];
    let answer = world.json(&[&["promote-to", "fraud", "v1", "--to", &other], &names[..]].concat());
    assert_eq!((&answer["outcome"], &answer["existed"]), (&"committed".into(), &false.into()));
    assert_eq!((&answer["bytes_sent"], &answer["noted"]), (&11.into(), &2.into()));
    assert_eq!(answer["origins"][0]["environment"], "dev");
    let here = world.json(&["info", "fraud", "v1"]);
    assert_eq!(here["copies"]["live"]["revision"], 1);
    let there = world.json(&["info", "fraud", "v1", "--registry", &other]);
    assert_eq!(there["origins"], answer["origins"]);
    assert_eq!(there["digest"], here["digest"]);
    let first = world.ok(&["history", "fraud", "--limit", "1", "--json"]);
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(there["origins"][0]["commit"], first["digest"]);
}

#[test]
fn what_is_refused_makes_no_registry() {
    let (world, other) = begun();
    let folder = other.strip_prefix("file://").unwrap().to_owned();
    for (arguments, code, says) in [
        (vec!["v2", "--name-here", "dev"], 4, "nothing that `v2.0.0` names"),
        (vec!["v1", "--name-here", "staging"], 2, "both registries would be called `staging`"),
        (vec!["v1", "--name-here", "my registry"], 2, "allowed are"),
        (vec!["v1", "--name-here", "dev", "--stage", "production"], 3, "development"),
        (vec!["v1", "--registry", "mlflow+http://me:secret@localhost:1"], 2, "give --name-here"),
    ] {
        let arguments = [vec!["promote-to", "fraud"], arguments, vec!["--to", &other]].concat();
        let ran = world.run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says) && !ran.stderr.contains("secret"), "{arguments:?}: {}", ran.stderr);
        assert!(!std::path::Path::new(&folder).exists(), "{arguments:?}");
    }
    let itself = format!("sqlite:{}/../registry", world.registry().display());
    for name in ["dev", "registry"] {
        let ran = world.run(&["promote-to", "fraud", "v1", "--to", &itself, "--name-there", name]);
        assert!(
            ran.code == 2 && ran.stderr.contains("is the registry that the version comes from"),
            "{ran:?}"
        );
    }
    let ran = world.run(&["promote-to", "fraud", "v1", "--to", &other, "--name-here", "dev", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!std::path::Path::new(&folder).exists(), "a rehearsal makes none either");
}

/// Processes that are killed on the way, each a little later than the one before; then one that is not.
#[test]
fn killed_on_the_way_and_asked_again() {
    const KILLED_MAX: u64 = 100;
    let world = World::new();
    let large: Vec<u8> =
        (0..48_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    world.write("model.bin", &large);
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    let other = format!("file://{}", world.registry().with_file_name("staging").display());
    let arguments =
        ["promote-to", "fraud", "v1", "--to", &other, "--name-here", "dev", "--name-there", "live"];
    let mut killed = 0;
    for attempt in 0..KILLED_MAX {
        let mut process = world.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(25 * attempt));
        process.kill().unwrap();
        if process.wait().unwrap().success() {
            break;
        }
        killed += 1;
    }
    assert!(1 < killed, "nothing was killed");
    world.ok(&arguments);
    let (here, there) =
        (world.json(&["info", "fraud", "v1"]), world.json(&["info", "fraud", "v1", "--registry", &other]));
    assert_eq!(here["digest"], there["digest"]);
    assert_eq!(here["copies"]["live"]["revision"], 1);
    assert_eq!(there["origins"][0]["environment"], "dev");
    for registry in [None, Some(&other)] {
        let place: Vec<&str> = registry.iter().flat_map(|url| ["--registry", url.as_str()]).collect();
        world.ok(&[&["verify", "fraud", "--bytes"], &place[..]].concat());
        let history = world.ok(&[&["history", "fraud", "--json"], &place[..]].concat());
        let commits = history.lines().count();
        assert_eq!(commits, if registry.is_none() { 2 } else { 1 }, "{history}");
    }
}
