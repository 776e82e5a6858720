//! Checkpoints and signatures through the binary.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::World;

const KEYS: [&str; 4] = ["--key", "key.pem", "--public-key", "key.pub.pem"];

fn lived() -> World {
    let world = World::new();
    world.write("model.bin", "the weights");
    world.ok(&["register", "fraud", "model.bin", "--version", "v1"]);
    world.ok(&["promote", "fraud", "v1", "--to", "staging"]);
    world
}

fn words<'a>(first: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [first, rest].concat()
}

#[test]
fn the_life_of_a_checkpoint_as_people_see_it() {
    let world = lived();
    let mut told = String::new();
    let mut tell = |arguments: &[&str]| told.push_str(&world.seen(arguments));
    tell(&words(&["checkpoint", "keygen"], &KEYS));
    tell(&words(&["checkpoint", "keygen"], &KEYS));
    tell(&["checkpoint", "create", "--key", "key.pem", "--name", "fraud-prod", "--output", "march.json"]);
    tell(&["checkpoint", "create", "--key", "key.pem", "--output", "march.json"]);
    tell(&["checkpoint", "show", "march.json"]);
    tell(&["verify", "--against", "march.json"]);
    tell(&["verify", "--against", "march.json", "--public-key", "key.pub.pem", "--bytes"]);
    world.ok(&["promote", "fraud", "v1", "--to", "production"]);
    tell(&["verify", "--against", "march.json", "--public-key", "key.pub.pem"]);
    let since = ["--since", "march.json", "--public-key", "key.pub.pem", "--output", "april.json"];
    tell(&words(&["checkpoint", "create", "--key", "key.pem"], &since));
    tell(&["verify", "--against", "april.json", "--public-key", "key.pub.pem"]);
    world.damage_commit("model/fraud", 2);
    tell(&["verify", "--against", "april.json", "--public-key", "key.pub.pem"]);
    tell(&["checkpoint", "create", "--key", "key.pem", "--output", "may.json"]);
    insta::assert_snapshot!(told);
    assert!(!world.work().join("may.json").exists(), "nothing is said of a log that is damaged");
}

#[test]
fn the_life_of_a_signature_as_people_see_it() {
    let world = lived();
    world.write("better.bin", "better weights");
    let mut told = String::new();
    let mut tell = |arguments: &[&str]| told.push_str(&world.seen(arguments));
    tell(&words(&["sign", "keygen"], &KEYS));
    let register = ["register", "fraud", "better.bin", "--version", "v2", "--sign", "key.pem"];
    tell(&words(&register, &["--dry-run"]));
    tell(&register);
    tell(&register);
    tell(&["sign", "verify", "fraud", "v2", "--public-key", "key.pub.pem"]);
    tell(&["sign", "verify", "fraud", "v1", "--public-key", "key.pub.pem"]);
    tell(&["sign", "version", "fraud", "v1", "--key", "key.pem", "--output", "v1.sig"]);
    tell(&["sign", "verify", "fraud", "v1", "--signature", "v1.sig", "--public-key", "key.pub.pem"]);
    tell(&["sign", "verify", "fraud", "v2", "--signature", "v1.sig", "--public-key", "key.pub.pem"]);
    world.damage_blob(b"better weights");
    tell(&["sign", "verify", "fraud", "v2", "--public-key", "key.pub.pem"]);
    insta::assert_snapshot!(told);
}

#[test]
fn programs_read_the_same() {
    let world = lived();
    let generated = world.json(&words(&["checkpoint", "keygen"], &KEYS));
    assert_eq!(generated["algorithm"], "Ed25519");
    let created =
        world.json(&["checkpoint", "create", "--key", "key.pem", "--model", "fraud", "--output", "c"]);
    assert_eq!(created["covers"], "model/fraud");
    assert_eq!(created["key"], generated["key"]);
    assert_eq!(world.json(&["checkpoint", "show", "c"]), created);
    let held = world.json(&["verify", "--against", "c", "--public-key", "key.pub.pem"]);
    assert_eq!(
        (held["is_sound"].as_bool(), held["logs"][0]["commits_since"].as_u64()),
        (Some(true), Some(0))
    );
    world.json(&["sign", "keygen", "--key", "p256.pem", "--public-key", "p256.pub.pem"]);
    let signed = world.json(&["sign", "version", "fraud", "latest", "--key", "p256.pem", "--output", "s"]);
    assert_eq!(signed["version"], "v1.0.0");
    let done =
        world.json(&["sign", "verify", "fraud", "v1", "--signature", "s", "--public-key", "p256.pub.pem"]);
    assert_eq!((done["is_sound"].as_bool(), &done["key"]), (Some(true), &signed["key"]));
}

#[cfg(unix)]
#[test]
fn a_private_key_is_for_its_owner_alone_and_nothing_is_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.ok(&words(&["checkpoint", "keygen"], &KEYS));
    let mode = |name: &str| std::fs::metadata(world.work().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("key.pem"), 0o600);
    // If only one of the two could be written, neither is.
    let ran = world.run(&["sign", "keygen", "--key", "other.pem", "--public-key", "key.pub.pem"]);
    assert!(ran.code == 2 && ran.stderr.contains("is there already"), "{}", ran.stderr);
    assert!(!world.work().join("other.pem").exists());
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    let world = lived();
    world.ok(&words(&["checkpoint", "keygen"], &KEYS));
    world.ok(&["sign", "keygen", "--key", "p256.pem", "--public-key", "p256.pub.pem"]);
    world.ok(&["checkpoint", "create", "--key", "key.pem", "--output", "c"]);
    world.ok(&["sign", "version", "fraud", "v1", "--key", "p256.pem", "--output", "s"]);
    world.write("model.sig", "x");
    world.write("altered", world_text(&world, "c").replace('J', "K"));
    let before = world.stored();
    let cases: [(&[&str], i32, &str); 14] = [
        (&["verify", "--against", "c", "--public-key", "p256.pub.pem"], 8, "was not made with key"),
        (&["verify", "--against", "altered", "--public-key", "key.pub.pem"], 2, "invalid checkpoint"),
        (&["verify", "--against", "s", "--public-key", "key.pub.pem"], 2, "is no signed checkpoint"),
        (&["verify", "--against", "nowhere", "--public-key", "key.pub.pem"], 2, "No such file"),
        (&["verify", "fraud", "--against", "c", "--public-key", "key.pub.pem"], 2, "name no models"),
        (&["verify", "--public-key", "key.pub.pem"], 2, "--against"),
        (&["checkpoint", "create", "--key", "key.pub.pem", "--output", "d"], 2, "must hold a `PRIVATE KEY`"),
        (&["checkpoint", "create", "--key", "pkcs11:token=x", "--output", "d"], 2, "PKCS#11"),
        (&["checkpoint", "create", "--key", "key.pem", "--model", "nobody", "--output", "d"], 4, "nobody"),
        (&["sign", "version", "fraud", "v1", "--key", "key.pem", "--output", "d"], 2, "expected P-256"),
        (
            &["sign", "verify", "fraud", "v1", "--public-key", "p256.pub.pem"],
            4,
            "v1.0.0 has no signature among its files, which would be `model.sig`; if",
        ),
        (
            &["sign", "verify", "fraud", "v1", "--signature", "c", "--public-key", "p256.pub.pem"],
            2,
            "no signature bundle",
        ),
        (&["sign", "verify", "fraud", "v1", "--signature", "s"], 2, "--public-key"),
        (
            &["register", "fraud", "model.sig", "--version", "v3", "--sign", "p256.pem"],
            2,
            "leave the file out",
        ),
    ];
    for (arguments, code, says) in cases {
        let ran = world.run(arguments);
        assert!(ran.code == code && ran.stderr.contains(says), "{arguments:?}: {} {}", ran.code, ran.stderr);
    }
    assert_eq!(world.stored(), before);
    assert!(!world.work().join("d").exists());
}

fn world_text(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.work().join(name)).unwrap()
}

/// The records of the log, taken out past everything that would refuse it.
fn taken_out(world: &World) -> Vec<Vec<u8>> {
    let database = rusqlite::Connection::open(world.registry().join("registry.db")).unwrap();
    let of_fraud = "slot >> 32 = (SELECT number FROM streams WHERE name = 'model/fraud')";
    let select = format!("SELECT body FROM commits WHERE {of_fraud} ORDER BY slot");
    let bodies: Vec<Vec<u8>> = {
        let mut rows = database.prepare(&select).unwrap();
        let bodies = rows.query_map([], |row| row.get(0)).unwrap();
        bodies.map(Result::unwrap).collect()
    };
    database
        .execute_batch(&format!(
            "DROP TRIGGER commits_are_never_changed; DROP TRIGGER commits_are_never_removed;
             DELETE FROM checkpoints; DELETE FROM commits WHERE {of_fraud}"
        ))
        .unwrap();
    bodies
}

fn put_back(world: &World, bodies: &[Vec<u8>]) {
    let database = rusqlite::Connection::open(world.registry().join("registry.db")).unwrap();
    let insert = "INSERT INTO commits (slot, body)
                  SELECT number << 32 | ?1, ?2 FROM streams WHERE name = 'model/fraud'";
    for (revision, body) in (1_i64..).zip(bodies) {
        database.execute(insert, rusqlite::params![revision, body]).unwrap();
    }
}

/// The log with another actor in a commit and all digests from there on made anew.
fn made_anew(bodies: &[Vec<u8>], mallory_at: u64) -> Vec<Vec<u8>> {
    use registry_core::codec::{decode, encode};
    let mut previous = None;
    let anew = |(revision, body): (u64, &Vec<u8>)| {
        let place = registry_core::Revision::new(revision).unwrap();
        let (mut commit, _) = decode(&"model/fraud".parse().unwrap(), place, body).unwrap();
        if revision == mallory_at {
            commit.actor = "mallory".parse().unwrap();
        }
        commit.previous = previous;
        let encoded = encode(&commit);
        previous = Some(encoded.digest);
        encoded.bytes
    };
    (1..).zip(bodies).map(anew).collect()
}

#[test]
fn five_ways_to_tamper_end_with_the_exit_code_for_what_is_corrupt() {
    let original = lived();
    original.ok(&["promote", "fraud", "v1", "--to", "production"]);
    original.ok(&["tag", "fraud", "team=risk"]);
    original.ok(&words(&["checkpoint", "keygen"], &KEYS));
    original.ok(&["checkpoint", "create", "--key", "key.pem", "--output", "kept.json"]);
    let verify = ["verify", "--against", "kept.json", "--public-key", "key.pub.pem"];
    assert_eq!(original.run(&verify).code, 0);
    // What is done to the records, whether `verify` finds it by itself, and what it says with the checkpoint.
    type Tamper = fn(&mut Vec<Vec<u8>>);
    let ways: [(Tamper, i32, &str); 5] = [
        (
            |records| {
                let text = String::from_utf8(records[1].clone()).unwrap();
                records[1] = text.replace("ada@example.com", "eve@example.com").into_bytes();
            },
            8,
            "revision 2: its bytes have digest",
        ),
        (|records| records.swap(1, 2), 8, "it is revision 3 of"),
        (|records| records.truncate(2), 0, "the log ends at 2: its tail was cut off"),
        // It shares three commits, and goes on otherwise.
        (|records| *records = made_anew(records, 4), 0, "is another commit than the one noted"),
        // It shares nothing.
        (|records| *records = made_anew(records, 1), 0, "is another commit than the one noted"),
    ];
    for (tamper, alone, says) in ways {
        let world = World::copy_of(&original);
        let mut records = taken_out(&world);
        assert_eq!(records.len(), 4);
        tamper(&mut records);
        put_back(&world, &records);
        assert_eq!(world.run(&["verify"]).code, alone, "{says}");
        let ran = world.run(&verify);
        assert!(ran.code == 8 && ran.stdout.contains(says), "{says}: {} {}", ran.code, ran.stdout);
    }
}
