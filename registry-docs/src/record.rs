//! Why this exists: the state of a model says where its versions are, and the log how they came there. A page needs both:
//! "replaced by v3.1.0" and "rolled back to v3.0.0" are two ways to be archived. This is what documents are made of.

use std::sync::Arc;

use registry_core::event::{StageCause, StageChanged};
use registry_core::state::{ProductionSpan, Stamp};
use registry_core::{
    Actor, Commit, Error, Event, ModelName, ModelState, Need, Registry, RegistryExt as _, Revision, Stage,
    Stream, Version, VersionState,
};

/// How many names or commits are read at once.
const PAGE: usize = 512;

/// A move of a version to another stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// When, by whom and why.
    pub stamp: Stamp,
    /// What moved where, and what it rests on.
    pub change: StageChanged,
    /// Whether approval was demanded and bypassed, or gates were, in an emergency.
    pub is_override: bool,
}

/// What a registry knows of a model.
#[derive(Debug, Clone)]
pub struct ModelRecord {
    /// The model.
    pub model: ModelName,
    /// Its state.
    pub state: Arc<ModelState>,
    /// The moves of its versions, oldest first.
    pub moves: Vec<Move>,
}

impl ModelRecord {
    /// What is known from a state and the commits that led to it.
    pub fn new<'a>(
        model: ModelName,
        state: Arc<ModelState>,
        commits: impl IntoIterator<Item = &'a Commit>,
    ) -> Self {
        let mut record = ModelRecord { model, state, moves: Vec::new() };
        for commit in commits {
            record.add(commit);
        }
        record
    }

    fn add(&mut self, commit: &Commit) {
        let is_override = commit
            .events
            .iter()
            .any(|event| matches!(event, Event::ApprovalOverridden { .. } | Event::GatesOverridden { .. }));
        for event in &commit.events {
            let mut stamp = Stamp {
                revision: commit.revision,
                at: commit.time,
                actor: commit.actor.clone(),
                reason: commit.reason.clone(),
            };
            let change = match event {
                Event::StageChanged(change) => change,
                Event::Adopted(adopted) => match &adopted.change {
                    Event::StageChanged(change) => {
                        stamp.actor = adopted.by.as_ref().unwrap_or(&adopted.system).clone();
                        stamp.at = adopted.at.filter(|at| *at < commit.time).unwrap_or(commit.time);
                        change
                    }
                    _ => continue,
                },
                _ => continue,
            };
            self.moves.push(Move { stamp, change: (**change).clone(), is_override });
        }
    }

    /// Its versions, the one registered last first.
    pub(crate) fn versions(&self) -> Vec<&Arc<VersionState>> {
        let mut versions: Vec<_> = self.state.versions().collect();
        versions.sort_by(|a, b| {
            let age = |version: &VersionState| (version.registered.at, version.version.clone());
            age(b).cmp(&age(a))
        });
        versions
    }

    /// The version in production.
    pub(crate) fn production(&self) -> Option<&Arc<VersionState>> {
        self.state.version(self.state.production.as_ref()?)
    }

    /// The last time that a version entered production.
    pub(crate) fn deployed(&self, version: &Version) -> Option<&ProductionSpan> {
        self.state.production_spans().rev().find(|span| span.version == *version)
    }

    /// Why a version is in its stage; none if it never moved.
    pub(crate) fn last_move(&self, version: &Version) -> Option<&Move> {
        self.moves.iter().rev().find(|moved| moved.change.version == *version)
    }
}

impl Move {
    /// Whether it was into production or out of it.
    pub(crate) fn is_deployment(&self) -> bool {
        self.change.from == Stage::Production || self.change.to == Stage::Production
    }

    /// Those who approved it.
    pub(crate) fn approvers(&self) -> Vec<&Actor> {
        match &self.change.cause {
            StageCause::Promotion { approvals, .. } => {
                approvals.iter().map(|approval| &approval.actor).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What a registry knows of a model, or of all of them, in the order of their names. Nothing is written.
pub async fn read(registry: &dyn Registry, only: Option<&ModelName>) -> Result<Vec<ModelRecord>, Error> {
    if let Some(model) = only {
        let state = registry.model(model).await?;
        return Ok(vec![read_model(registry, model, state).await?]);
    }
    let mut records = Vec::new();
    let mut after: Option<ModelName> = None;
    loop {
        let names = registry.models(after.as_ref(), PAGE).await?;
        for name in &names {
            let state = registry.state(&Stream::from(name), &Need::Whole).await?;
            // A name without a commit is a registration that broke off, or that is under way.
            if state.exists() {
                records.push(read_model(registry, name, state).await?);
            }
        }
        match names.last() {
            Some(last) if names.len() == PAGE => after = Some(last.clone()),
            _ => break,
        }
    }
    records.sort_by(|a: &ModelRecord, b| a.model.cmp(&b.model));
    Ok(records)
}

async fn read_model(
    registry: &dyn Registry,
    model: &ModelName,
    state: Arc<ModelState>,
) -> Result<ModelRecord, Error> {
    let mut record = ModelRecord::new(model.clone(), state, []);
    let stream = Stream::from(model);
    let last = record.state.revision();
    let mut next = Revision::FIRST;
    // What is committed after the state was read belongs to the next documents.
    while last.is_some_and(|last| next <= last) {
        let page = registry.history(&stream, next, PAGE).await?;
        let Some(end) = page.last().map(|recorded| recorded.commit.revision) else { break };
        for recorded in page.iter().filter(|recorded| Some(recorded.commit.revision) <= last) {
            record.add(&recorded.commit);
        }
        next = end.next();
    }
    Ok(record)
}
