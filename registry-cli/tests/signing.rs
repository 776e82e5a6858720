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
            2,
            "has no signature among its files",
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
