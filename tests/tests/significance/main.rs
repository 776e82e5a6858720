//! Every test statistic of comparisons beside an independent implementation: SciPy, on 200 random cases each. The
//! Python is that of the MLflow servers, which has SciPy; `cargo xtask test` installs it.
#![cfg(feature = "servers")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use registry_core::compare::Test;
use registry_core::compare::significance::{
    Measured, by_standard_errors, holm, mcnemar, means_above, paired_bootstrap, proportions_above,
    two_proportions,
};
use serde_json::{Value, json};

const REFERENCE: &str = include_str!("reference.py");
const CASES: u64 = 200;
const AGREEMENT: f64 = 1e-9;

/// What the other implementation says of each case.
fn reference(cases: &[Value]) -> Vec<Vec<f64>> {
    let python = std::env::var("REGISTRY_TEST_MLFLOW_3_PYTHON")
        .unwrap_or_else(|_| panic!("no REGISTRY_TEST_MLFLOW_3_PYTHON: `cargo xtask test` sets it"));
    let mut child = Command::new(python)
        .args(["-c", REFERENCE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(cases).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// From tiny to huge.
    fn magnitude(&mut self) -> f64 {
        10_f64.powf(self.unit() * 6.0 - 3.0)
    }
}

fn close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= AGREEMENT * theirs.abs().max(1.0)
}

/// Compares the cases that can be tested; there must be enough of them.
fn agree(what: &str, cases: Vec<(Value, Option<Test>)>) {
    let (asked, ours): (Vec<Value>, Vec<Test>) = cases
        .into_iter()
        .filter_map(|(with, test)| Some((json!({"what": what, "with": with}), test?)))
        .unzip();
    assert!(CASES * 9 / 10 <= asked.len() as u64, "{what}: only {} cases", asked.len());
    for ((case, ours), theirs) in asked.iter().zip(&ours).zip(reference(&asked)) {
        let [statistic, p] = theirs[..] else { panic!("{what}: {theirs:?}") };
        assert!(close(ours.statistic, statistic), "{case}: {ours:?}, statistic {statistic}");
        assert!((ours.p - p).abs() <= AGREEMENT, "{case}: {ours:?}, p {p}");
    }
}

#[test]
fn two_proportions_agree_with_scipy() {
    let mut random = Random(1);
    let cases = (0..CASES).map(|_| {
        let (old_n, new_n) = (random.between(1, 100_000), random.between(1, 100_000));
        let (old, new) = (random.unit(), random.unit());
        // Near each other half of the time, where it matters.
        let new = if random.next().is_multiple_of(2) {
            (old + (new - 0.5) * 0.02).clamp(0.001, 0.999)
        } else {
            new
        };
        (json!([old, old_n, new, new_n]), two_proportions(old, old_n, new, new_n))
    });
    agree("two_proportions", cases.collect());
}

fn measured(random: &mut Random, near: Option<f64>) -> Measured {
    let value = match near {
        None => random.magnitude(),
        Some(value) => value * (1.0 + (random.unit() - 0.5) * 0.2),
    };
    let standard_error = value * (0.001 + random.unit() * 0.2);
    Measured { value, samples: Some(random.between(2, 5_000)), standard_error: Some(standard_error) }
}

#[test]
fn welch_agrees_with_scipy() {
    let mut random = Random(2);
    let cases = (0..CASES).map(|_| {
        let old = measured(&mut random, None);
        let new = measured(&mut random, Some(old.value));
        let with =
            json!([old.value, old.standard_error, old.samples, new.value, new.standard_error, new.samples]);
        (with, by_standard_errors(&old, &new))
    });
    agree("welch", cases.collect());
}

#[test]
fn means_against_a_margin_agree_with_scipy() {
    let mut random = Random(7);
    let cases = (0..CASES).map(|_| {
        let old = measured(&mut random, None);
        let new = measured(&mut random, Some(old.value));
        let bound = old.value * (random.unit() - 0.5) * 0.2;
        let with = json!([
            old.value,
            old.standard_error,
            old.samples,
            new.value,
            new.standard_error,
            new.samples,
            bound
        ]);
        (with, means_above(&old, &new, bound))
    });
    agree("means_above", cases.collect());
}

#[test]
fn proportions_against_a_margin_agree_with_another_implementation() {
    let mut random = Random(8);
    let cases = (0..CASES).map(|_| {
        let mut side = || {
            let trials = random.between(1, 20_000);
            (random.between(0, trials), trials)
        };
        let (old, new) = (side(), side());
        let bound = (random.unit() - 0.5) * 0.2;
        (json!([old.0, old.1, new.0, new.1, bound]), proportions_above(old, new, bound))
    });
    agree("proportions_above", cases.collect());
}

#[test]
fn z_from_standard_errors_agrees_with_scipy() {
    let mut random = Random(3);
    let cases = (0..CASES).map(|_| {
        let old = Measured { samples: None, ..measured(&mut random, None) };
        let new = measured(&mut random, Some(old.value));
        let with = json!([old.value, old.standard_error, new.value, new.standard_error]);
        (with, by_standard_errors(&old, &new))
    });
    agree("standard_errors", cases.collect());
}

#[test]
fn mcnemar_agrees_with_scipy() {
    let mut random = Random(4);
    let cases = (0..CASES).map(|number| {
        let most = if number.is_multiple_of(2) { 20 } else { 3_000 };
        let (old_only, new_only) = (random.between(0, most), random.between(1, most));
        (json!([old_only, new_only]), mcnemar(old_only, new_only))
    });
    agree("mcnemar", cases.collect());
}

#[test]
fn the_bootstrap_agrees_with_another_of_the_same_draws() {
    let mut random = Random(5);
    let cases = (0..CASES).map(|_| {
        let count = random.between(2, 12);
        let shift = random.unit() - 0.5;
        // In steps that sum exactly, so that the order of summing does not matter.
        let differences: Vec<f64> =
            (0..count).map(|_| ((random.unit() - 0.5 + shift) * 1024.0).round() / 1024.0).collect();
        (json!([differences]), paired_bootstrap(&differences))
    });
    agree("bootstrap", cases.collect());
}

#[test]
fn holm_agrees_with_another_implementation() {
    let mut random = Random(6);
    let cases: Vec<Vec<f64>> = (0..CASES)
        .map(|_| {
            let count = random.between(1, 20);
            (0..count).map(|_| random.unit().powi(3)).collect()
        })
        .collect();
    let asked: Vec<Value> = cases.iter().map(|p| json!({"what": "holm", "with": p})).collect();
    for (p, theirs) in cases.iter().zip(reference(&asked)) {
        let ours = holm(p);
        assert!(ours.len() == theirs.len());
        assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| close(*ours, *theirs)), "{ours:?} {theirs:?}");
    }
}
