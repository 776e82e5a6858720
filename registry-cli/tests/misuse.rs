//! What people and scripts get wrong. Every case has a name and demands an exit code, a phrase of the
//! message, the same refusal as JSON, and that nothing was written: not a commit, not a blob.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::sync::OnceLock;

use common::{Ran, World};

/// What a case begins with.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    /// No registry.
    Nothing,
    /// `fraud`, with v0.9.0 deleted, v1.0.0 in production, v1.1.0 in staging and v1.2.0 in development,
    /// the alias `champion`, and an approval rule for nothing.
    Lived,
}

struct Case {
    name: &'static str,
    base: Base,
    files: &'static [(&'static str, &'static str)],
    before: fn(&World),
    anonymous: bool,
    run: &'static [&'static str],
    code: i32,
    says: &'static str,
    /// How many commits each attempt leaves behind, of what must be on record although it is refused.
    notes: i64,
}

const LIVED: Case = Case {
    name: "",
    base: Base::Lived,
    files: &[],
    before: |_| {},
    anonymous: false,
    run: &[],
    code: 2,
    says: "",
    notes: 0,
};

/// The cursor of a search without a filter, at fraud@v1.0.0.
const AFTER_ANOTHER: &str =
    "5b2265336439643036343536393736353637222c5b5d2c226672617564222c2276312e302e30225d";

const NOTHING: Case = Case { base: Base::Nothing, ..LIVED };

const SIGNATURE: &str = r#"{"inputs": {"amount": "double"}, "outputs": {"score": "double"}}"#;
const BREAKING: &str =
    r#"{"inputs": {"amount": "double", "country": "string"}, "outputs": {"score": "double"}}"#;

fn lived() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let world = World::new();
        world.write("model.bin", "good weights");
        world.write("other.bin", "other weights");
        world.write("signature.json", SIGNATURE);
        world.write("breaking.json", BREAKING);
        for (version, weights) in
            [("v0.9", "zeroth"), ("v1.0", "first"), ("v1.1", "second"), ("v1.2", "third")]
        {
            world.write("now.bin", weights);
            world.ok(&[
                "register",
                "fraud",
                "now.bin",
                "--version",
                version,
                "--signature",
                "signature.json",
            ]);
        }
        world.ok(&["delete", "fraud", "v0.9"]);
        world.ok(&["promote", "fraud", "v1.0", "--to", "staging"]);
        world.ok(&["promote", "fraud", "v1.0", "--to", "production"]);
        world.ok(&["promote", "fraud", "v1.1", "--to", "staging"]);
        world.ok(&["alias", "fraud", "champion", "v1.0"]);
        world
    })
}

fn with_rule(world: &World) {
    world.ok(&[
        "policy",
        "set",
        "production",
        "--approver",
        "ada@example.com",
        "--approver",
        "bob@example.com",
    ]);
    world.ok(&["promote", "fraud", "v1.1", "--to", "production"]);
}

fn second_in_production(world: &World) {
    world.ok(&["promote", "fraud", "v1.1", "--to", "production"]);
}

#[cfg(unix)]
fn link_out(world: &World) {
    std::fs::create_dir(world.work().join("linked")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", world.work().join("linked/hostname")).unwrap();
}

#[cfg(not(unix))]
fn link_out(world: &World) {
    // The same refusal by another way, where links need privileges.
    world.write("linked/a", "leads out of the folder");
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Names.
    Case { name: "model-with-slash", run: &["register", "a/b", "model.bin", "--auto"], says: "contains `/`", ..LIVED },
    Case { name: "model-with-backslash", run: &["register", "a\\b", "model.bin", "--auto"], says: "contains `\\`", ..LIVED },
    Case { name: "model-with-colon", run: &["register", "a:b", "model.bin", "--auto"], says: "contains `:`", ..LIVED },
    Case { name: "model-empty", run: &["register", "", "model.bin", "--auto"], says: "is empty", ..LIVED },
    Case { name: "model-dots", run: &["info", ".."], says: "are not names", ..LIVED },
    Case { name: "model-with-line-feed", run: &["info", "a\nb"], says: "control character", ..LIVED },
    Case { name: "model-that-reads-backwards", run: &["info", "a\u{202e}b"], says: "control character", ..LIVED },
    Case { name: "model-too-long", run: &["info", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"], says: "longer than 256", ..LIVED },
    Case { name: "model-unknown", run: &["info", "nobody"], code: 4, says: "no model `nobody`", ..LIVED },
    Case { name: "model-unknown-to-a-verb", run: &["promote", "nobody", "v1", "--to", "staging"], code: 4, says: "no model `nobody`", ..LIVED },
    Case { name: "model-unknown-to-history", run: &["history", "nobody"], code: 4, says: "no model `nobody`", ..LIVED },
    Case { name: "model-unknown-to-verify", run: &["verify", "nobody"], code: 4, says: "no model `nobody`", ..LIVED },
    // Versions.
    Case { name: "version-a-word", run: &["register", "fraud", "model.bin", "--version", "banana"], says: "expected a semantic version", ..LIVED },
    Case { name: "version-leading-zero", run: &["register", "fraud", "model.bin", "--version", "1.02.0"], says: "leading zero", ..LIVED },
    Case { name: "version-four-parts", run: &["promote", "fraud", "1.2.3.4", "--to", "staging"], says: "semantic version", ..LIVED },
    Case { name: "version-beyond-64-bits", run: &["get", "fraud", "=99999999999999999999.0.0"], says: "version range", ..LIVED },
    Case { name: "version-unknown", run: &["promote", "fraud", "v9", "--to", "staging"], code: 4, says: "no version v9.0.0; there are v1.2.0, v1.1.0, v1.0.0", ..LIVED },
    Case { name: "version-with-other-bytes", run: &["register", "fraud", "other.bin", "--version", "v1.0"], code: 5, says: "already registered with other content", ..LIVED },
    Case { name: "version-of-a-deleted-one", run: &["register", "fraud", "other.bin", "--version", "v0.9"], code: 5, says: "never reused", ..LIVED },
    Case { name: "version-differs-in-build-only", run: &["register", "fraud", "other.bin", "--version", "1.0.0+b"], code: 5, says: "build metadata", ..LIVED },
    Case { name: "version-too-small", run: &["register", "fraud", "other.bin", "--version", "v1.3", "--signature", "breaking.json"], code: 3, says: "too small a step", ..LIVED },
    Case { name: "bump-too-small", run: &["bump", "fraud", "patch", "other.bin", "--signature", "breaking.json"], code: 3, says: "need a major bump", ..LIVED },
    Case { name: "bump-unknown", run: &["register", "fraud", "other.bin", "--auto"], code: 3, says: "cannot tell which bump", ..LIVED },
    Case { name: "bump-a-word", run: &["bump", "fraud", "huge", "other.bin"], says: "invalid value 'huge'", ..LIVED },
    Case { name: "bump-flag-a-word", run: &["register", "fraud", "other.bin", "--bump", "huge"], says: "expected `major`", ..LIVED },
    Case { name: "version-and-bump", run: &["register", "fraud", "other.bin", "--version", "v2", "--bump", "minor"], says: "cannot be used with", ..LIVED },
    Case { name: "allow-smaller-with-auto", run: &["register", "fraud", "other.bin", "--auto", "--allow-smaller", "x"], says: "cannot be used with", ..LIVED },
    Case { name: "allow-smaller-without-version", run: &["register", "fraud", "other.bin", "--allow-smaller", "x"], says: "only a version that is given", ..LIVED },
    // Selectors.
    Case { name: "selector-nonsense", run: &["get", "fraud", "a b"], says: "expected a version, a range", ..LIVED },
    Case { name: "selector-broken-range", run: &["get", "fraud", "^x"], says: "version range", ..LIVED },
    Case { name: "selector-range-without-match", run: &["get", "fraud", "^7"], code: 4, says: "nothing that `^7` names", ..LIVED },
    Case { name: "selector-staging-at", run: &["get", "fraud", "staging@2024-01-15"], says: "only `production@", ..LIVED },
    Case { name: "selector-production-at-noon", run: &["get", "fraud", "production@noon"], says: "RFC 3339", ..LIVED },
    Case { name: "selector-before-the-beginning", run: &["get", "fraud", "production@2001-01-01"], code: 4, says: "nothing that `production@2001-01-01", ..LIVED },
    Case { name: "selector-unknown-alias", run: &["get", "fraud", "challenger"], code: 4, says: "nothing that `challenger` names", ..LIVED },
    Case { name: "selector-nothing-before", run: &["info", "fraud", "previous"], code: 4, says: "nothing that `previous` names", ..LIVED },
    // Stages.
    Case { name: "stage-unknown", run: &["promote", "fraud", "v1.1", "--to", "live"], says: "expected `development`", ..LIVED },
    Case { name: "stage-missing", run: &["promote", "fraud", "v1.1"], says: "--to <STAGE>", ..LIVED },
    Case { name: "stage-jump", run: &["promote", "fraud", "v1.2", "--to", "production"], code: 3, says: "cannot move from development to production", ..LIVED },
    Case { name: "stage-jump-says-where-to", run: &["promote", "fraud", "v1.2", "--to", "production"], code: 3, says: "may go to staging or archived", ..LIVED },
    Case { name: "stage-another-than-thought", run: &["promote", "fraud", "v1.1", "--from", "dev", "--to", "production"], code: 5, says: "is in staging, not in development", ..LIVED },
    Case { name: "stage-of-a-deleted-one", run: &["promote", "fraud", "v0.9", "--to", "staging"], code: 3, says: "undelete it first", ..LIVED },
    Case { name: "stage-to-begin-in-production", run: &["register", "fraud", "other.bin", "--version", "v2", "--stage", "production"], code: 3, says: "cannot move from development to production", ..LIVED },
    Case { name: "stage-that-demands-approval", before: |world| { world.ok(&["policy", "set", "staging"]); }, run: &["register", "fraud", "other.bin", "--version", "v2", "--stage", "staging"], code: 3, says: "staging demands approval", ..LIVED },
    Case { name: "delete-in-production", run: &["delete", "fraud", "v1.0"], code: 3, says: "is in production", ..LIVED },
    Case { name: "undelete-unknown", run: &["undelete", "fraud", "v7"], code: 4, says: "no version v7.0.0", ..LIVED },
    // Approvals.
    Case { name: "audit-of-nobody", run: &["audit", "nobody"], code: 4, says: "there is no model `nobody`", ..LIVED },
    Case { name: "audit-backwards", run: &["audit", "--from", "2024-02-01", "--to", "2024-01-01"], says: "must be later than the beginning", ..LIVED },
    Case { name: "audit-from-the-future", run: &["audit", "--from", "2199-01-01"], says: "must be later than the beginning", ..LIVED },
    Case { name: "audit-until-whenever", run: &["audit", "--to", "yesterday"], says: "expected a date such as `2024-01-15`, or an instant", ..LIVED },
    Case { name: "audit-as-a-poem", run: &["audit", "--format", "poem"], says: "possible values", ..LIVED },
    Case { name: "audit-tables-nowhere", run: &["audit", "--format", "csv"], says: "a report as csv is a file for each table; say with --output into which folder", ..LIVED },
    Case { name: "audit-into-a-folder", before: |world| std::fs::create_dir(world.work().join("taken")).unwrap(), run: &["audit", "--output", "taken"], says: "is a folder", ..LIVED },
    Case { name: "audit-tables-into-a-file", files: &[("taken", "x")], run: &["audit", "--format", "csv", "--output", "taken"], says: "taken", ..LIVED },
    Case { name: "audit-where-nothing-is", run: &["audit"], code: 4, says: "there is no registry", ..NOTHING },
    Case { name: "policy-report-of-nobody", run: &["policy", "report", "nobody"], code: 4, says: "there is no model `nobody`", ..LIVED },
    Case { name: "approve-what-does-not-wait", run: &["approve", "fraud", "v1.1"], code: 4, says: "no promotion of v1.1.0 waits", ..LIVED },
    Case { name: "reject-what-does-not-wait", run: &["reject", "fraud", "v1.1"], code: 4, says: "no promotion of v1.1.0 waits", ..LIVED },
    Case { name: "withdraw-what-does-not-wait", run: &["withdraw", "fraud", "v1.1"], code: 4, says: "no promotion of v1.1.0 waits", ..LIVED },
    Case { name: "approve-ones-own", before: with_rule, run: &["approve", "fraud", "v1.1"], code: 3, says: "may not approve it too", notes: 1, ..LIVED },
    Case { name: "approve-as-a-stranger", before: with_rule, run: &["approve", "fraud", "v1.1", "--actor", "mallory"], code: 3, says: "approvers are ada@example.com, bob@example.com", notes: 1, ..LIVED },
    Case { name: "withdraw-as-a-stranger", before: with_rule, run: &["withdraw", "fraud", "v1.1", "--actor", "mallory"], code: 3, says: "neither decided on nor asked", ..LIVED },
    Case { name: "approve-under-a-changed-rule", before: |world| { with_rule(world); world.ok(&["policy", "set", "production", "--quorum", "2"]); }, run: &["approve", "fraud", "v1.1", "--actor", "bob@example.com"], code: 3, says: "the rule for production has changed", ..LIVED },
    Case { name: "emergency-without-reason", before: with_rule, run: &["promote", "fraud", "v1.1", "--to", "production", "--emergency"], says: "a reason is mandatory", ..LIVED },
    Case { name: "emergency-and-approval", run: &["promote", "fraud", "v1.1", "--to", "production", "--emergency", "--require-approval"], says: "cannot be used with", ..LIVED },
    // Rollback.
    Case { name: "rollback-to-nothing", run: &["rollback", "fraud"], code: 3, says: "no earlier good version", ..LIVED },
    Case { name: "rollback-to-one-that-never-served", run: &["rollback", "fraud", "--to", "v1.2"], code: 3, says: "never was in production", ..LIVED },
    Case { name: "rollback-to-itself", run: &["rollback", "fraud", "--to", "v1.0"], code: 3, says: "it is in production", ..LIVED },
    Case { name: "rollback-to-unknown", run: &["rollback", "fraud", "--to", "v8"], code: 4, says: "no version v8.0.0", ..LIVED },
    Case { name: "rollback-to-damaged-bytes", before: |world| { second_in_production(world); world.damage_blob(b"first"); }, run: &["rollback", "fraud", "--to", "v1.0"], code: 3, says: "do not verify", ..LIVED },
    Case { name: "rollback-with-nothing-in-production", before: |world| { world.ok(&["archive", "fraud", "v1.0"]); }, run: &["rollback", "fraud"], code: 4, says: "nothing is in production", ..LIVED },
    Case { name: "promote-from-quarantine", before: |world| { second_in_production(world); world.ok(&["rollback", "fraud"]); }, run: &["promote", "fraud", "v1.1", "--to", "staging"], code: 3, says: "quarantined since", ..LIVED },
    Case { name: "lift-quarantine-without-reason", before: |world| { second_in_production(world); world.ok(&["rollback", "fraud"]); }, run: &["lift-quarantine", "fraud", "v1.1"], says: "a reason is mandatory", ..LIVED },
    // Dates and durations.
    Case { name: "date-thirteenth-month", run: &["deprecate", "fraud", "v1.1", "--end-of-life", "2024-13-01"], says: "RFC 3339", ..LIVED },
    Case { name: "date-a-word", run: &["deprecate", "fraud", "v1.1", "--end-of-life", "tomorrow"], says: "RFC 3339", ..LIVED },
    Case { name: "date-german", run: &["search", "created >= 15.01.2024"], says: "expected a date such as", ..LIVED },
    Case { name: "date-without-offset", run: &["search", "created <= 2024-01-15T10:30:00"], says: "with an offset", ..LIVED },
    Case { name: "date-trained-on-no-day", run: &["amend", "fraud", "v1.1", "--training-date", "2024-02-30"], says: "invalid date", ..LIVED },
    Case { name: "promote-after-end-of-life", before: |world| { world.ok(&["deprecate", "fraud", "v1.1", "--end-of-life", "2001-01-01"]); }, run: &["promote", "fraud", "v1.1", "--to", "production"], code: 3, says: "reached its end of life on 2001-01-01", ..LIVED },
    Case { name: "supersede-itself", run: &["deprecate", "fraud", "v1.1", "--superseded-by", "v1.1"], says: "cannot supersede itself", ..LIVED },
    Case { name: "superseded-by-unknown", run: &["deprecate", "fraud", "v1.1", "--superseded-by", "v7"], code: 4, says: "no version v7.0.0", ..LIVED },
    Case { name: "deprecate-and-lift", run: &["deprecate", "fraud", "v1.1", "--lift", "--superseded-by", "v1.2"], says: "cannot be used with", ..LIVED },
    Case { name: "grace-too-short", run: &["gc", "--grace", "5min"], says: "at least one hour", ..LIVED },
    Case { name: "grace-without-unit", run: &["gc", "--grace", "7"], says: "a number and a unit", ..LIVED },
    Case { name: "watch-without-pause", run: &["watch", "fraud", "--every", "0ms"], says: "from 10ms to 1h", ..LIVED },
    // Aliases, tags, texts.
    Case { name: "alias-reserved", run: &["alias", "fraud", "latest", "v1.0"], says: "reserved word", ..LIVED },
    Case { name: "alias-a-stage", run: &["alias", "fraud", "prod", "v1.0"], says: "reserved word", ..LIVED },
    Case { name: "alias-a-version", run: &["alias", "fraud", "v3", "v1.0"], says: "reads as a version", ..LIVED },
    Case { name: "alias-to-unknown", run: &["alias", "fraud", "best", "v7"], code: 4, says: "no version v7.0.0", ..LIVED },
    Case { name: "alias-to-nothing", run: &["alias", "fraud", "best"], says: "required arguments", ..LIVED },
    Case { name: "alias-removed-unknown", run: &["alias", "fraud", "best", "--remove"], code: 4, says: "no alias `best`", ..LIVED },
    Case { name: "tag-with-comma", run: &["tag", "fraud", "a,b"], says: "contains `,`", ..LIVED },
    Case { name: "tag-set-and-removed", run: &["tag", "fraud", "a", "--remove", "a"], says: "both set and removed", ..LIVED },
    Case { name: "description-empty", run: &["describe", "fraud", ""], says: "is empty", ..LIVED },
    Case { name: "description-missing", run: &["describe", "fraud"], says: "required arguments", ..LIVED },
    Case { name: "reason-empty", run: &["archive", "fraud", "v1.2", "-m", " "], says: "is empty", ..LIVED },
    Case { name: "reason-that-rings", run: &["archive", "fraud", "v1.2", "-m", "a\u{7}b"], says: "control character", ..LIVED },
    // Requests.
    Case { name: "actor-empty", run: &["archive", "fraud", "v1.2", "--actor", ""], says: "is empty", ..LIVED },
    Case { name: "actor-two-lines", run: &["archive", "fraud", "v1.2", "--actor", "ada\nbob"], says: "control character", ..LIVED },
    Case { name: "actor-unknown", anonymous: true, run: &["archive", "fraud", "v1.2"], says: "who are you?", ..LIVED },
    Case { name: "request-id-with-space", run: &["archive", "fraud", "v1.2", "--request-id", "a b"], says: "contains ` `", ..LIVED },
    Case { name: "request-id-reused", before: |world| { world.ok(&["tag", "fraud", "a", "--request-id", "r-1"]); }, run: &["tag", "fraud", "b", "--request-id", "r-1"], code: 5, says: "was used for another request", ..LIVED },
    Case { name: "revision-another-than-thought", run: &["tag", "fraud", "a", "--expect", "3"], code: 5, says: "expected revision 3, but the log is at", ..LIVED },
    Case { name: "revision-another-at-registration", run: &["register", "fraud", "other.bin", "--version", "v2", "--expect", "3"], code: 5, says: "expected revision 3", ..LIVED },
    Case { name: "revision-zero", run: &["tag", "fraud", "a", "--expect", "0"], says: "from 1 to", ..LIVED },
    // Cards.
    Case { name: "card-missing", run: &["register", "fraud", "--version", "v2", "--card", "nowhere.toml"], says: "nowhere.toml", ..LIVED },
    Case { name: "card-without-extension", files: &[("card", "")], run: &["register", "fraud", "--version", "v2", "--card", "card"], says: "the extension must say", ..LIVED },
    Case { name: "card-a-folder", files: &[("card.toml/x", "")], run: &["register", "fraud", "--version", "v2", "--card", "card.toml"], says: "card.toml", ..LIVED },
    Case { name: "card-broken-toml", files: &[("card.toml", "a = = 1")], run: &["register", "fraud", "--version", "v2", "--card", "card.toml"], says: "card.toml", ..LIVED },
    Case { name: "card-broken-json", files: &[("card.json", "{")], run: &["register", "fraud", "--version", "v2", "--card", "card.json"], says: "EOF", ..LIVED },
    Case { name: "card-broken-yaml", files: &[("card.yaml", "a: [")], run: &["register", "fraud", "--version", "v2", "--card", "card.yaml"], says: "card.yaml", ..LIVED },
    Case { name: "card-not-text", before: |world| world.write("card.toml", [0xff, 0xfe, 0x00]), run: &["register", "fraud", "--version", "v2", "--card", "card.toml"], says: "not text in UTF-8", ..LIVED },
    Case { name: "card-key-misspelt", files: &[("card.toml", "acuracy = 0.9")], run: &["register", "fraud", "--version", "v2", "--card", "card.toml"], says: "did you mean `accuracy`", ..LIVED },
    Case { name: "card-key-twice", files: &[("card.json", "{\"owner\": \"a\", \"owner\": \"b\"}")], run: &["register", "fraud", "--version", "v2", "--card", "card.json"], says: "given twice", ..LIVED },
    Case { name: "card-version-as-number", files: &[("card.yaml", "version: 3.10")], run: &["register", "fraud", "--card", "card.yaml"], says: "in quotes", ..LIVED },
    Case { name: "card-of-another-model", files: &[("card.yaml", "name: churn")], run: &["register", "fraud", "--version", "v2", "--card", "card.yaml"], says: "about `churn`, not about `fraud`", ..LIVED },
    Case { name: "card-number-that-is-none", files: &[("card.yaml", "accuracy: .nan")], run: &["register", "fraud", "--version", "v2", "--card", "card.yaml"], says: "accuracy: .nan", ..LIVED },
    Case { name: "card-latency-without-unit", files: &[("card.yaml", "inference_latency_p50: 35")], run: &["register", "fraud", "--version", "v2", "--card", "card.yaml"], says: "with a unit", ..LIVED },
    Case { name: "card-stage-unknown", files: &[("card.yaml", "stage: live")], run: &["register", "fraud", "--version", "v2", "--card", "card.yaml"], says: "expected `development`", ..LIVED },
    Case { name: "card-that-climbs-out", files: &[("card.yaml", "requirements: ../../etc/passwd")], run: &["register", "fraud", "--version", "v2", "--card", "card.yaml"], says: "`..`", ..LIVED },
    Case { name: "card-feature-count-wrong", files: &[("card.yaml", "features: [a, b]\nnum_features: 35")], run: &["explain", "fraud", "--card", "card.yaml"], says: "says 35, but 2", ..LIVED },
    Case { name: "amend-the-signature", files: &[("card.yaml", "signature: {inputs: {a: long}}")], run: &["amend", "fraud", "v1.1", "--card", "card.yaml"], says: "cannot be amended", ..LIVED },
    Case { name: "amend-nothing", run: &["amend", "fraud", "v1.1"], says: "nothing to add or correct", ..LIVED },
    Case { name: "history-of-nothing", run: &["history", "fraud", "--limit", "0"], says: "0 is not in 1..", ..LIVED },
    Case { name: "watch-of-nothing", run: &["watch", "fraud", "--limit", "0"], says: "0 is not in 1..", ..LIVED },
    Case { name: "export-over-a-file", files: &[("backup.tar", "x")], run: &["export", "--output", "backup.tar"], says: "`backup.tar` is there already; choose another file", ..LIVED },
    Case { name: "signature-of-unknown-type", files: &[("s.json", "{\"inputs\": {\"a\": \"quaternion\"}}")], run: &["register", "fraud", "--version", "v2", "--signature", "s.json"], says: "quaternion", ..LIVED },
    Case { name: "signature-empty", files: &[("s.json", "{}")], run: &["register", "fraud", "--version", "v2", "--signature", "s.json"], says: "signature", ..LIVED },
    Case { name: "features-twice", files: &[("f.yaml", "[a, a]")], run: &["register", "fraud", "--version", "v2", "--features", "f.yaml"], says: "features", ..LIVED },
    // Flags.
    Case { name: "metric-a-word", run: &["amend", "fraud", "v1.1", "--metric", "accuracy=high"], says: "`high` is not a number", ..LIVED },
    Case { name: "metric-not-a-number", run: &["amend", "fraud", "v1.1", "--metric", "accuracy=NaN"], says: "must be finite", ..LIVED },
    Case { name: "metric-without-value", run: &["amend", "fraud", "v1.1", "--metric", "accuracy"], says: "expected `NAME=NUMBER`", ..LIVED },
    Case { name: "param-without-value", run: &["amend", "fraud", "v1.1", "--param", "depth"], says: "expected `NAME=VALUE`", ..LIVED },
    Case { name: "latency-without-unit", run: &["amend", "fraud", "v1.1", "--latency-p50", "35"], says: "a number and a unit", ..LIVED },
    Case { name: "size-in-unknown-unit", run: &["amend", "fraud", "v1.1", "--model-size", "12XB"], says: "`12MB`", ..LIVED },
    Case { name: "parent-without-version", run: &["amend", "fraud", "v1.1", "--parent", "somebody"], says: "expected `<model>@<version>`", ..LIVED },
    Case { name: "search-by-an-unknown-field", run: &["search", "metric.accuracy > 0.9 and stag = prod"], says: "at character 27: there is no field `stag`; did you mean `stage`?", ..LIVED },
    Case { name: "search-by-a-word-alone", run: &["search", "fraud"], says: "`text = '…'` looks for a text", ..LIVED },
    Case { name: "search-for-a-stage-by-size", run: &["search", "stage > 3"], says: "`>` does not apply to `stage`", ..LIVED },
    Case { name: "search-with-an-open-quote", run: &["search", "owner = 'ada"], says: "never closed", ..LIVED },
    Case { name: "search-in-two-orders", run: &["search", "order by name desc", "--order-by", "version"], says: "give one of the two", ..LIVED },
    Case { name: "search-in-no-order", run: &["search", "--order-by", "feature"], says: "there is no order by `feature`", ..LIVED },
    Case { name: "search-after-no-cursor", run: &["search", "--after", "fraud"], says: "is not the end of a page", ..LIVED },
    Case { name: "search-after-another-search", run: &["search", "tag.fraud", "--after", AFTER_ANOTHER], says: "belongs to another search", ..LIVED },
    Case { name: "list-none", run: &["list", "--limit", "0"], says: "0 is not in 1..=", ..LIVED },
    // Paths.
    Case { name: "path-missing", run: &["register", "fraud", "nowhere.bin", "--version", "v2"], says: "nowhere.bin", ..LIVED },
    Case { name: "path-missing-first-model", files: &[("x", "")], run: &["register", "first", "nowhere.bin", "--auto"], says: "nowhere.bin", ..NOTHING },
    Case { name: "path-empty-folder", before: |world| std::fs::create_dir(world.work().join("empty")).unwrap(), run: &["register", "fraud", "empty", "--version", "v2"], says: "is an empty folder", ..LIVED },
    Case { name: "path-twice", run: &["register", "fraud", "model.bin", "model.bin", "--version", "v2"], says: "is given twice", ..LIVED },
    Case { name: "path-file-and-folder", files: &[("a/model.bin/x", "1"), ("b/model.bin", "2")], run: &["register", "fraud", "a", "b", "--version", "v2"], says: "lies below a path that is a file", ..LIVED },
    Case { name: "path-that-links-out", before: link_out, run: &["register", "fraud", "linked", "--version", "v2"], says: "leads out of the folder", ..LIVED },
    Case { name: "output-not-empty", files: &[("out/mine.txt", "mine")], run: &["get", "fraud", "--output", "out"], says: "is not empty", ..LIVED },
    Case { name: "output-a-file", run: &["get", "fraud", "--output", "model.bin"], says: "model.bin", ..LIVED },
    Case { name: "cat-unknown", run: &["get", "fraud", "--cat", "weights.bin"], says: "it has now.bin", ..LIVED },
    Case { name: "cat-that-climbs-out", run: &["get", "fraud", "--cat", "../registry.db"], says: "`..`", ..LIVED },
    Case { name: "range-backwards", run: &["get", "fraud", "--cat", "now.bin", "--range", "9..1"], says: "expected `FROM..TO`", ..LIVED },
    Case { name: "range-of-nothing", run: &["get", "fraud", "--range", "0..1"], says: "needs --cat", ..LIVED },
    // Policies.
    Case { name: "quorum-zero", run: &["policy", "set", "production", "--quorum", "0"], says: "expected a whole number of at least 1", ..LIVED },
    Case { name: "quorum-out-of-reach", run: &["policy", "set", "production", "--quorum", "2", "--approver", "bob"], says: "can never be reached by 1 approver", ..LIVED },
    Case { name: "policy-of-unknown-stage", run: &["policy", "set", "live"], says: "expected `development`", ..LIVED },
    Case { name: "policy-that-expires-at-once", run: &["policy", "set", "production", "--expires-after", "0s"], says: "longer than nothing", ..LIVED },
    Case { name: "policy-that-expires-in-words", run: &["policy", "set", "production", "--expires-after", "a month"], says: "a number and a unit", ..LIVED },
    Case { name: "policy-both-ways", run: &["policy", "set", "production", "--no-approval", "--approver", "bob"], says: "cannot be used with", ..LIVED },
    Case { name: "policy-of-unknown-model", run: &["policy", "set", "production", "--model", "nobody"], code: 4, says: "no model `nobody`", ..LIVED },
    Case { name: "policy-shown-of-unknown-model", run: &["policy", "show", "nobody"], code: 4, says: "no model `nobody`", ..LIVED },
    Case { name: "move-without-colon", run: &["policy", "transitions", "--allow", "dev-prod"], says: "expected `FROM:TO`", ..LIVED },
    Case { name: "move-to-itself", run: &["policy", "transitions", "--allow", "dev:development"], says: "leads nowhere", ..LIVED },
    Case { name: "moves-none", run: &["policy", "transitions"], says: "required arguments", ..LIVED },
    // The place.
    Case { name: "place-unknown-scheme", run: &["--registry", "gopher://x", "list"], says: "known are sqlite", ..LIVED },
    Case { name: "place-unknown-option", run: &["--registry", "sqlite:../registry?readonly=true", "list"], says: "unknown option `readonly`", ..LIVED },
    Case { name: "place-bad-option", run: &["--registry", "sqlite:../registry?read_only=yes", "list"], says: "must be `true` or `false`", ..LIVED },
    Case { name: "place-without-path", run: &["--registry", "sqlite:", "list"], says: "a folder is needed", ..LIVED },
    Case { name: "place-empty", run: &["--registry", "", "list"], says: "is empty", ..LIVED },
    Case { name: "place-missing", run: &["--registry", "nowhere", "list"], code: 4, says: "there is no registry", ..LIVED },
    Case { name: "place-missing-for-a-verb", run: &["--registry", "nowhere", "delete", "fraud", "v1"], code: 4, says: "there is no registry", ..LIVED },
    Case { name: "place-without-registry", run: &["--registry", ".", "list"], code: 4, says: "there is no registry", ..LIVED },
    Case { name: "place-a-file", run: &["--registry", "model.bin", "register", "fraud", "other.bin", "--auto"], says: "model.bin", ..LIVED },
    Case { name: "place-read-only", run: &["--registry", "sqlite:../registry?read_only=true", "tag", "fraud", "a"], code: 6, says: "read-only", ..LIVED },
    Case { name: "nowhere-to-read", run: &["info", "fraud"], code: 4, says: "there is no registry", ..NOTHING },
    Case { name: "nowhere-to-change", run: &["promote", "fraud", "v1", "--to", "staging"], code: 4, says: "there is no registry", ..NOTHING },
    Case { name: "first-model-refused", files: &[("model.bin", "x")], run: &["register", "fraud", "model.bin", "--version", "v1", "--stage", "production"], code: 3, says: "cannot move", ..NOTHING },
    // What is damaged.
    Case { name: "commit-damaged-for-info", before: |world| world.damage_commit("model/fraud", 3), run: &["info", "fraud"], code: 8, says: "corrupt", ..LIVED },
    Case { name: "commit-damaged-for-a-verb", before: |world| world.damage_commit("model/fraud", 3), run: &["tag", "fraud", "a"], code: 8, says: "corrupt", ..LIVED },
    Case { name: "commit-damaged-for-verify", before: |world| world.damage_commit("model/fraud", 3), run: &["verify"], code: 8, says: "problem", ..LIVED },
    Case { name: "blob-damaged-for-get", before: |world| world.damage_blob(b"first"), run: &["get", "fraud", "--output", "out"], code: 8, says: "digest", ..LIVED },
    Case { name: "blob-damaged-for-cat", before: |world| world.damage_blob(b"first"), run: &["get", "fraud", "--cat", "now.bin"], code: 8, says: "digest", ..LIVED },
    Case { name: "blob-damaged-for-verify", before: |world| world.damage_blob(b"first"), run: &["verify", "--bytes"], code: 8, says: "1 problem found", ..LIVED },
    Case { name: "blob-missing", before: |world| std::fs::remove_file(world.blob(b"first")).unwrap(), run: &["get", "fraud", "--output", "out"], code: 8, says: "blob", ..LIVED },
    Case { name: "database-of-rubbish", before: |world| std::fs::write(world.registry().join("registry.db"), "this is no database, but it is long enough to be one").unwrap(), run: &["list"], code: 8, says: "not a database", ..LIVED },
    Case { name: "database-of-a-newer-layout", before: newer_layout, run: &["list"], code: 6, says: "layout 99", ..LIVED },
    Case { name: "head-cut-off", run: &["verify", "fraud", "--against", "99@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"], code: 8, says: "problem", ..LIVED },
    Case { name: "head-of-nothing", run: &["verify", "--against", "1@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"], says: "a head belongs to one model", ..LIVED },
    Case { name: "markers-of-a-checkpoint", run: &["verify", "--against", "heads.json", "--public-key", "k.pem", "--renew-markers"], says: "\"--renew-markers\": goes with the logs of this registry alone", ..LIVED },
    Case { name: "head-without-digest", run: &["verify", "fraud", "--against", "7"], says: "expected `REVISION@DIGEST`", ..LIVED },
    // The command line.
    Case { name: "option-unknown", run: &["list", "--colour"], says: "unexpected argument", ..LIVED },
    Case { name: "command-unknown", run: &["lst"], says: "unrecognized subcommand", ..LIVED },
    Case { name: "argument-too-many", run: &["info", "fraud", "v1", "v2"], says: "unexpected argument", ..LIVED },
    Case { name: "argument-missing", run: &["info"], says: "required arguments", ..LIVED },
    Case { name: "shell-unknown", run: &["completions", "tcsh"], says: "invalid value 'tcsh'", ..LIVED },
    Case { name: "format-unknown", run: &["explain", "fraud", "--format", "html"], says: "invalid value 'html'", ..LIVED },
    Case { name: "compare-with-nothing", run: &["compare", "fraud", "v1", "v9"], says: "v9.0.0", code: 4, ..LIVED },
    Case { name: "lineage-of-nothing", run: &["lineage", "fraud", "v9"], says: "v9.0.0", code: 4, ..LIVED },
    Case { name: "compare-unknown-model", run: &["compare", "fraud", "v1", "--with", "other"], says: "other", code: 4, ..LIVED },
    Case { name: "compare-direction-wrong", run: &["compare", "fraud", "--direction", "accuracy=up"], says: "METRIC=higher", ..LIVED },
    Case { name: "compare-significance-wrong", run: &["compare", "fraud", "--significance", "5"], says: "between 0 and 1", ..LIVED },
    Case { name: "compare-tolerance-wrong", run: &["compare", "fraud", "--tolerance", "0.1"], says: "a percentage", ..LIVED },
    Case { name: "compare-tolerance-negative", run: &["compare", "fraud", "--tolerance=-1%"], says: "a percentage", ..LIVED },
    Case { name: "compare-the-only-one", before: |world| { for version in ["v1.1", "v1.2"] { world.ok(&["delete", "fraud", version]); } }, run: &["compare", "fraud", "v1.0"], says: "v1.0.0 is in production and the latest version", ..LIVED },
    Case { name: "compare-what-is-there", before: |world| { for version in ["v1.1", "v1.2"] { world.ok(&["delete", "fraud", version]); } }, run: &["compare", "fraud"], says: "name two versions", ..LIVED },
    Case { name: "compare-scores-missing", run: &["compare", "fraud", "v1", "v1", "--scores", "accuracy=a.txt,b.txt"], says: "cannot be read", ..LIVED },
    Case { name: "compare-scores-of-one", run: &["compare", "fraud", "v1", "v1", "--scores", "accuracy=a.txt"], says: "METRIC=OLD,NEW", ..LIVED },
    Case { name: "compare-scores-no-number", files: &[("a.txt", "1\nx\n"), ("b.txt", "1\n0\n")], run: &["compare", "fraud", "v1", "v1", "--scores", "accuracy=a.txt,b.txt"], says: "line 2 is not a number", ..LIVED },
    Case { name: "compare-scores-unequal", files: &[("a.txt", "1\n"), ("b.txt", "1\n0\n")], run: &["compare", "fraud", "v1", "v1", "--scores", "accuracy=a.txt,b.txt"], says: "1 examples and the other 2", ..LIVED },
    Case { name: "compare-scores-of-three", run: &["compare", "fraud", "v1", "v1", "v1", "--scores", "accuracy=a.txt,b.txt"], says: "compare two", ..LIVED },
];

fn newer_layout(world: &World) {
    let connection = rusqlite::Connection::open(world.registry().join("registry.db")).unwrap();
    connection.execute_batch("PRAGMA user_version = 99").unwrap();
}

#[test]
fn every_mistake_is_refused_with_its_code_its_words_and_nothing_written() {
    let names: std::collections::BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len(), "every case has a name of its own");
    let mut wrong = Vec::new();
    for case in CASES {
        if let Err(problem) = check(case) {
            wrong.push(format!("{}: {problem}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

fn check(case: &Case) -> Result<(), String> {
    let world = match case.base {
        Base::Nothing => World::new(),
        Base::Lived => World::copy_of(lived()),
    };
    for (name, text) in case.files {
        world.write(name, text);
    }
    (case.before)(&world);
    let mut stored = world.stored();
    for json in [false, true] {
        let mut arguments = case.run.to_vec();
        let is_exclusive = arguments.contains(&"--cat");
        if json && !is_exclusive {
            arguments.push("--json");
        }
        let mut command = world.command(&arguments);
        if case.anonymous {
            command.env_remove("REGISTRY_ACTOR");
        }
        let ran = Ran::of(&mut command);
        if ran.code != case.code {
            return Err(format!("exit code {} instead of {}: {}", ran.code, case.code, ran.stderr));
        }
        let last = ran.stderr.lines().last().unwrap_or_default();
        let says = if json && !is_exclusive {
            let told: serde_json::Value =
                serde_json::from_str(last).map_err(|_| format!("no JSON: {}", ran.stderr))?;
            let kind = told["error"]["kind"].as_str().unwrap_or_default().to_owned();
            let kinds: &[&str] = match case.code {
                2 => &["invalid"],
                3 => &["rejected"],
                4 => &["not_found"],
                5 => &["conflict"],
                6 => &["unavailable", "access_denied"],
                8 => &["corrupt"],
                _ => &[],
            };
            if !kinds.contains(&kind.as_str()) {
                return Err(format!("kind {kind}"));
            }
            told["error"]["message"].as_str().unwrap_or_default().to_owned()
        } else {
            if !ran.stderr.contains("error: ") {
                return Err(format!("no `error: `: {}", ran.stderr));
            }
            ran.stderr.clone()
        };
        if !says.contains(case.says) {
            return Err(format!("says {says:?}, not {:?}", case.says));
        }
        if ran.stderr.contains("panicked") {
            return Err("it panicked".to_owned());
        }
        stored = stored.map(|stored| stored.and_commits(case.notes));
        if world.stored() != stored {
            return Err(format!("something was written: {:?}, then {:?}", stored, world.stored()));
        }
    }
    Ok(())
}
