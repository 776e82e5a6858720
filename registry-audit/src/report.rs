//! Why this exists: what an audit report is: the tables, in their order, for the whole registry and for each model. How it
//! comes about is in `fold.rs`, and how it is shown in `render/`.

use registry_core::{Key, ModelName, Text, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::range::{AuditOptions, Range};
use crate::row::{Cell, Table, list_schema, object_schema};
use crate::rows::{
    Approval, Checked, DataSource, Decided, Deleted, Deployment, Exception, Flaw, GateFound, Health,
    Inventory, Overview, PolicyChanged, Population, Request, RolledBack, Stated, TrialRun,
};

/// The form of the report as JSON. It rises with every change of a schema that was released.
pub const AUDIT_REPORT_FORMAT: u64 = 1;

/// What the record of a registry, or of one model, says about a stretch of time. See [`audit`](crate::audit()).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// [`AUDIT_REPORT_FORMAT`].
    pub format: u64,
    /// When it was made.
    pub as_of: Timestamp,
    /// The model that it is about; none if it is about the whole registry.
    pub scope: Option<ModelName>,
    /// The stretch of time that it is about.
    pub range: Range,
    /// Whether nothing is wrong with what was read.
    pub is_sound: bool,
    /// Whether the bytes were read, too.
    pub with_bytes: bool,
    /// How many commits were read.
    pub commits: u64,
    /// The time of the oldest commit that is kept.
    pub oldest_commit: Option<Timestamp>,
    /// How many whole days lie between that commit and the making of the report.
    pub days_kept: u64,
    /// The models.
    pub overview: Vec<Overview>,
    /// Whether the population is complete.
    pub population: Vec<Population>,
    /// What is wrong with logs and bytes.
    pub flaws: Vec<Flaw>,
    /// How the rules for all models changed.
    pub policy_changes: Vec<PolicyChanged>,
    /// Each model, in the order of the names.
    pub models: Vec<ModelReport>,
}

/// What the record says of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModelReport {
    /// The model.
    pub model: ModelName,
    /// What it is.
    pub description: Option<Text>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its versions.
    pub versions: Vec<Inventory>,
    /// What was in production.
    pub deployments: Vec<Deployment>,
    /// Who approved that.
    pub approvals: Vec<Approval>,
    /// What the gates found.
    pub gates: Vec<GateFound>,
    /// What should be on record of each deployment.
    pub checkpoints: Vec<Checked>,
    /// What is out of the ordinary.
    pub exceptions: Vec<Exception>,
    /// Requests for promotion.
    pub requests: Vec<Request>,
    /// What people did about them.
    pub decisions: Vec<Decided>,
    /// Trials.
    pub trials: Vec<TrialRun>,
    /// Rollbacks.
    pub rollbacks: Vec<RolledBack>,
    /// How the rules of the model changed.
    pub policy_changes: Vec<PolicyChanged>,
    /// What was stated of the versions.
    pub metrics: Vec<Stated>,
    /// What was observed.
    pub health: Vec<Health>,
    /// What the versions were made with.
    pub data_sources: Vec<DataSource>,
    /// Deleted versions.
    pub deleted: Vec<Deleted>,
}

impl AuditReport {
    /// The tables about the registry as a whole.
    pub fn tables(&self) -> Vec<Table> {
        vec![
            Table::of(&self.overview),
            Table::of(&self.population),
            Table::of(&self.flaws),
            Table::of(&self.policy_changes),
        ]
    }

    /// How many commits lie behind the end of the range, in all logs together: see [`Population::commits_after`].
    pub fn commits_after(&self) -> u64 {
        self.population.iter().fold(0_u64, |sum, row| sum.saturating_add(row.commits_after))
    }

    /// The report for programs, as `docs/schemas/audit-report.schema.json` describes it. The same report gives the same
    /// bytes.
    pub fn to_json(&self) -> String {
        // Everything in a report has a form in JSON; there is no map with other keys than text.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The schema of [`AuditReport::to_json`], made from the same definitions as the report.
    pub fn schema() -> Value {
        let mut schema = object_schema(
            "An audit report of a model registry.",
            [
                ("format", "The form of the report.", json!({ "const": AUDIT_REPORT_FORMAT })),
                ("as_of", "When it was made.", Timestamp::schema()),
                (
                    "scope",
                    "The model that it is about; null for the whole registry.",
                    AuditOptions::scope_schema(),
                ),
                ("range", "The stretch of time.", Range::schema()),
                ("is_sound", "Whether nothing is wrong with what was read.", bool::schema()),
                ("with_bytes", "Whether the bytes were read, too.", bool::schema()),
                ("commits", "How many commits were read.", u64::schema()),
                ("oldest_commit", "The time of the oldest commit.", Option::<Timestamp>::schema()),
                ("days_kept", "How many whole days the record covers.", u64::schema()),
                ("overview", "The models.", list_schema::<Overview>()),
                ("population", "Whether the population is complete.", list_schema::<Population>()),
                ("flaws", "What is wrong with logs and bytes.", list_schema::<Flaw>()),
                ("policy_changes", "How the rules for all models changed.", list_schema::<PolicyChanged>()),
                ("models", "Each model.", json!({ "type": "array", "items": ModelReport::schema() })),
            ],
        );
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
            schema.insert("title".to_owned(), "Audit report".into());
        }
        schema
    }
}

impl ModelReport {
    /// The tables about the model.
    pub fn tables(&self) -> Vec<Table> {
        vec![
            Table::of(&self.versions),
            Table::of(&self.deployments),
            Table::of(&self.approvals),
            Table::of(&self.gates),
            Table::of(&self.checkpoints),
            Table::of(&self.exceptions),
            Table::of(&self.requests),
            Table::of(&self.decisions),
            Table::of(&self.trials),
            Table::of(&self.rollbacks),
            Table::of(&self.policy_changes),
            Table::of(&self.metrics),
            Table::of(&self.health),
            Table::of(&self.data_sources),
            Table::of(&self.deleted),
        ]
    }

    fn schema() -> Value {
        object_schema(
            "What the record says of one model.",
            [
                ("model", "The model.", ModelName::schema()),
                ("description", "What it is.", Option::<Text>::schema()),
                ("tags", "Its tags.", Vec::<String>::schema()),
                ("versions", "Its versions.", list_schema::<Inventory>()),
                ("deployments", "What was in production.", list_schema::<Deployment>()),
                ("approvals", "Who approved that.", list_schema::<Approval>()),
                ("gates", "What the gates found.", list_schema::<GateFound>()),
                ("checkpoints", "What should be on record.", list_schema::<Checked>()),
                ("exceptions", "What is out of the ordinary.", list_schema::<Exception>()),
                ("requests", "Requests for promotion.", list_schema::<Request>()),
                ("decisions", "What people did about them.", list_schema::<Decided>()),
                ("trials", "Trials.", list_schema::<TrialRun>()),
                ("rollbacks", "Rollbacks.", list_schema::<RolledBack>()),
                ("policy_changes", "How its rules changed.", list_schema::<PolicyChanged>()),
                ("metrics", "What was stated of the versions.", list_schema::<Stated>()),
                ("health", "What was observed.", list_schema::<Health>()),
                ("data_sources", "What they were made with.", list_schema::<DataSource>()),
                ("deleted", "Deleted versions.", list_schema::<Deleted>()),
            ],
        )
    }
}

/// `1 flaw`, `3 flaws`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// `team=risk`, or `fraud` where there is no value.
pub(crate) fn tag((key, value): (&Key, &String)) -> String {
    if value.is_empty() { key.to_string() } else { format!("{key}={value}") }
}
