//! The data set: its columns, its digest, and the fixed split.

use sha2::{Digest, Sha256};
use smartcore::dataset::{Dataset, breast_cancer};

use super::TrainingError;

const NAME: &str = "breast-cancer-wisconsin-diagnostic";

/// The first ten columns are the means of the measurements.
const MEAN_COLUMNS: usize = 10;

/// Rows whose digest begins with a smaller byte are held out: 102 of 256, so two fifths of them.
const HELD_OUT_BELOW: u8 = 102;

/// Hashed before each row, so that another name gives another split.
///
/// Of splits 0 to 10 this one gives accuracies near the average of all, for each of the four models.
const SPLIT: &[u8] = b"split 5";

/// In the crate's copy of the data, a malignant tumour is class 0.
const MALIGNANT_IN_SOURCE: u32 = 0;

/// Rows of numbers with the label of each.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRows {
    /// One value per column in each row.
    pub rows: Vec<Vec<f64>>,
    /// 1 for malignant, 0 for benign; as many as there are rows.
    pub labels: Vec<u32>,
}

struct Example {
    values: Vec<f64>,
    label: u32,
}

/// The whole data set, split for good.
pub(super) struct Table {
    columns: Vec<String>,
    training: Vec<Example>,
    held_out: Vec<Example>,
    version: String,
}

impl Table {
    /// Reads the data from the crate.
    ///
    /// Whether a row is held out depends on its content only. So it stays on its side of the split when
    /// rows are added or reordered, and two equal rows cannot end up on both sides.
    pub(super) fn load() -> Self {
        let source = breast_cancer::load_dataset();
        let version = format!("{NAME}@sha256:{}", digest(&source));
        let columns = source.feature_names.iter().map(|name| name.replace(' ', "_")).collect();

        let examples = source.data.chunks(source.num_features).zip(&source.target).map(|(values, class)| {
            let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
            Example { values, label: u32::from(*class == MALIGNANT_IN_SOURCE) }
        });
        let (held_out, training) = examples.partition(|example| is_held_out(&example.values));
        Self { columns, training, held_out, version }
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn mean_columns(&self) -> &[String] {
        self.columns.get(..MEAN_COLUMNS).unwrap_or(&self.columns)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The first `rows_max` training rows, with the columns asked for.
    pub(super) fn training<S: AsRef<str>>(
        &self,
        columns: &[S],
        rows_max: usize,
    ) -> Result<LabelledRows, TrainingError> {
        self.select(self.training.iter().take(rows_max), columns)
    }

    /// All held-out rows, with the columns asked for.
    pub(super) fn held_out<S: AsRef<str>>(&self, columns: &[S]) -> Result<LabelledRows, TrainingError> {
        self.select(self.held_out.iter(), columns)
    }

    fn select<'a, S: AsRef<str>>(
        &self,
        examples: impl Iterator<Item = &'a Example>,
        columns: &[S],
    ) -> Result<LabelledRows, TrainingError> {
        let (rows, labels): (Vec<&[f64]>, Vec<u32>) =
            examples.map(|example| (example.values.as_slice(), example.label)).unzip();
        let mut selected = vec![Vec::with_capacity(columns.len()); rows.len()];
        for column in columns {
            let name = column.as_ref();
            let unknown = || TrainingError::UnknownColumn { name: name.to_owned() };
            let position = self.columns.iter().position(|known| known == name).ok_or_else(unknown)?;
            for (row, values) in selected.iter_mut().zip(&rows) {
                row.push(*values.get(position).ok_or_else(unknown)?);
            }
        }
        Ok(LabelledRows { rows: selected, labels })
    }
}

fn is_held_out(values: &[f64]) -> bool {
    let mut hasher = Sha256::new();
    hasher.update(SPLIT);
    for value in values {
        hasher.update(value.to_le_bytes());
    }
    hasher.finalize().first().is_some_and(|byte| *byte < HELD_OUT_BELOW)
}

/// Digest of the column names, all values and all classes, in the order of the file.
fn digest(source: &Dataset<f32, u32>) -> String {
    let mut hasher = Sha256::new();
    for name in &source.feature_names {
        hasher.update(name.as_bytes());
        hasher.update(b"\n");
    }
    for value in &source.data {
        hasher.update(value.to_le_bytes());
    }
    for class in &source.target {
        hasher.update(class.to_le_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_complete_and_two_fifths_are_held_out() {
        let table = Table::load();
        assert_eq!(table.training.len() + table.held_out.len(), 569);
        assert!((200..=256).contains(&table.held_out.len()), "{}", table.held_out.len());
        assert_eq!((table.columns().len(), table.mean_columns().len()), (30, 10));
    }

    #[test]
    fn no_row_is_on_both_sides() {
        let table = Table::load();
        for unseen in &table.held_out {
            assert!(table.training.iter().all(|known| known.values != unseen.values));
        }
    }

    #[test]
    fn malignant_is_the_positive_class() {
        let table = Table::load();
        let malignant: u32 = table.training.iter().chain(&table.held_out).map(|example| example.label).sum();
        assert_eq!(malignant, 212, "the published data have 212 malignant and 357 benign cases");
    }

    #[test]
    fn columns_come_in_the_order_asked_for() {
        let table = Table::load();
        let pair = table.held_out(&["worst_area", "mean_radius"]).unwrap();
        let swapped = table.held_out(&["mean_radius", "worst_area"]).unwrap();
        for (left, right) in pair.rows.iter().zip(&swapped.rows) {
            assert_eq!((left[0], left[1]), (right[1], right[0]));
        }
    }

    #[test]
    fn an_unknown_column_is_named() {
        let error = Table::load().held_out(&["mean_radius", "shoe_size"]).unwrap_err();
        assert_eq!(error.to_string(), "the data set has no column \"shoe_size\"");
    }
}
