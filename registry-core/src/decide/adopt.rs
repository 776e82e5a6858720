//! Why this exists: what others did past the registry is a fact that no rule can refuse. Here it gets its
//! meaning: the events that take it into the record, so that what holds of every state (one version in
//! production at most, no alias on a deleted version) holds of this one too.

use crate::event::{Adopted, Event, FilesFound, Numbering, StageCause, StageChanged, VersionRegistered};
use crate::mirror::{Adoption, Foreign, ForeignChange};
use crate::policy::Effective;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::ModelState;
use crate::version::Version;

use super::registration::check;
use super::{Context, Rules};

/// Each change is looked at in the state that the changes before it lead to.
pub(super) fn adopt(
    state: &ModelState,
    adoption: &Adoption,
    context: &Context<'_>,
) -> Result<Vec<Event>, Rejection> {
    // What others did is a fact; what it changes depends on what it is compared with.
    if adoption.revision() != state.revision() {
        let (found_at, actual) = (adoption.revision(), state.revision());
        return Err(Rejection::StaleAdoption { found_at, actual });
    }
    let mut state = state.clone();
    let mut events = Vec::new();
    for Foreign { by, at, change } in adoption.changes() {
        let policy = Effective { model: &state.policy, registry: context.registry };
        // What the registry cannot hold stays a difference; it must not hide all else.
        let Ok(meant) = (Rules { state: &state, context, policy }).foreign(change) else { continue };
        let adopted = meant.into_iter().map(|change| {
            let (system, by) = (adoption.system().clone(), by.clone());
            Event::Adopted(Box::new(Adopted { system, by, at: *at, change }))
        });
        let adopted: Vec<Event> = adopted.collect();
        state = state.overlaid(&adopted, context.now, adoption.system());
        events.extend(adopted);
    }
    Ok(events)
}

impl Rules<'_> {
    /// A version that is deleted here, and that others use there, is not deleted any more.
    fn used_again(&self, version: &Version) -> Vec<Event> {
        let is_deleted = self.state.version(version).is_some_and(|found| found.deleted.is_some());
        is_deleted.then(|| Event::VersionRestored { version: version.clone() }).into_iter().collect()
    }

    /// What a change means; nothing if it is so already, or if what it was done to is not there.
    fn foreign(&self, change: &ForeignChange) -> Result<Vec<Event>, Rejection> {
        let visible = |version: &Version| self.version(version).is_ok();
        match change {
            ForeignChange::Registered { version, content } => {
                if self.state.version(version).is_some() {
                    return Ok(Vec::new());
                }
                check(content)?;
                Ok(vec![Event::VersionRegistered(Box::new(VersionRegistered {
                    version: version.clone(),
                    digest: content.digest(),
                    content: (**content).clone(),
                    numbering: Numbering::default(),
                    origins: Vec::new(),
                }))])
            }
            ForeignChange::FilesFound { version, artifacts } => {
                let state = self.any_version(version)?;
                if state.content.artifacts == *artifacts {
                    return Ok(Vec::new());
                }
                let mut content = (*state.content).clone();
                content.artifacts = artifacts.clone();
                // What was asked for is no longer what would be approved.
                let mut events: Vec<Event> = self.void_requests(version, None).collect();
                events.extend(self.displaced_trials(&[version]));
                events.push(Event::FilesFound(Box::new(FilesFound {
                    version: version.clone(),
                    digest: content.digest(),
                    artifacts: artifacts.clone(),
                })));
                Ok(events)
            }
            ForeignChange::Staged { version, to } => {
                let Ok(state) = self.any_version(version) else { return Ok(Vec::new()) };
                let mut events = self.used_again(version);
                if state.stage != *to {
                    events.extend(self.moves(
                        version,
                        &state.content,
                        (state.stage, *to),
                        StageCause::Foreign,
                        Vec::new(),
                    ));
                }
                Ok(events)
            }
            ForeignChange::Deleted { version } => {
                let Ok(state) = self.version(version) else { return Ok(Vec::new()) };
                let mut events = Vec::new();
                if state.stage == Stage::Production {
                    events.push(Event::StageChanged(Box::new(StageChanged {
                        version: version.clone(),
                        from: Stage::Production,
                        to: Stage::Archived,
                        cause: StageCause::Foreign,
                        rollback_safety: None,
                        gates: Vec::new(),
                    })));
                }
                events.extend(self.hides(version));
                Ok(events)
            }
            ForeignChange::AliasSet { alias, version } if self.state.version(version).is_some() => {
                let mut events = self.used_again(version);
                if self.state.aliases.get(alias) != Some(version) {
                    let previous = self.state.aliases.get(alias).cloned();
                    events.push(Event::AliasSet { alias: alias.clone(), version: version.clone(), previous });
                }
                Ok(events)
            }
            ForeignChange::AliasRemoved { alias } if self.state.aliases.contains_key(alias) => {
                self.remove_alias(alias)
            }
            ForeignChange::Tagged { version, set, removed } if version.as_ref().is_none_or(visible) => {
                self.change_tags(version.as_ref(), set, removed)
            }
            ForeignChange::Described { version, description } if version.as_ref().is_none_or(visible) => {
                self.describe(version.as_ref(), description.as_ref())
            }
            ForeignChange::Amended { version, metadata, metrics } if visible(version) => {
                self.amend(version, metadata, metrics, &Default::default(), &[])
            }
            ForeignChange::AliasSet { .. }
            | ForeignChange::AliasRemoved { .. }
            | ForeignChange::Tagged { .. }
            | ForeignChange::Described { .. }
            | ForeignChange::Amended { .. } => Ok(Vec::new()),
        }
    }
}
