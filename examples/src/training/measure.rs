//! The measurements: quality on rows the model has not seen, and time.

use std::time::{Duration, Instant};

use super::estimator::THRESHOLD;

/// One measured number.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// `accuracy`, `precision`, `recall`, `f1`, `roc_auc`, `latency_p50_ms` or `latency_p95_ms`.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// How many predictions the value rests on.
    pub samples: usize,
}

/// Accuracy, precision, recall, F1 and the area under the ROC curve; malignant is the positive class.
///
/// A metric that has no value (the precision of a model that never said "malignant") is left out.
pub(super) fn quality(scores: &[f64], labels: &[u32]) -> Vec<Metric> {
    let (mut hits, mut false_alarms, mut misses, mut passes) = (0_usize, 0_usize, 0_usize, 0_usize);
    for (score, label) in scores.iter().zip(labels) {
        match (THRESHOLD <= *score, *label == 1) {
            (true, true) => hits += 1,
            (true, false) => false_alarms += 1,
            (false, true) => misses += 1,
            (false, false) => passes += 1,
        }
    }
    let samples = hits + false_alarms + misses + passes;
    [
        ("accuracy", ratio(hits + passes, samples)),
        ("precision", ratio(hits, hits + false_alarms)),
        ("recall", ratio(hits, hits + misses)),
        ("f1", ratio(2 * hits, 2 * hits + false_alarms + misses)),
        ("roc_auc", roc_auc(scores, labels)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(Metric { name, value: value?, samples }))
    .collect()
}

/// The median and the 95th percentile of the time one row takes, in milliseconds.
///
/// A first round over the rows warms the caches and is thrown away.
pub(super) fn latency<T, E>(
    rows: &[Vec<f64>],
    rounds: usize,
    predict: impl Fn(&[Vec<f64>]) -> Result<T, E>,
) -> Result<Vec<Metric>, E> {
    for row in rows.chunks(1) {
        std::hint::black_box(predict(row)?);
    }
    let mut times_ms = Vec::with_capacity(rows.len() * rounds);
    for _ in 0..rounds {
        for row in rows.chunks(1) {
            let (prediction, elapsed) = timed(|| predict(row));
            std::hint::black_box(prediction?);
            times_ms.push(elapsed.as_secs_f64() * 1_000.0);
        }
    }
    times_ms.sort_by(f64::total_cmp);
    let samples = times_ms.len();
    Ok([("latency_p50_ms", 50), ("latency_p95_ms", 95)]
        .into_iter()
        .filter_map(|(name, percent)| Some(Metric { name, value: percentile(&times_ms, percent)?, samples }))
        .collect())
}

/// Runs `work` and says how long it took.
#[expect(clippy::disallowed_methods, reason = "this is the measurement itself; nothing is decided by it")]
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The chance that a malignant case scores higher than a benign one; a tie counts half.
fn roc_auc(scores: &[f64], labels: &[u32]) -> Option<f64> {
    let of_class = |class: u32| scores.iter().zip(labels).filter(move |(_, label)| **label == class);
    let (mut half_wins, mut pairs) = (0_usize, 0_usize);
    for (malignant, _) in of_class(1) {
        for (benign, _) in of_class(0) {
            pairs += 1;
            half_wins += match malignant.total_cmp(benign) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => 1,
                std::cmp::Ordering::Greater => 2,
            };
        }
    }
    ratio(half_wins, 2 * pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(metrics: &[Metric], name: &str) -> Option<f64> {
        metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }

    #[test]
    fn quality_by_hand() {
        // Said malignant: 0.9 and 0.6 rightly, 0.5 wrongly. Said benign: 0.4 wrongly, 0.1 rightly.
        let metrics = quality(&[0.9, 0.6, 0.5, 0.4, 0.1], &[1, 1, 0, 1, 0]);
        assert_eq!(value(&metrics, "accuracy"), Some(3.0 / 5.0));
        assert_eq!(value(&metrics, "precision"), Some(2.0 / 3.0));
        assert_eq!(value(&metrics, "recall"), Some(2.0 / 3.0));
        assert_eq!(value(&metrics, "f1"), Some(4.0 / 6.0));
        assert_eq!(value(&metrics, "roc_auc"), Some(5.0 / 6.0));
        assert!(metrics.iter().all(|metric| metric.samples == 5));
    }

    #[test]
    fn a_tie_counts_half() {
        assert_eq!(roc_auc(&[0.5, 0.5], &[1, 0]), Some(0.5));
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let metrics = quality(&[0.1, 0.2], &[0, 0]);
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name).collect();
        assert_eq!(names, ["accuracy"]);
        assert_eq!(quality(&[], &[]), []);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let sorted: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 50), Some(10.0));
        assert_eq!(percentile(&sorted, 95), Some(19.0));
        assert_eq!(percentile(&[3.0], 95), Some(3.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
