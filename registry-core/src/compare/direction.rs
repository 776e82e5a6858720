//! Why this exists: whether 0.35 → 0.31 is good news depends on what was measured. Who registers a version may say so;
//! mostly the name tells. What it does not tell is left open, and not judged.

use crate::content::{Direction, Metric};
use crate::name::Key;

/// Words of names of which less is better. They outweigh the others: `loss_auc` is a loss.
const LOWER: [&str; 43] = [
    "brier",
    "bytes",
    "cer",
    "cost",
    "cpu",
    "deviance",
    "duration",
    "ece",
    "err",
    "error",
    "errors",
    "fdr",
    "fnr",
    "fpr",
    "hamming",
    "hinge",
    "impurity",
    "latency",
    "logloss",
    "loss",
    "mad",
    "mae",
    "mape",
    "memory",
    "mfe",
    "misses",
    "mse",
    "msle",
    "nll",
    "perplexity",
    "ppl",
    "rmse",
    "rmsle",
    "seconds",
    "size",
    "smape",
    "time",
    "timeouts",
    "violations",
    "wape",
    "wer",
    "wrong",
    "ms",
];
/// Words of names of which more is better.
const HIGHER: [&str; 33] = [
    "acc",
    "accuracy",
    "ap",
    "auc",
    "auprc",
    "auroc",
    "bleu",
    "coverage",
    "dice",
    "f1",
    "f2",
    "gini",
    "hits",
    "iou",
    "kappa",
    "lift",
    "map",
    "mcc",
    "meteor",
    "mrr",
    "ndcg",
    "npv",
    "ppv",
    "precision",
    "profit",
    "psnr",
    "r2",
    "recall",
    "rouge",
    "sensitivity",
    "specificity",
    "ssim",
    "throughput",
];
/// Two words that mean something else together than apart.
const PAIRS: [(&str, &str, Direction); 8] = [
    ("false", "positive", Direction::Lower),
    ("false", "positives", Direction::Lower),
    ("false", "negative", Direction::Lower),
    ("false", "negatives", Direction::Lower),
    ("true", "positive", Direction::Higher),
    ("true", "negative", Direction::Higher),
    ("f1", "score", Direction::Higher),
    ("likelihood", "negative", Direction::Lower),
];

/// Which way is better, by what is said of the metric or else by its name; none if neither tells.
pub fn direction_of(name: &Key, metric: &Metric) -> Option<Direction> {
    metric.direction.or_else(|| direction_of_name(name.as_str()))
}

/// Which way is better, by the name alone.
pub fn direction_of_name(name: &str) -> Option<Direction> {
    let lower = name.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find_map(|pair| {
        let (first, second) = (pair.first()?, pair.get(1)?);
        let known = PAIRS
            .iter()
            .find(|(one, two, _)| (one == first && two == second) || (one == second && two == first))?;
        Some(known.2)
    });
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    pair.or_else(|| has(&LOWER).then_some(Direction::Lower))
        .or_else(|| has(&HIGHER).then_some(Direction::Higher))
}

/// Words of names that are shares of the samples they were counted on.
const SHARES: [&str; 16] = [
    "acc",
    "accuracy",
    "coverage",
    "ctr",
    "fdr",
    "fnr",
    "fpr",
    "npv",
    "ppv",
    "precision",
    "rate",
    "recall",
    "sensitivity",
    "share",
    "specificity",
    "tpr",
];
/// Words that make something else of them: an area or a mean is no share.
const NO_SHARES: [&str; 7] = ["area", "auc", "average", "balanced", "macro", "mean", "weighted"];

/// Whether a metric is a share of the samples that it was computed from, by its name, so that the number of
/// samples alone says how much it scatters.
pub fn is_share(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has = |known: &[&str]| lower.split(|c: char| !c.is_alphanumeric()).any(|word| known.contains(&word));
    has(&SHARES) && !has(&NO_SHARES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_way_is_better_and_some_do_not() {
        for (name, expected) in [
            ("accuracy", Some(Direction::Higher)),
            ("val/Accuracy", Some(Direction::Higher)),
            ("roc_auc", Some(Direction::Higher)),
            ("f1_score", Some(Direction::Higher)),
            ("log_loss", Some(Direction::Lower)),
            ("test.rmse", Some(Direction::Lower)),
            ("latency_p95_ms", Some(Direction::Lower)),
            ("false_positive_rate", Some(Direction::Lower)),
            ("true_positive_rate", Some(Direction::Higher)),
            ("error rate", Some(Direction::Lower)),
            ("loss_auc", Some(Direction::Lower)),
            ("model size", Some(Direction::Lower)),
            ("temperature", None),
            ("lossless", None),
            ("score", None),
            ("", None),
        ] {
            assert_eq!(direction_of_name(name), expected, "{name}");
        }
    }

    #[test]
    fn shares_are_told_from_other_numbers_between_0_and_1() {
        for share in ["accuracy", "val/recall", "false_positive_rate", "error rate"] {
            assert!(is_share(share), "{share}");
        }
        for other in ["roc_auc", "f1_score", "log_loss", "balanced accuracy", "precision_macro", "brier"] {
            assert!(!is_share(other), "{other}");
        }
    }

    #[test]
    fn what_is_said_outweighs_the_name() {
        let metric = Metric::new(1.0).unwrap().with_direction(Direction::Higher);
        assert_eq!(direction_of(&"loss".parse().unwrap(), &metric), Some(Direction::Higher));
    }
}
