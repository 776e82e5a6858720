//! Four small models with a story.
//!
//! The data are the 569 tumours of the *Breast Cancer Wisconsin (Diagnostic)* set: thirty measurements of
//! the cell nuclei in an image, and whether the tumour was malignant (label 1) or benign (label 0). They
//! come inside the `smartcore` crate, so nothing is downloaded. Each tumour has ten *mean* measurements,
//! their ten standard errors, and the ten *worst* ones.
//!
//! | function | model | inputs | role in the story |
//! |---|---|---|---|
//! | [`baseline`] | logistic regression | 10 means | the first one in production |
//! | [`improved_same_inputs`] | random forest | 10 means | better, and callers need not change |
//! | [`improved_more_features`] | logistic regression, standardised | all 30 | better still, but callers must send more |
//! | [`careless_retrain`] | random forest | all 30 | smoke-test settings left on: the one to roll back |
//!
//! Nothing is scripted. The careless model is bad because it saw thirty rows, most of them malignant, and
//! not because somebody wrote down a low accuracy. Nor does the story hang on one lucky split: on all eleven
//! that were tried, each improvement was more accurate than the model before it, and the careless model less
//! accurate than the one it would replace.
//!
//! # What is repeatable
//!
//! The split is decided by the content of a row and every forest has a fixed seed, so two trainings give
//! equal bytes and equal quality metrics. Times (`training_seconds`, `latency_*`) are measured, and differ.
//!
//! # What the bytes look like
//!
//! One JSON document, so that a curious reader can open a stored artifact:
//!
//! ```text
//! {"format":"registry-examples/classifier@1","columns":["mean_radius",…],"estimator":{"RandomForest":{…}}}
//! ```
//!
//! ```
//! use registry_examples::training;
//!
//! let model = training::baseline()?;
//! let columns: Vec<&str> = model.features.iter().map(|(name, _)| name.as_str()).collect();
//! let unseen = training::held_out(&columns)?;
//!
//! let diagnoses = training::load_and_predict(&model.bytes, &unseen.rows)?;
//! assert_eq!(diagnoses.len(), unseen.labels.len());
//! # Ok::<(), training::TrainingError>(())
//! ```
//!
//! # Credit
//!
//! Wolberg, W., Mangasarian, O., Street, N. and Street, W. (1993). Breast Cancer Wisconsin (Diagnostic).
//! UCI Machine Learning Repository, <https://doi.org/10.24432/C5DW2B>, CC BY 4.0. For demonstration only:
//! none of these models is fit for medical use.

mod data;
mod estimator;
mod measure;

use std::collections::BTreeMap;

use serde_json::Value;
use smartcore::ensemble::random_forest_regressor::RandomForestRegressorParameters;
use smartcore::linear::logistic_regression::LogisticRegressionParameters;

use data::Table;
use estimator::{Classifier, Recipe};

pub use data::LabelledRows;
pub use measure::Metric;

/// The crate that trained the models, as a registry wants it named.
///
/// Kept equal to `Cargo.lock` by a test.
pub const FRAMEWORK: &str = "smartcore==0.7.0";

/// The type of every input column.
pub const COLUMN_TYPE: &str = "float64";

/// Rounds over the held-out rows when single-row predictions are timed.
const LATENCY_ROUNDS: usize = 5;

/// Rows in the first page of the training data, which is all that [`careless_retrain`] reads.
const FIRST_PAGE_ROWS: usize = 30;

/// What can go wrong while training, storing or using a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The learner gave up.
    #[error("{algorithm} could not be trained: {detail}")]
    Fit {
        /// What was being trained.
        algorithm: &'static str,
        /// The learner's own words.
        detail: String,
    },
    /// A trained model could not score its input.
    #[error("prediction failed: {detail}")]
    Predict {
        /// The model's own words.
        detail: String,
    },
    /// A model or its settings could not be written as JSON.
    #[error("the model cannot be serialised")]
    Encode(#[source] serde_json::Error),
    /// The bytes are not a model of ours.
    #[error("these bytes are not a serialised classifier")]
    Decode(#[source] serde_json::Error),
    /// The bytes are a model in a format this build does not read.
    #[error("the model has format {found:?}; this build reads {expected:?}")]
    Format {
        /// The format named in the bytes.
        found: String,
        /// The format that can be read.
        expected: &'static str,
    },
    /// A row has more or fewer values than the model has input columns.
    #[error("row {row} has {found} values; the model expects {expected}")]
    RowWidth {
        /// Position of the row, from 0.
        row: usize,
        /// Input columns of the model.
        expected: usize,
        /// Values in the row.
        found: usize,
    },
    /// The data set has no such column.
    #[error("the data set has no column {name:?}")]
    UnknownColumn {
        /// The column asked for.
        name: String,
    },
}

/// A trained model and everything a registry wants to know about it.
#[derive(Debug, Clone)]
pub struct TrainedModel {
    /// The learning algorithm, such as `random_forest`.
    pub algorithm: &'static str,
    /// Crate and version that trained the model: [`FRAMEWORK`].
    pub framework: &'static str,
    /// The settings the learner ran with, as the learner itself reports them.
    pub hyperparameters: BTreeMap<String, Value>,
    /// The serialised model; see [`load_and_predict`].
    pub bytes: Vec<u8>,
    /// Rows the model learnt from.
    pub training_rows: usize,
    /// Rows it was measured on, none of which it learnt from.
    pub test_rows: usize,
    /// Input columns with their types, in the order the model expects.
    pub features: Vec<(String, &'static str)>,
    /// What was measured on the held-out rows.
    pub metrics: Vec<Metric>,
    /// Wall-clock time of the training.
    pub training_seconds: f64,
    /// Name and content digest of the data set.
    pub data_version: String,
}

impl TrainedModel {
    /// The value of a metric, if it was measured.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }
}

/// A logistic regression on the ten mean measurements, taken as they are.
///
/// The penalty on large weights hurts the columns with small numbers, so there is room for improvement.
pub fn baseline() -> Result<TrainedModel, TrainingError> {
    let table = Table::load();
    train(&table, logistic(false), table.mean_columns(), usize::MAX)
}

/// A random forest on the columns of [`baseline`]: callers need not change anything.
pub fn improved_same_inputs() -> Result<TrainedModel, TrainingError> {
    let table = Table::load();
    train(&table, forest(50, 4), table.mean_columns(), usize::MAX)
}

/// A logistic regression on all thirty columns, standardised: callers must send the twenty new ones.
pub fn improved_more_features() -> Result<TrainedModel, TrainingError> {
    let table = Table::load();
    train(&table, logistic(true), table.columns(), usize::MAX)
}

/// A random forest for the inputs of [`improved_more_features`], with the settings of a smoke test left on.
///
/// Five trees, and only the first page of the training data, most of which is malignant: the file is not
/// shuffled. The bytes load and the inputs are the same, so nothing but the metrics gives it away. And not
/// all of those: it has the best recall of the four, since it takes many a benign tumour for malignant.
pub fn careless_retrain() -> Result<TrainedModel, TrainingError> {
    let table = Table::load();
    train(&table, forest(5, 6), table.columns(), FIRST_PAGE_ROWS)
}

/// Loads a model from the bytes of [`TrainedModel::bytes`] and labels rows: 1 is malignant, 0 is benign.
///
/// A row holds one value per input column, in the order of [`TrainedModel::features`].
pub fn load_and_predict(bytes: &[u8], rows: &[Vec<f64>]) -> Result<Vec<u32>, TrainingError> {
    Classifier::from_bytes(bytes)?.predict(rows)
}

/// The rows kept back from every training, with the columns asked for and their true labels.
pub fn held_out<S: AsRef<str>>(columns: &[S]) -> Result<LabelledRows, TrainingError> {
    Table::load().held_out(columns)
}

fn logistic(standardise: bool) -> Recipe {
    Recipe::Logistic { settings: LogisticRegressionParameters::default().with_alpha(1.0), standardise }
}

fn forest(trees: usize, columns_per_split: usize) -> Recipe {
    Recipe::Forest(
        RandomForestRegressorParameters::default()
            .with_n_trees(trees)
            .with_m(columns_per_split)
            .with_max_depth(8)
            .with_min_samples_leaf(2)
            .with_seed(7),
    )
}

fn train(
    table: &Table,
    recipe: Recipe,
    columns: &[String],
    rows_max: usize,
) -> Result<TrainedModel, TrainingError> {
    let training = table.training(columns, rows_max)?;
    let unseen = table.held_out(columns)?;
    let algorithm = recipe.algorithm();
    let hyperparameters = recipe.hyperparameters()?;

    let (fitted, elapsed) = measure::timed(|| Classifier::fit(recipe, columns, &training));
    let bytes = fitted?.to_bytes()?;

    // What is measured is what is shipped: the model as it comes back from its bytes.
    let shipped = Classifier::from_bytes(&bytes)?;
    let scores = shipped.scores(&unseen.rows)?;
    let mut metrics = measure::quality(&scores, &unseen.labels);
    metrics.extend(measure::latency(&unseen.rows, LATENCY_ROUNDS, |row| shipped.predict(row))?);

    Ok(TrainedModel {
        algorithm,
        framework: FRAMEWORK,
        hyperparameters,
        bytes,
        training_rows: training.rows.len(),
        test_rows: unseen.rows.len(),
        features: columns.iter().map(|name| (name.clone(), COLUMN_TYPE)).collect(),
        metrics,
        training_seconds: elapsed.as_secs_f64(),
        data_version: table.version().to_owned(),
    })
}

#[cfg(test)]
mod tests;
