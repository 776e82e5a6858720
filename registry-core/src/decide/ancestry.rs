//! Why this exists: a version cannot have been made out of itself, and a lineage with a circle in it answers nothing. A
//! claim that would close one is refused when it is made.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Amended, Event};
use crate::lineage::{Link, parents};
use crate::name::{ModelName, ModelVersion};
use crate::rejection::Rejection;

use super::{Halt, Rules};

impl Rules<'_> {
    /// Refuses events by which a version would be among its own ancestors.
    pub(super) fn check_ancestry(&self, model: &ModelName, events: &[Event]) -> Result<(), Halt> {
        for event in events {
            let (version, claimed): (_, Vec<&ModelVersion>) = match event {
                Event::VersionRegistered(registered) => {
                    (&registered.version, parents(&registered.content).into_keys().collect())
                }
                Event::Amended(amended) => (&amended.version, claimed_by(amended)),
                _ => continue,
            };
            let version = ModelVersion { model: model.clone(), version: version.clone() };
            self.check_ancestors(&version, claimed)?;
        }
        Ok(())
    }

    fn check_ancestors(&self, version: &ModelVersion, claimed: Vec<&ModelVersion>) -> Result<(), Halt> {
        let mut unknown = BTreeSet::new();
        // Of each ancestor, the version that was made out of it.
        let mut made: BTreeMap<ModelVersion, ModelVersion> = BTreeMap::new();
        let mut queue: Vec<ModelVersion> = Vec::new();
        for parent in claimed {
            made.entry(parent.clone()).or_insert_with(|| {
                queue.push(parent.clone());
                version.clone()
            });
        }
        while let Some(ancestor) = queue.pop() {
            if ancestor == *version {
                return Err(circle(version, &made).into());
            }
            let before: Vec<ModelVersion> = if ancestor.model == version.model {
                let known = self.state.version(&ancestor.version);
                known.iter().flat_map(|known| parents(&known.content).into_keys()).cloned().collect()
            } else if let Some(known) = self.context.evidence.parents.get(&ancestor) {
                known.iter().cloned().collect()
            } else {
                unknown.insert(ancestor);
                continue;
            };
            for parent in before {
                made.entry(parent.clone()).or_insert_with(|| {
                    queue.push(parent);
                    ancestor.clone()
                });
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(Halt::NeedsParents(unknown)) }
    }
}

fn claimed_by(amended: &Amended) -> Vec<&ModelVersion> {
    let linked = amended.links.iter().filter_map(|link| match link {
        Link::DerivedFrom { model, .. } => Some(model),
        _ => None,
    });
    linked.chain(&amended.metadata.parent_model).collect()
}

/// From the version back to itself.
fn circle(version: &ModelVersion, made: &BTreeMap<ModelVersion, ModelVersion>) -> Rejection {
    let mut through = Vec::new();
    let mut next = made.get(version);
    while let Some(between) = next.filter(|between| *between != version) {
        through.push(between.clone());
        next = made.get(between);
    }
    through.reverse();
    Rejection::LineageCircle { version: version.clone(), through }
}
