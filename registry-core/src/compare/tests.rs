//! What a comparison says, case by case; the statistics themselves are checked against SciPy elsewhere.

use super::significance::{
    Measured, by_standard_errors, holm, mcnemar, means_above, paired_bootstrap, proportions_above,
    two_proportions,
};
use super::*;
use crate::content::Finite;
use crate::event::{Event, Numbering, VersionRegistered};
use crate::features::{Feature, FeatureSchema};
use crate::state::ModelState;
use crate::time::Timestamp;

fn subject(version: &str, content: Content) -> Subject {
    let version: Version = version.parse().unwrap();
    let registered = VersionRegistered {
        version: version.clone(),
        digest: content.digest(),
        content,
        numbering: Numbering::default(),
        origins: Vec::new(),
    };
    let events = [Event::VersionRegistered(Box::new(registered))];
    let state = ModelState::new().overlaid(&events, Timestamp::EPOCH, &"ana".parse().unwrap());
    Subject {
        model: "fraud-detection".parse().unwrap(),
        version: std::sync::Arc::clone(state.version(&version).unwrap()),
    }
}

fn with_metrics(metrics: &[(&str, Metric)]) -> Content {
    let metrics = metrics.iter().map(|(name, metric)| (name.parse().unwrap(), metric.clone()));
    Content { metrics: metrics.collect(), ..Content::default() }
}

fn m(value: f64) -> Metric {
    Metric::new(value).unwrap()
}

fn outcome(old: &[(&str, Metric)], new: &[(&str, Metric)], options: &CompareOptions) -> (Outcome, Verdict) {
    let found = compare(&subject("v1", with_metrics(old)), &subject("v2", with_metrics(new)), options);
    (found.metrics[0].outcome, found.recommendation.verdict)
}

/// The two versions of the document that this project began with.
fn of_the_seed() -> (Subject, Subject) {
    let content = |metrics: [f64; 3], latency: f64, size: u64, features: &[&str], scaled: bool| {
        let mut content = with_metrics(&[
            ("accuracy", m(metrics[0])),
            ("precision", m(metrics[1])),
            ("recall", m(metrics[2])),
        ]);
        content.deployment.latency_p50_ms = Some(Finite::new(latency).unwrap());
        content.deployment.size_bytes = Some(size);
        let feature = |name: &&str| {
            let mut feature = Feature::new(*name);
            if name.starts_with("days") || name.starts_with("amount") {
                feature.transform = Some(if scaled { "scaled" } else { "raw" }.to_owned());
            }
            feature
        };
        content.features =
            Some(FeatureSchema::new(None, None, features.iter().map(feature).collect()).unwrap());
        content
    };
    let old = ["amount_a", "amount_b", "days_since", "obsolete_feature_x"];
    let new = ["amount_a", "amount_b", "days_since", "merchant_reputation_score"];
    (
        subject("v3.0.0", content([0.85, 0.83, 0.60], 40.0, 15_000_000, &old, false)),
        subject("v3.1.0", content([0.87, 0.85, 0.62], 35.0, 12_000_000, &new, true)),
    )
}

#[test]
fn the_comparison_of_the_seed_reads_like_this() {
    let (old, new) = of_the_seed();
    let text = compare(&old, &new, &CompareOptions::default()).to_text();
    let (shown, _) = text.split_once("\nRequired bump").unwrap();
    assert_eq!(
        shown,
        "Comparison: v3.0.0 vs v3.1.0
============================

Metrics:
- Accuracy:  0.85 → 0.87 (+2.4%) ✅
- Precision: 0.83 → 0.85 (+2.4%) ✅
- Recall:    0.6 → 0.62 (+3.3%) ✅

Performance:
- Latency: 40ms → 35ms (-12.5%) ✅
- Size:    15MB → 12MB (-20.0%) ✅

Features:
- Added: merchant_reputation_score
- Removed: obsolete_feature_x
- Modified: amount_a, amount_b, days_since
"
    );
    let conclusion = text.lines().last().unwrap();
    assert!(
        conclusion.starts_with(
            "Recommendation: ✅ v3.1.0 is better (improvement in all metrics; better: latency, size;"
        ),
        "{conclusion}"
    );
}

#[test]
fn a_difference_that_may_be_chance_is_neither_better_nor_worse() {
    let small = |value: f64| [("accuracy", m(value).with_samples(50))];
    let large = |value: f64| [("accuracy", m(value).with_samples(50_000))];
    let options = CompareOptions::default();
    assert_eq!(
        outcome(&small(0.85), &small(0.87), &options),
        (Outcome::NotSignificant, Verdict::Inconclusive)
    );
    assert_eq!(outcome(&large(0.85), &large(0.87), &options), (Outcome::Better, Verdict::Better));
    assert_eq!(outcome(&large(0.87), &large(0.85), &options), (Outcome::Worse, Verdict::Worse));
}

#[test]
fn several_metrics_are_several_chances_to_be_fooled() {
    // Each by itself is significant at 0.05, and none is together.
    let metrics = |value: f64| -> Vec<(String, Metric)> {
        (0..10).map(|number| (format!("accuracy {number}"), m(value).with_samples(1_000))).collect()
    };
    let (old, new) = (metrics(0.80), metrics(0.837));
    let borrowed = |metrics: &[(String, Metric)]| {
        with_metrics(
            &metrics.iter().map(|(name, metric)| (name.as_str(), metric.clone())).collect::<Vec<_>>(),
        )
    };
    let found =
        compare(&subject("v1", borrowed(&old)), &subject("v2", borrowed(&new)), &CompareOptions::default());
    for change in &found.metrics {
        assert!(change.test.unwrap().p < 0.05 && 0.05 < change.p_corrected.unwrap(), "{change:?}");
        assert_eq!(change.outcome, Outcome::NotSignificant);
    }
}

#[test]
fn what_each_example_got_outweighs_counts() {
    let key: Key = "accuracy".parse().unwrap();
    let scores = |old: &[u8], new: &[u8]| {
        let numbers = |bits: &[u8]| bits.iter().map(|bit| f64::from(*bit)).collect();
        let mut options = CompareOptions::default();
        options.scores.insert(key.clone(), Scores { old: numbers(old), new: numbers(new) });
        options
    };
    let metrics = |value: f64| [("accuracy", m(value).with_samples(10))];
    // Ten examples that only the new version gets right.
    let options = scores(&[0; 10], &[1; 10]);
    assert_eq!(outcome(&metrics(0.0), &metrics(1.0), &options).0, Outcome::Better);
    // The same marginals, and half of them the other way round.
    let options = scores(&[1, 0, 1, 0, 1, 0, 1, 0, 1, 0], &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    assert_eq!(outcome(&metrics(0.5), &metrics(0.6), &options).0, Outcome::NotSignificant);
    // Lists of different lengths say nothing.
    let options = scores(&[0; 10], &[1; 9]);
    assert_eq!(outcome(&metrics(0.5), &metrics(0.6), &options).0, Outcome::NotSignificant);
}

#[test]
fn directions_tolerance_and_units() {
    let mut options = CompareOptions::default();
    assert_eq!(outcome(&[("score", m(1.0))], &[("score", m(2.0))], &options).0, Outcome::Unjudged);
    assert_eq!(outcome(&[("loss", m(1.0))], &[("loss", m(0.9))], &options).0, Outcome::Better);
    options.directions.insert("score".parse().unwrap(), Direction::Lower);
    assert_eq!(outcome(&[("score", m(1.0))], &[("score", m(2.0))], &options).0, Outcome::Worse);
    options.tolerance = 0.1;
    assert_eq!(outcome(&[("accuracy", m(1.0))], &[("accuracy", m(0.95))], &options).0, Outcome::Same);
    let unit = |value: f64, unit: &str| Metric { unit: Some(unit.parse().unwrap()), ..m(value) };
    let found = outcome(&[("time", unit(1.0, "s"))], &[("time", unit(900.0, "ms"))], &options).0;
    assert_eq!(found, Outcome::OneSided, "numbers in different units are different numbers");
}

#[test]
fn missing_on_one_side() {
    let options = CompareOptions::default();
    assert_eq!(outcome(&[], &[("accuracy", m(0.9))], &options), (Outcome::OneSided, Verdict::Inconclusive));
    assert_eq!(outcome(&[("accuracy", m(0.9))], &[], &options), (Outcome::OneSided, Verdict::Inconclusive));
    let found = compare(&subject("v1", Content::default()), &subject("v2", Content::default()), &options);
    assert_eq!(found.recommendation.verdict, Verdict::Inconclusive);
    assert!(found.recommendation.reasons.contains(&"nothing was measured".to_owned()));
}

#[test]
fn a_baseline_of_0() {
    let found = compare(
        &subject("v1", with_metrics(&[("accuracy", m(0.0))])),
        &subject("v2", with_metrics(&[("accuracy", m(0.5))])),
        &CompareOptions::default(),
    );
    let change = &found.metrics[0];
    assert_eq!((change.relative, change.absolute, change.outcome), (None, Some(0.5), Outcome::Better));
    assert!(found.to_text().contains("0 → 0.5 (+0.5) ✅"), "{}", found.to_text());
    assert_eq!(
        outcome(&[("accuracy", m(0.0))], &[("accuracy", m(0.0))], &CompareOptions::default()).0,
        Outcome::Same
    );
}

#[test]
fn no_samples_no_test() {
    assert_eq!(two_proportions(0.5, 0, 0.6, 10), None);
    assert_eq!(two_proportions(0.5, 10, 0.6, 0), None);
    assert_eq!(mcnemar(0, 0), None);
    assert_eq!(mcnemar(u64::MAX, 1), None);
    assert_eq!(paired_bootstrap(&[]), None);
    assert_eq!(paired_bootstrap(&[1.0]), None);
    assert_eq!(holm(&[]), Vec::<f64>::new());
}

#[test]
fn what_does_not_scatter_cannot_be_tested() {
    for share in [0.0, 1.0] {
        assert_eq!(two_proportions(share, 10, share, 10), None);
    }
    let exact = |value| Measured { value, samples: Some(10), standard_error: Some(0.0) };
    assert_eq!(by_standard_errors(&exact(1.0), &exact(2.0)), None);
    assert_eq!(paired_bootstrap(&[0.0; 20]), None);
    // One side that scatters is enough.
    let loose = Measured { standard_error: Some(0.1), ..exact(2.0) };
    assert!(by_standard_errors(&exact(1.0), &loose).unwrap().p < 0.001);
    // A count of 1 has no scatter of its own.
    let alone = Measured { samples: Some(1), ..loose };
    assert_eq!(by_standard_errors(&alone, &loose), None);
}

/// The numbers come from SciPy 1.17, `ttest_ind_from_stats(…, equal_var=False, alternative="greater")`, and
/// from statsmodels 0.15, `test_proportions_2indep(…, method="agresti-caffo", alternative="larger")`.
#[test]
fn one_sided_tests_against_a_margin_find_what_others_find() {
    let near = |found: Option<significance::Test>, statistic: f64, p: f64| {
        let found = found.unwrap();
        assert!((found.statistic - statistic).abs() < 1e-9, "{found:?}");
        assert!((found.p - p).abs() < 1e-9, "{found:?}");
    };
    near(proportions_above((200, 20_000), (250, 20_000), -0.005), 7.096575809983615, 6.394290504211286e-13);
    near(proportions_above((10, 50), (20, 60), 0.05), 0.9344538004107427, 0.17503492835401185);
    near(proportions_above((0, 5_000), (0, 5_000), -0.005), 17.686508629531705, 2.6637914180767583e-70);
    let mean =
        |value, error, samples| Measured { value, samples: Some(samples), standard_error: Some(error) };
    let (old, new) = (mean(10.0, 0.1, 50), mean(9.9, 0.2, 80));
    near(means_above(&old, &new, -0.5), 1.7888543819998333, 0.03816908131615283);
    let (old, new) = (mean(1.5, 0.25, 12), mean(2.5, 0.5, 9));
    near(means_above(&old, &new, 0.25), 1.3416407864998738, 0.10231916578419388);
}

#[test]
fn against_a_margin_too_few_samples_are_no_test() {
    let known = |samples| Measured { value: 1.0, samples, standard_error: Some(0.1) };
    assert_eq!(means_above(&known(None), &known(Some(10)), 0.0), None);
    assert_eq!(means_above(&known(Some(1)), &known(Some(10)), 0.0), None);
    assert_eq!(proportions_above((0, 0), (1, 2), 0.0), None);
    assert_eq!(proportions_above((1, 2), (3, 2), 0.0), None, "more successes than trials");
    // Nothing failed anywhere: there is a test all the same, and few samples say little.
    assert!(0.05 < proportions_above((0, 20), (0, 20), -0.01).unwrap().p);
    assert!(proportions_above((0, 20_000), (0, 20_000), -0.01).unwrap().p < 1e-9);
}

#[test]
fn what_is_no_number_cannot_be_tested() {
    let broken = Measured { value: 1.0, samples: Some(10), standard_error: Some(f64::NAN) };
    let sound = Measured { standard_error: Some(0.1), ..broken };
    assert_eq!(by_standard_errors(&broken, &sound), None);
    let negative = Measured { standard_error: Some(-0.1), ..broken };
    assert_eq!(by_standard_errors(&sound, &negative), None);
    assert_eq!(two_proportions(f64::NAN, 10, 0.5, 10), None);
    assert_eq!(two_proportions(1.5, 10, 0.5, 10), None, "no share");
    assert_eq!(paired_bootstrap(&[1.0, f64::NAN]), None);
    assert_eq!(paired_bootstrap(&[1.0, f64::INFINITY]), None);
}

#[test]
fn nothing_from_outside_breaks_a_line_a_table_or_a_page() {
    let mut content = with_metrics(&[("accuracy", m(0.9))]);
    content.metadata.hyperparameters.insert("a\n| b `<script>`".to_owned(), "</pre><script>x".into());
    content.features = Some(FeatureSchema::new(None, None, vec![Feature::new("x | <b>")]).unwrap());
    let found =
        compare(&subject("v1", Content::default()), &subject("v2", content), &CompareOptions::default());
    assert!(!found.to_html().contains("<script>"), "{}", found.to_html());
    let markdown = found.to_markdown();
    assert!(
        markdown.lines().filter(|line| line.starts_with('|')).all(|line| line.ends_with('|')),
        "{markdown}"
    );
    assert!(!found.to_text().contains("a\n|"));
}

#[test]
fn paths_of_findings_lead_to_features() {
    for (path, expected) in [
        ("features.amount", Some("amount")),
        ("features.amount.items", Some("amount")),
        ("features[\"a.b]\"].items", Some("a.b]")),
        ("features", None),
        ("inputs.amount", None),
    ] {
        assert_eq!(feature_of(path).as_deref(), expected, "{path}");
    }
}
