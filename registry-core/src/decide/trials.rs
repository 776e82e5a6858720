//! Why this exists: the rules of trials. A trial must not be a way around the stages, must not promise traffic that
//! is not there, and must not be judged by whoever waits until the numbers please. When one of its versions leaves its
//! place, what was to be compared is no longer there, and the trial ends with it.

use std::sync::Arc;

use crate::event::{AbortCause, Event, TrialStarted};
use crate::invalid::Invalid;
use crate::rejection::Rejection;
use crate::stage::Stage;
use crate::state::VersionState;
use crate::stream::Revision;
use crate::trial::{
    Arm, Goal, LOOKS_MAX, MeasureKind, RUNNING_MAX, Tally, Trial, TrialPlan, TrialStage, Verdict, judge,
};
use crate::version::Version;

use super::Rules;

impl<'a> Rules<'a> {
    pub(super) fn start_trial(
        &self,
        treatment: &Version,
        control: Option<&Version>,
        plan: &TrialPlan,
    ) -> Result<Vec<Event>, Rejection> {
        let tried = self.version(treatment)?;
        let Some(control) = control.or(self.state.production.as_ref()) else {
            return Err(Rejection::NothingInProduction);
        };
        let compared = self.version(control)?;
        if treatment == control {
            return Err(Invalid::new("control", control, "is the version that is tried; take another").into());
        }
        check_plan(plan)?;
        let arm = |state: &VersionState| Arm { version: state.version.clone(), digest: state.digest };
        let (treatment_arm, control_arm) = (arm(tried), arm(compared));
        if let Some((since, running)) = self.state.running_trial(treatment) {
            let is_same = running.plan == *plan && running.control == control_arm;
            return if is_same {
                Ok(Vec::new())
            } else {
                Err(Rejection::TrialRunning { treatment: treatment.clone(), since })
            };
        }
        self.check_promotable(tried, plan.stage.into())?;
        if let Some(since) = &compared.quarantined {
            return Err(Rejection::IsQuarantined { version: control.clone(), since: since.at });
        }
        if tried.stage != Stage::Staging {
            return Err(Rejection::WrongStage {
                version: treatment.clone(),
                expected: Stage::Staging,
                actual: tried.stage,
            });
        }
        self.check_control(control, plan.stage)?;
        self.check_traffic(plan)?;
        let started = TrialStarted { treatment: treatment_arm, control: control_arm, plan: plan.clone() };
        Ok(vec![Event::TrialStarted(Box::new(started))])
    }

    /// In production it is the version that is there; in staging that of the other trials there.
    fn check_control(&self, control: &Version, stage: TrialStage) -> Result<(), Rejection> {
        if stage == TrialStage::Production {
            let Some(production) = &self.state.production else { return Err(Rejection::NothingInProduction) };
            if production != control {
                let (control, production) = (control.clone(), production.clone());
                return Err(Rejection::ControlNotInProduction { control, production });
            }
        }
        let mut others = self.state.trials.values().filter(|trial| trial.plan.stage == stage);
        match others.find(|trial| trial.control.version != *control) {
            Some(other) => Err(Rejection::OtherControl {
                stage,
                control: other.control.version.clone(),
                offered: control.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_traffic(&self, plan: &TrialPlan) -> Result<(), Rejection> {
        let running = self.state.trials.len();
        if RUNNING_MAX <= running {
            return Err(Rejection::TooManyTrials { running });
        }
        let left = self.state.untried_millionths(plan.stage);
        if plan.share.fits_into(left, plan.stage) {
            return Ok(());
        }
        Err(Rejection::NoTrafficLeft { stage: plan.stage, asked: plan.share, left_millionths: left })
    }

    fn running(&self, treatment: &Version) -> Result<(Revision, &'a Arc<Trial>), Rejection> {
        self.version(treatment)?;
        self.state.running_trial(treatment).ok_or_else(|| Rejection::NoTrial { treatment: treatment.clone() })
    }

    pub(super) fn observe_trial(
        &self,
        treatment: &Version,
        observed: &Tally,
    ) -> Result<Vec<Event>, Rejection> {
        let (trial, running) = self.running(treatment)?;
        if observed.is_empty() {
            return Err(Invalid::new("observation", "nothing", "holds no sample of either arm").into());
        }
        running.tally.merge(observed)?;
        Ok(vec![Event::TrialObserved { trial, observed: *observed }])
    }

    pub(super) fn conclude_trial(&self, treatment: &Version) -> Result<Vec<Event>, Rejection> {
        let (trial, running) = self.running(treatment)?;
        let at_end = running.has_reached_its_end(self.context.now);
        let is_planned_look = !at_end && running.looks_left() != 0;
        let judgement = Box::new(judge(&running.plan, &running.tally, running.looks_taken, at_end));
        Ok(vec![if is_planned_look && judgement.verdict == Verdict::Inconclusive {
            Event::TrialLooked { trial, judgement }
        } else {
            Event::TrialConcluded { trial, judgement }
        }])
    }

    pub(super) fn abort_trial(&self, treatment: &Version) -> Result<Vec<Event>, Rejection> {
        let (trial, _) = self.running(treatment)?;
        Ok(vec![Event::TrialAborted { trial, cause: AbortCause::Requested }])
    }

    /// Ends the trials that one of these versions is in, since it leaves its place. Each trial ends once.
    pub(super) fn displaced_trials<'v>(
        &'v self,
        versions: &'v [&'v Version],
    ) -> impl Iterator<Item = Event> + 'v {
        self.state.trials.iter().filter_map(|(trial, running)| {
            let version = versions.iter().find(|version| running.involves(version))?;
            let cause = AbortCause::Displaced { version: (*version).clone() };
            Some(Event::TrialAborted { trial: *trial, cause })
        })
    }
}

/// What the types of a plan cannot rule out by themselves.
fn check_plan(plan: &TrialPlan) -> Result<(), Invalid> {
    if LOOKS_MAX < plan.looks.get() {
        return Err(Invalid::new("looks", plan.looks, format!("at most {LOOKS_MAX}")));
    }
    match plan.goal {
        Goal::NotWorse { margin } if plan.measure.kind == MeasureKind::Proportion && 1.0 <= margin.get() => {
            Err(Invalid::new("margin", margin, "of a proportion must be below 1, such as 0.001"))
        }
        _ => Ok(()),
    }
}
