//! Why this exists: the rules for everything that is said about a version without moving it:
//! deprecation, deletion, aliases, tags, descriptions, amendments, and policies.

use std::collections::BTreeMap;

use crate::content::{Deployment, Metadata, Metric, Tags, check_tag_value};
use crate::event::{Amended, Event};
use crate::invalid::Invalid;
use crate::name::{AliasName, Key, Text};
use crate::policy::PolicyChange;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::version::Version;

use super::Rules;

/// The most tags that a model or a version may have.
const TAGS_MAX: usize = 1_000;

impl Rules<'_> {
    pub(super) fn deprecate(
        &self,
        version: &Version,
        superseded_by: Option<&Version>,
        end_of_life: Option<Timestamp>,
    ) -> Result<Vec<Event>, Rejection> {
        let state = self.version(version)?;
        if let Some(successor) = superseded_by {
            self.version(successor)?;
            if successor == version {
                return Err(Invalid::new("successor", successor, "a version cannot supersede itself").into());
            }
        }
        let same = state.deprecated.as_ref().is_some_and(|present| {
            present.superseded_by.as_ref() == superseded_by
                && present.end_of_life == end_of_life
                && present.since.reason.as_ref() == self.context.reason
        });
        if same {
            return Ok(Vec::new());
        }
        Ok(vec![Event::Deprecated {
            version: version.clone(),
            superseded_by: superseded_by.cloned(),
            end_of_life,
        }])
    }

    pub(super) fn lift_deprecation(&self, version: &Version) -> Result<Vec<Event>, Rejection> {
        let state = self.version(version)?;
        Ok(match state.deprecated {
            Some(_) => vec![Event::DeprecationLifted { version: version.clone() }],
            None => Vec::new(),
        })
    }

    pub(super) fn delete(&self, version: &Version) -> Result<Vec<Event>, Rejection> {
        let state = self.any_version(version)?;
        if state.deleted.is_some() {
            return Ok(Vec::new());
        }
        if state.stage == Stage::Production {
            return Err(Rejection::InProduction { version: version.clone() });
        }
        let mut events: Vec<Event> = self.void_requests(version, None).collect();
        events.extend(
            self.state.aliases.iter().filter(|(_, target)| *target == version).map(|(alias, target)| {
                Event::AliasRemoved { alias: alias.clone(), previous: target.clone() }
            }),
        );
        events.push(Event::VersionDeleted { version: version.clone() });
        Ok(events)
    }

    pub(super) fn undelete(&self, version: &Version) -> Result<Vec<Event>, Rejection> {
        let state = self.any_version(version)?;
        Ok(match state.deleted {
            Some(_) => vec![Event::VersionRestored { version: version.clone() }],
            None => Vec::new(),
        })
    }

    pub(super) fn set_alias(&self, alias: &AliasName, version: &Version) -> Result<Vec<Event>, Rejection> {
        self.version(version)?;
        let previous = self.state.aliases.get(alias);
        if previous == Some(version) {
            return Ok(Vec::new());
        }
        Ok(vec![Event::AliasSet {
            alias: alias.clone(),
            version: version.clone(),
            previous: previous.cloned(),
        }])
    }

    pub(super) fn remove_alias(&self, alias: &AliasName) -> Result<Vec<Event>, Rejection> {
        match self.state.aliases.get(alias) {
            None => Err(Rejection::AliasNotFound { alias: alias.clone() }),
            Some(previous) => {
                Ok(vec![Event::AliasRemoved { alias: alias.clone(), previous: previous.clone() }])
            }
        }
    }

    pub(super) fn change_tags(
        &self,
        version: Option<&Version>,
        set: &Tags,
        remove: &[Key],
    ) -> Result<Vec<Event>, Rejection> {
        let present = match version {
            None => &self.state.tags,
            Some(version) => &self.version(version)?.content.tags,
        };
        for (key, value) in set {
            check_tag_value(key, value)?;
            if remove.contains(key) {
                return Err(Invalid::new("tag", key, "is both set and removed").into());
            }
        }
        let set: Tags = set
            .iter()
            .filter(|(key, value)| present.get(key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut removed: Vec<Key> = remove.iter().filter(|key| present.contains_key(key)).cloned().collect();
        removed.sort();
        removed.dedup();
        if TAGS_MAX < present.len() + set.len() {
            return Err(Invalid::new("tags", present.len() + set.len(), format!("at most {TAGS_MAX}")).into());
        }
        if set.is_empty() && removed.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Event::TagsChanged { version: version.cloned(), set, removed }])
    }

    pub(super) fn describe(
        &self,
        version: Option<&Version>,
        description: Option<&Text>,
    ) -> Result<Vec<Event>, Rejection> {
        let present = match version {
            None => self.state.description.as_ref(),
            Some(version) => self.version(version)?.content.description.as_ref(),
        };
        if present == description {
            return Ok(Vec::new());
        }
        Ok(vec![Event::DescriptionChanged { version: version.cloned(), description: description.cloned() }])
    }

    pub(super) fn amend(
        &self,
        version: &Version,
        metadata: &Metadata,
        metrics: &BTreeMap<Key, Metric>,
        deployment: &Deployment,
    ) -> Result<Vec<Event>, Rejection> {
        let state = self.version(version)?;
        let amended = Amended {
            version: version.clone(),
            metadata: metadata.clone(),
            metrics: metrics.clone(),
            deployment: deployment.clone(),
        };
        let mut content = (*state.content).clone();
        content.amend(&amended);
        if content == *state.content {
            return Ok(Vec::new());
        }
        Ok(vec![Event::Amended(Box::new(amended))])
    }

    pub(super) fn change_policy(&self, change: &PolicyChange) -> Vec<Event> {
        let mut policy = (*self.state.policy).clone();
        if policy.change(change) { vec![Event::PolicyChanged { change: change.clone() }] } else { Vec::new() }
    }
}
