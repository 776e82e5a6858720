//! Why this exists: the rules for everything that is said about a version without moving it:
//! deprecation, deletion, aliases, tags, descriptions, amendments, and policies.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::content::{Deployment, Metadata, Metric, Tags, check_tag_value};
use crate::event::{Amended, Event};
use crate::gate::{GATES_MAX, Gate};
use crate::invalid::Invalid;
use crate::lineage::{LINKS_MAX, Link};
use crate::monitor::Rule;
use crate::name::{AliasName, Key, Text};
use crate::policy::{PolicyChange, StageRule};
use crate::rejection::Rejection;
use crate::signature::Signature;
use crate::stage::Stage;
use crate::time::Timestamp;
use crate::version::Version;

use super::Rules;

/// The most tags that a model or a version may have.
pub(super) const TAGS_MAX: usize = 1_000;

/// How deep the JSON values that users keep with a version may be nested. A record is read with
/// a limit to the depth as a whole, and one that cannot be read again would end the log.
const JSON_DEPTH_MAX: usize = 64;

/// Refuses values that could be written but not read.
pub(super) fn check_json(metadata: &Metadata) -> Result<(), Invalid> {
    check_depth("metadata value", metadata.hyperparameters.iter().chain(&metadata.extra))
}

fn check_depth<'a>(
    what: &'static str,
    values: impl IntoIterator<Item = (&'a String, &'a Value)>,
) -> Result<(), Invalid> {
    for (name, value) in values {
        if is_deeper_than(value, JSON_DEPTH_MAX) {
            let problem = format!("is nested more than {JSON_DEPTH_MAX} levels deep");
            return Err(Invalid::new(what, name, problem));
        }
    }
    Ok(())
}

/// Refuses links that could not be read again, or more than a version may have beside those that it has.
pub(super) fn check_links(links: &[Link], present: usize) -> Result<(), Invalid> {
    let count = links.len().saturating_add(present);
    if !links.is_empty() && LINKS_MAX < count {
        return Err(Invalid::new("links", count, format!("a version has at most {LINKS_MAX}")));
    }
    for link in links {
        match link {
            Link::Input { attributes, .. } | Link::Evaluation { attributes, .. } => {
                check_depth("attribute of a link", attributes)?;
            }
            Link::DerivedFrom { .. } => {}
        }
    }
    Ok(())
}

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper_than(item, below)),
        Value::Object(fields) => fields.values().any(|field| is_deeper_than(field, below)),
        _ => false,
    }
}

/// How deep a signature may be nested when it is written: more than its types ever need, so that
/// only the defaults of fields that take anything can exceed it.
const SIGNATURE_DEPTH_MAX: usize = 96;

/// Refuses signatures that could be written but not read.
pub(super) fn check_signature(signature: &Signature) -> Result<(), Invalid> {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in serde_json::to_vec(signature).unwrap_or_default() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if SIGNATURE_DEPTH_MAX < deepest {
        let problem =
            format!("a default is nested so deep that it takes more than {SIGNATURE_DEPTH_MAX} levels");
        return Err(Invalid::new("signature", format!("{deepest} levels"), problem));
    }
    Ok(())
}

/// Refuses rules that nobody could ever fulfil, and gates that demand nothing.
fn check_rule(rule: &StageRule) -> Result<(), Invalid> {
    if GATES_MAX < rule.gates.len() {
        return Err(Invalid::new("gates", rule.gates.len(), format!("at most {GATES_MAX}")));
    }
    rule.gates.iter().try_for_each(Gate::check)?;
    let Some(approval) = &rule.approval else { return Ok(()) };
    let (people, quorum) = (approval.approvers.len(), approval.quorum.get());
    if people != 0 && u32::try_from(people).is_ok_and(|people| people < quorum) {
        let problem = format!("{quorum} must approve, but only {people} may");
        return Err(Invalid::new("approval rule", format!("quorum {quorum}"), problem));
    }
    if approval.expires_after_seconds == Some(0) {
        let problem = "a request would lapse before anybody could approve it";
        return Err(Invalid::new("approval rule", "expiry after 0 s", problem));
    }
    Ok(())
}

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
        Ok(self.hides(version))
    }

    /// The events of a deletion, with all that follows from it.
    pub(super) fn hides(&self, version: &Version) -> Vec<Event> {
        let mut events: Vec<Event> = self.void_requests(version, None).collect();
        events.extend(self.displaced_trials(&[version]));
        events.extend(
            self.state.aliases.iter().filter(|(_, target)| *target == version).map(|(alias, target)| {
                Event::AliasRemoved { alias: alias.clone(), previous: target.clone() }
            }),
        );
        events.push(Event::VersionDeleted { version: version.clone() });
        events
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
        let added = set.keys().filter(|key| !present.contains_key(*key)).count();
        let count = present.len() + added - removed.len();
        if present.len() < count && TAGS_MAX < count {
            return Err(Invalid::new("tags", count, format!("at most {TAGS_MAX}")).into());
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
        links: &[Link],
    ) -> Result<Vec<Event>, Rejection> {
        let state = self.version(version)?;
        check_json(metadata)?;
        check_links(links, state.content.links.len())?;
        let amended = Amended {
            version: version.clone(),
            metadata: metadata.clone(),
            metrics: metrics.clone(),
            deployment: deployment.clone(),
            links: links.iter().filter(|link| !state.content.links.contains(link)).cloned().collect(),
        };
        let mut content = (*state.content).clone();
        content.amend(&amended);
        if content == *state.content {
            return Ok(Vec::new());
        }
        Ok(vec![Event::Amended(Box::new(amended))])
    }

    pub(super) fn change_policy(&self, change: &PolicyChange) -> Result<Vec<Event>, Rejection> {
        if let PolicyChange::StageRule { rule: Some(rule), .. } = change {
            check_rule(rule)?;
        }
        if let PolicyChange::MonitorRule { name, rule: Some(rule) } = change {
            Rule::check_name(name)?;
            rule.check()?;
        }
        let mut policy = (*self.state.policy).clone();
        if !policy.change(change) {
            return Ok(Vec::new());
        }
        Ok(vec![Event::PolicyChanged { change: change.clone() }])
    }
}
