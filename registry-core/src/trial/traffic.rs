//! Why this exists: a router must know who gets which share of the requests, and must not work it out itself from a
//! list of trials.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Share, TrialStage, WHOLE};
use crate::stage::Stage;
use crate::state::ModelState;
use crate::stream::Revision;
use crate::version::Version;

/// A version's part in the traffic of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// The version.
    pub version: Version,
    /// Its share, above 0 and at most 1. The shares of a stage add up to 1.
    pub share: f64,
    /// The trial that gives it, by its revision; none for what the trials leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Revision>,
}

/// Who gets which share of the requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Traffic {
    /// The revision of the model at which this holds; none if there is no model.
    pub revision: Option<Revision>,
    /// The versions of each stage that has traffic: production if something is in it, and staging while trials run
    /// there. What the trials leave comes first.
    pub stages: BTreeMap<Stage, Vec<Route>>,
}

impl ModelState {
    /// Who gets which share of the requests. Production gets what its trials leave, and all of it without any; in
    /// staging the control gets what they leave.
    pub fn traffic(&self) -> Traffic {
        let mut stages = BTreeMap::new();
        if let Some(production) = &self.production {
            stages.insert(Stage::Production, (production, WHOLE, Vec::new()));
        }
        for (revision, trial) in &self.trials {
            let (_, left, routes) = stages.entry(Stage::from(trial.plan.stage)).or_insert((
                &trial.control.version,
                WHOLE,
                Vec::new(),
            ));
            *left = left.saturating_sub(trial.plan.share.0);
            routes.push(Route {
                version: trial.treatment.version.clone(),
                share: trial.plan.share.get(),
                trial: Some(*revision),
            });
        }
        let routed = |(stage, (rest, left, routes)): (Stage, (&Version, u32, Vec<Route>))| {
            let rest = (left != 0).then(|| Route {
                version: rest.clone(),
                share: f64::from(left) / f64::from(WHOLE),
                trial: None,
            });
            (stage, rest.into_iter().chain(routes).collect())
        };
        Traffic { revision: self.revision(), stages: stages.into_iter().map(routed).collect() }
    }

    /// How many millionths of a stage's traffic no trial has yet.
    pub(crate) fn untried_millionths(&self, stage: TrialStage) -> u32 {
        let trials = self.trials.values().filter(|trial| trial.plan.stage == stage);
        trials.fold(WHOLE, |left, trial| left.saturating_sub(trial.plan.share.0))
    }
}

impl Share {
    /// Whether it can be taken of what is left. In staging it may be all; production keeps something.
    pub(crate) fn fits_into(self, left_millionths: u32, stage: TrialStage) -> bool {
        self.0 < left_millionths || (stage == TrialStage::Staging && self.0 == left_millionths)
    }
}
