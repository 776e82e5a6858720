//! The models: how each is fitted, written to bytes, read back and asked.
//!
//! The forest is smartcore's *regression* forest on the labels 0 and 1. Each leaf then holds the share of
//! malignant cases, and the mean over the trees is a probability. The classification forest of smartcore
//! 0.7 only votes, so it could give no score, and without scores there is no ROC curve. The splits are the
//! same: for two classes, half the Gini impurity is the variance that the regression forest minimises.
//!
//! Of the logistic regression only the weights and the intercept are kept. smartcore offers its labels but
//! no scores, and the score is one line. If it was trained on standardised inputs, the standardisation is
//! folded into the weights: a caller sends the same plain measurements to every model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

use super::{LabelledRows, TrainingError};

const FORMAT: &str = "registry-examples/classifier@1";

/// A score from here on is read as malignant.
pub(super) const THRESHOLD: f64 = 0.5;

type Matrix = DenseMatrix<f64>;
type Logistic = LogisticRegression<f64, u32, Matrix, Vec<u32>>;
type Forest = RandomForestRegressor<f64, f64, Matrix, Vec<f64>>;

/// What to train, and with which settings.
pub(super) enum Recipe {
    Logistic { settings: LogisticRegressionParameters<f64>, standardise: bool },
    Forest(RandomForestRegressorParameters),
}

impl Recipe {
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Logistic { .. } => "logistic_regression",
            Self::Forest(_) => "random_forest",
        }
    }

    pub(super) fn hyperparameters(&self) -> Result<BTreeMap<String, Value>, TrainingError> {
        let all = match self {
            Self::Logistic { settings, .. } => serde_json::to_value(settings),
            Self::Forest(settings) => serde_json::to_value(settings),
        };
        let mut all: BTreeMap<String, Value> =
            all.and_then(serde_json::from_value).map_err(TrainingError::Encode)?;
        if let Self::Logistic { standardise, .. } = self {
            all.insert("standardise".to_owned(), Value::Bool(*standardise));
        }
        Ok(all)
    }
}

#[derive(Serialize, Deserialize)]
enum Estimator {
    LogisticRegression { weights: Vec<f64>, intercept: f64 },
    RandomForest(Forest),
}

/// A fitted model with the names of its inputs.
#[derive(Serialize, Deserialize)]
pub(super) struct Classifier {
    format: String,
    columns: Vec<String>,
    estimator: Estimator,
}

/// The part of the document that says whether the rest can be read.
#[derive(Deserialize)]
struct Header {
    format: String,
}

impl Classifier {
    pub(super) fn fit(
        recipe: Recipe,
        columns: &[String],
        training: &LabelledRows,
    ) -> Result<Self, TrainingError> {
        let algorithm = recipe.algorithm();
        let failed =
            |error: smartcore::error::Failed| TrainingError::Fit { algorithm, detail: error.to_string() };
        let estimator = match recipe {
            Recipe::Logistic { settings, standardise } => {
                let scales = if standardise { scales(training) } else { Vec::new() };
                let inputs = matrix(&standardised(&training.rows, &scales)).map_err(failed)?;
                let model = Logistic::fit(&inputs, &training.labels, settings).map_err(failed)?;
                let mut weights: Vec<f64> = model.coefficients().iterator(0).copied().collect();
                let mut intercept: f64 = model.intercept().iterator(0).sum();
                for (weight, scale) in weights.iter_mut().zip(&scales) {
                    *weight /= scale.deviation;
                    intercept -= *weight * scale.mean;
                }
                Estimator::LogisticRegression { weights, intercept }
            }
            Recipe::Forest(settings) => {
                let inputs = matrix(&training.rows).map_err(failed)?;
                let shares: Vec<f64> = training.labels.iter().copied().map(f64::from).collect();
                Forest::fit(&inputs, &shares, settings).map(Estimator::RandomForest).map_err(failed)?
            }
        };
        Ok(Self { format: FORMAT.to_owned(), columns: columns.to_vec(), estimator })
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, TrainingError> {
        serde_json::to_vec(self).map_err(TrainingError::Encode)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, TrainingError> {
        let header: Header = serde_json::from_slice(bytes).map_err(TrainingError::Decode)?;
        if header.format != FORMAT {
            return Err(TrainingError::Format { found: header.format, expected: FORMAT });
        }
        serde_json::from_slice(bytes).map_err(TrainingError::Decode)
    }

    pub(super) fn predict(&self, rows: &[Vec<f64>]) -> Result<Vec<u32>, TrainingError> {
        let scores = self.scores(rows)?;
        Ok(scores.into_iter().map(|score| u32::from(THRESHOLD <= score)).collect())
    }

    /// For each row, how probable the model holds it that the tumour is malignant.
    pub(super) fn scores(&self, rows: &[Vec<f64>]) -> Result<Vec<f64>, TrainingError> {
        let expected = self.columns.len();
        if let Some((row, values)) = rows.iter().enumerate().find(|(_, values)| values.len() != expected) {
            return Err(TrainingError::RowWidth { row, expected, found: values.len() });
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match &self.estimator {
            Estimator::LogisticRegression { weights, intercept } => {
                Ok(rows.iter().map(|row| sigmoid(intercept + dot(weights, row))).collect())
            }
            Estimator::RandomForest(model) => {
                let failed =
                    |error: smartcore::error::Failed| TrainingError::Predict { detail: error.to_string() };
                let inputs = matrix(rows).map_err(failed)?;
                model.predict(&inputs).map_err(failed)
            }
        }
    }
}

fn matrix(rows: &[Vec<f64>]) -> Result<Matrix, smartcore::error::Failed> {
    let width = rows.first().map_or(0, Vec::len);
    Matrix::new(rows.len(), width, rows.concat(), false)
}

/// Where the values of one column lie.
struct Scale {
    mean: f64,
    deviation: f64,
}

fn scales(training: &LabelledRows) -> Vec<Scale> {
    let width = training.rows.first().map_or(0, Vec::len);
    let count = training.rows.len() as f64;
    let column = |position: usize| training.rows.iter().filter_map(move |row| row.as_slice().get(position));
    (0..width)
        .map(|position| {
            let mean = column(position).sum::<f64>() / count;
            let variance = column(position).map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            // A constant column says nothing; any divisor but zero will do.
            Scale { mean, deviation: if 0.0 < variance { variance.sqrt() } else { 1.0 } }
        })
        .collect()
}

/// The rows with every column moved to mean 0 and deviation 1; unchanged if there are no scales.
fn standardised(rows: &[Vec<f64>], scales: &[Scale]) -> Vec<Vec<f64>> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        for (value, scale) in row.iter_mut().zip(scales) {
            *value = (*value - scale.mean) / scale.deviation;
        }
    }
    rows
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<String> {
        ["size", "constant"].map(str::to_owned).to_vec()
    }

    #[test]
    fn standardisation_is_folded_into_the_weights() {
        let sizes = [1000.0, 1100.0, 1200.0, 1800.0, 1900.0, 2100.0];
        let plain =
            LabelledRows { rows: sizes.map(|size| vec![size, 3.0]).to_vec(), labels: vec![0, 0, 0, 1, 1, 1] };
        let scaled =
            LabelledRows { rows: standardised(&plain.rows, &scales(&plain)), labels: plain.labels.clone() };
        let fit = |standardise: bool, training: &LabelledRows| {
            let settings = LogisticRegressionParameters::default().with_alpha(1.0);
            Classifier::fit(Recipe::Logistic { settings, standardise }, &columns(), training).unwrap()
        };

        let folded = fit(true, &plain).scores(&plain.rows).unwrap();
        let by_hand = fit(false, &scaled).scores(&scaled.rows).unwrap();

        for (left, right) in folded.iter().zip(&by_hand) {
            assert!((left - right).abs() < 1e-9, "{left} {right}");
        }
        assert_eq!(
            folded.iter().map(|score| u32::from(THRESHOLD <= *score)).collect::<Vec<_>>(),
            plain.labels
        );
    }

    #[test]
    fn training_on_nothing_is_an_error() {
        let nothing = LabelledRows { rows: Vec::new(), labels: Vec::new() };
        let settings = LogisticRegressionParameters::default();
        let recipe = Recipe::Logistic { settings, standardise: true };
        let outcome = Classifier::fit(recipe, &columns(), &nothing).map(|_| ());
        assert!(matches!(outcome, Err(TrainingError::Fit { algorithm: "logistic_regression", .. })));
    }
}
