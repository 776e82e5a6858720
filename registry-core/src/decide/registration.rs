//! Why this exists: the rules of registration. Which number a new version may bear is decided here,
//! from what changed, by the table and the algorithm described in [`crate::compat`].

use crate::command::VersionChoice;
use crate::compat::{self, ExplicitCheck, Finding};
use crate::content::{Content, check_tag_value};
use crate::digest::Digest;
use crate::event::{Event, Numbering, Origin, StageCause, VersionRegistered};
use crate::invalid::Invalid;
use crate::name::Text;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::{ModelState, VersionState};
use crate::version::{Bump, Version};

use super::Rules;
use super::annotate::{TAGS_MAX, check_json, check_links, check_signature};
use super::environments::check_origins;
use super::gates::Candidate;

/// What clients that have adapted to `from` meet when `to` takes its place, and whether they survive
/// it; none if that cannot be told, because one side does not say what it takes or gives.
pub(crate) fn going_back(from: &Content, to: &Content) -> (Vec<Finding>, Option<bool>) {
    let (Some(from), Some(to)) = (&from.signature, &to.signature) else { return (Vec::new(), None) };
    let findings = compat::rollback_findings(from, to);
    let known = from.inputs().is_some() == to.inputs().is_some()
        && from.outputs().is_some() == to.outputs().is_some();
    // What breaks, breaks, whatever else is unknown.
    let safe = if compat::is_rollback_safe(&findings) { known.then_some(true) } else { Some(false) };
    (findings, safe)
}

/// The version that follows `baseline` by at least `required`, and that was never used.
///
/// The new number continues the line that the bump stays in: a patch continues the baseline's
/// `major.minor`, a minor its `major`, a major all versions. Deleted versions count.
fn next_in_line(baseline: &Version, required: Bump, state: &ModelState) -> Option<Version> {
    const END: u64 = u64::MAX;
    let slot = compat::slot(baseline, required);
    let line_end = match slot {
        Bump::Major => Version::new(END, END, END),
        Bump::Minor => Version::new(baseline.major(), END, END),
        Bump::Patch => Version::new(baseline.major(), baseline.minor(), END),
    };
    // The baseline lies in its own line, so what is found is at least the baseline.
    let head = state.versions_up_to(&line_end).next_back().map_or(baseline, |state| &state.version);
    compat::next_version(head.max(baseline), required)
}

impl<'a> Rules<'a> {
    /// What a new version is compared with: the last one in production, else the latest, else the
    /// highest there is.
    fn baseline(&self) -> Option<&'a VersionState> {
        let usable = |version: &Version| self.state.version(version).filter(|state| state.deleted.is_none());
        let in_production = || self.state.production_spans().rev().find_map(|span| usable(&span.version));
        in_production()
            .or_else(|| self.state.latest(false))
            .or_else(|| self.state.versions().rev().find(|state| state.deleted.is_none()))
            .map(AsRef::as_ref)
    }

    /// What an explicit number is compared with: the baseline, or for a number that does not lie
    /// above it (a hotfix of an older line) the highest version below the number.
    fn baseline_of(&self, version: &Version) -> Option<&'a VersionState> {
        match self.baseline() {
            Some(baseline) if baseline.version < *version => Some(baseline),
            _ => self
                .state
                .versions_up_to(version)
                .rev()
                .find(|state| state.deleted.is_none() && state.version < *version)
                .map(AsRef::as_ref),
        }
    }

    /// The number of a version that there is nothing to compare with: `0.1.0`, or what follows the
    /// numbers that were used and deleted.
    fn first_number(&self, least: Option<Bump>) -> Result<Version, Rejection> {
        let Some(highest) = self.state.versions().next_back() else {
            return Ok(if least == Some(Bump::Major) {
                Version::new(1, 0, 0)
            } else {
                Version::new(0, 1, 0)
            });
        };
        next_in_line(&highest.version, least.unwrap_or(Bump::Minor), self.state)
            .ok_or_else(|| Rejection::VersionOverflow { baseline: highest.version.clone() })
    }

    /// Whether a version with files and this content is there, so that there is nothing to number.
    fn is_registered(&self, content: &Content, digest: Digest) -> bool {
        !content.artifacts.is_empty()
            && self.state.versions().any(|state| state.digest == digest && state.deleted.is_none())
    }

    pub(super) fn register(
        &self,
        choice: &VersionChoice,
        content: &Content,
        stage: Stage,
        origins: &[Origin],
    ) -> Result<Vec<Event>, Rejection> {
        check(content)?;
        check_origins(origins)?;
        let digest = content.digest();
        let (version, numbering) = match choice {
            VersionChoice::Explicit { version, allow_smaller } => {
                if let Some(existing) = self.state.version(version) {
                    return self.register_again(existing, version, content);
                }
                (version.clone(), self.explicit(version, allow_smaller.as_ref(), content)?)
            }
            VersionChoice::Bump { .. } | VersionChoice::Auto => {
                let least = match choice {
                    VersionChoice::Bump { bump } => Some(*bump),
                    _ => None,
                };
                if least.is_none() && self.is_registered(content, digest) {
                    return Ok(Vec::new());
                }
                match self.baseline() {
                    None => (self.first_number(least)?, Numbering::default()),
                    Some(baseline) => self.following(baseline, least, content)?,
                }
            }
        };
        let registered = VersionRegistered {
            version: version.clone(),
            digest,
            content: content.clone(),
            numbering,
            origins: origins.to_vec(),
        };
        let mut events = vec![Event::VersionRegistered(Box::new(registered))];
        if stage != Stage::Development {
            self.check_transition(&version, Stage::Development, stage)?;
            if self.policy.stage(stage).approval.is_some() {
                return Err(Rejection::StageDemandsApproval { stage });
            }
            let gates = self.pass_gates(Candidate { version: &version, digest, content }, stage)?;
            let cause = StageCause::Promotion { request: None, approvals: Vec::new() };
            events.extend(self.moves(&version, content, (Stage::Development, stage), cause, gates));
        }
        Ok(events)
    }

    /// The version is there already: fine if it is the same, and never changed if it is not.
    fn register_again(
        &self,
        existing: &VersionState,
        offered: &Version,
        content: &Content,
    ) -> Result<Vec<Event>, Rejection> {
        if existing.deleted.is_some() {
            return Err(Rejection::VersionDeleted { version: existing.version.clone() });
        }
        if existing.version.build() != offered.build() {
            return Err(Rejection::BuildMetadataOnly {
                existing: existing.version.clone(),
                offered: offered.clone(),
            });
        }
        let offered = content.digest();
        if existing.digest != offered {
            return Err(Rejection::VersionExists {
                version: existing.version.clone(),
                existing: existing.digest,
                offered,
            });
        }
        Ok(Vec::new())
    }

    /// Checks a number that the caller chose.
    fn explicit(
        &self,
        version: &Version,
        allow_smaller: Option<&Text>,
        content: &Content,
    ) -> Result<Numbering, Rejection> {
        let Some(baseline) = self.baseline_of(version) else { return Ok(Numbering::default()) };
        let comparison = compat::compare_interfaces(&baseline.content.interface(), &content.interface());
        let mut numbering = Numbering {
            baseline: Some(baseline.version.clone()),
            required: None,
            findings: comparison.findings,
            overridden: None,
        };
        // What can be told is held to, even where a missing signature leaves the rest unknown.
        let required = compat::required_bump(&numbering.findings);
        if !comparison.signature_unknown {
            numbering.required = Some(required);
        }
        if let ExplicitCheck::TooSmall { needed, smallest } =
            compat::check_explicit(&baseline.version, version, required)
        {
            match allow_smaller {
                Some(reason) => numbering.overridden = Some(reason.clone()),
                None => {
                    let overflow = || Rejection::VersionOverflow { baseline: baseline.version.clone() };
                    return Err(Rejection::VersionTooSmall {
                        proposed: version.clone(),
                        baseline: baseline.version.clone(),
                        needed,
                        smallest: smallest.ok_or_else(overflow)?,
                        findings: numbering.findings,
                    });
                }
            }
        }
        Ok(numbering)
    }

    /// Finds the number that follows the baseline, by at least the given bump.
    fn following(
        &self,
        baseline: &VersionState,
        least: Option<Bump>,
        content: &Content,
    ) -> Result<(Version, Numbering), Rejection> {
        let comparison = compat::compare_interfaces(&baseline.content.interface(), &content.interface());
        let required = compat::required_bump(&comparison.findings);
        if least.is_none() && comparison.signature_unknown {
            return Err(Rejection::BumpUnknown { baseline: baseline.version.clone() });
        }
        let next = |bump| {
            next_in_line(&baseline.version, bump, self.state)
                .ok_or_else(|| Rejection::VersionOverflow { baseline: baseline.version.clone() })
        };
        let version = next(least.unwrap_or(required))?;
        // Below 1.0.0 a minor change raises the same number as a patch: numbers decide, not words.
        let slot = |bump| compat::slot(&baseline.version, bump);
        if let Some(least) = least
            && slot(least) < slot(required)
        {
            return Err(Rejection::VersionTooSmall {
                proposed: version,
                baseline: baseline.version.clone(),
                needed: required,
                smallest: next(required)?,
                findings: comparison.findings,
            });
        }
        let numbering = Numbering {
            baseline: Some(baseline.version.clone()),
            required: (!comparison.signature_unknown).then_some(required),
            findings: comparison.findings,
            overridden: None,
        };
        Ok((version, numbering))
    }
}

/// What the types of the content cannot rule out by themselves.
pub(super) fn check(content: &Content) -> Result<(), Invalid> {
    for (key, value) in &content.tags {
        check_tag_value(key, value)?;
    }
    if TAGS_MAX < content.tags.len() {
        return Err(Invalid::new("tags", content.tags.len(), format!("at most {TAGS_MAX}")));
    }
    check_json(&content.metadata)?;
    check_links(&content.links, 0)?;
    if let Some(signature) = &content.signature {
        check_signature(signature)?;
    }
    let mut names = std::collections::BTreeSet::new();
    for file in &content.environment {
        if !names.insert(file.name()) {
            return Err(Invalid::new("environment file", file.name(), "is given twice"));
        }
    }
    Ok(())
}
