//! Why this exists: the commands that try a version beside another on real requests, and the one that a router asks
//! who gets which share.

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use registry_core::compare::Significance;
use registry_core::trial::{
    Arms, ConcludedTrial, Counts, Goal, Judgement, Margin, Measure, MeasureKind, Moments, PlannedEnd, Share,
    Tally, Trial, TrialPlan, TrialStage,
};
use registry_core::{Direction, Invalid, Key, ModelName, RegistryExt as _, Version};
use serde::Serialize;

use crate::card::units;
use crate::cli::Writing;
use crate::commands::{Session, tell, tell_people, tell_program};
use crate::failure::Failure;
use crate::input::at_least_one;
use crate::output::Paint;
use crate::place::Purpose;
use crate::table::Table;
use crate::words;

/// What can be done with trials.
#[derive(Debug, Subcommand)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) enum TrialCommand {
    /// Begin to try a version that is in staging, beside another
    Start(Start),
    /// Add what was counted
    Observe(Observe),
    /// Draw the conclusion, or take a planned look before the end
    Conclude(Conclude),
    /// End a trial without a verdict
    Abort(Abort),
    /// Show the trials of a model that run, and the last concluded ones
    Show(Show),
}

impl TrialCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            TrialCommand::Start(start) => start.run(session).await,
            TrialCommand::Observe(observe) => observe.run(session).await,
            TrialCommand::Conclude(conclude) => conclude.run(session).await,
            TrialCommand::Abort(abort) => abort.run(session).await,
            TrialCommand::Show(show) => show.run(session).await,
        }
    }
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Better {
    /// More is better
    Higher,
    /// Less is better
    Lower,
}

impl From<Better> for Direction {
    fn from(better: Better) -> Direction {
        match better {
            Better::Higher => Direction::Higher,
            Better::Lower => Direction::Lower,
        }
    }
}

fn margin(text: &str) -> Result<Margin, Invalid> {
    Margin::new(number("margin", text)?)
}

fn significance(text: &str) -> Result<Significance, Invalid> {
    Significance::new(number("significance", text)?)
}

fn number(what: &'static str, text: &str) -> Result<f64, Invalid> {
    text.parse().map_err(|_| Invalid::new(what, text, "is not a number"))
}

/// `registry trial start fraud-detection v3.1.0 --in production --share 10% --measure "error rate"
/// --not-worse-than 0.005 --samples 10000`
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The model
    model: ModelName,
    /// The version that is tried. It must be in staging
    version: Version,
    /// The version it is compared with. Default: the one in production
    #[arg(long, value_name = "VERSION")]
    control: Option<Version>,
    /// Whose requests it gets a share of: staging or production
    #[arg(long = "in", value_name = "STAGE", default_value = "staging")]
    stage: TrialStage,
    /// Which share of them, for example 10%
    #[arg(long, value_name = "SHARE")]
    share: Share,
    /// What is measured, for example "error rate"
    #[arg(long, value_name = "NAME")]
    measure: Key,
    /// It is a number for each sample, not successes among trials
    #[arg(long)]
    score: bool,
    /// Which way is better, if the name of the measure does not tell
    #[arg(long, value_enum)]
    better: Option<Better>,
    /// A canary: it need not be better, only not worse by so much. Default: it must be better
    #[arg(long, value_name = "MARGIN", value_parser = margin)]
    not_worse_than: Option<Margin>,
    /// How many samples each arm needs before the end
    #[arg(long, value_name = "N", required_unless_present = "duration", value_parser = at_least_one::<NonZeroU64>)]
    samples: Option<NonZeroU64>,
    /// How long it runs, for example 7d
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds)]
    duration: Option<u64>,
    /// How likely a favourable verdict by chance may be
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = significance)]
    significance: Significance,
    /// How often it may be looked at, the end included; each look then asks for more
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one::<NonZeroU32>)]
    looks: NonZeroU32,
    #[command(flatten)]
    writing: Writing,
}

impl Start {
    fn plan(&self) -> Result<TrialPlan, Failure> {
        let kind = if self.score { MeasureKind::Score } else { MeasureKind::Proportion };
        let duration = match self.duration {
            Some(seconds) => Some(
                NonZeroU64::new(seconds)
                    .ok_or_else(|| Invalid::new("duration", seconds, "must be longer than nothing"))?,
            ),
            None => None,
        };
        Ok(TrialPlan {
            stage: self.stage,
            share: self.share,
            measure: Measure::new(self.measure.clone(), kind, self.better.map(Direction::from))?,
            goal: self.not_worse_than.map_or(Goal::Better, |margin| Goal::NotWorse { margin }),
            end: PlannedEnd::new(duration, self.samples)?,
            significance: self.significance,
            looks: self.looks,
        })
    }

    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let plan = self.plan()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let control = self.control.as_ref();
        let receipt = registry.start_trial(&by, &self.model, &self.version, control, plan).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}

/// What was counted in one arm: `913/90000`, or for a score `90000,10.5,2.25`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counted {
    Proportion(Counts),
    Score(Moments),
}

impl FromStr for Counted {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            let expected = "expected `SUCCESSES/TRIALS`, or for a score `COUNT,MEAN,VARIANCE`";
            Invalid::new("observation", text, expected)
        };
        if let Some((successes, trials)) = text.split_once('/') {
            let count = |part: &str| part.trim().parse().map_err(|_| wrong());
            return Ok(Counted::Proportion(Counts::new(count(successes)?, count(trials)?)?));
        }
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [count, mean, variance] = parts[..] else { return Err(wrong()) };
        let number = |part: &str| part.parse().map_err(|_| wrong());
        let count = count.parse().map_err(|_| wrong())?;
        Ok(Counted::Score(Moments::new(count, number(mean)?, number(variance)?)?))
    }
}

/// `registry trial observe fraud-detection v3.1.0 --control 913/90000 --treatment 98/10000 --request-id monday`
#[derive(Debug, Args)]
pub(crate) struct Observe {
    /// The model
    model: ModelName,
    /// The version that is tried
    version: Version,
    /// What was counted for the version that it is compared with: SUCCESSES/TRIALS, or COUNT,MEAN,VARIANCE
    #[arg(long, value_name = "COUNTED", required_unless_present = "treatment")]
    control: Option<Counted>,
    /// What was counted for the version that is tried
    #[arg(long, value_name = "COUNTED")]
    treatment: Option<Counted>,
    #[command(flatten)]
    writing: Writing,
}

fn observed(control: Option<Counted>, treatment: Option<Counted>) -> Result<Tally, Invalid> {
    use Counted::{Proportion, Score};
    let proportion = |control, treatment| Ok(Tally::Proportion(Arms { control, treatment }));
    let score = |control, treatment| Ok(Tally::Score(Arms { control, treatment }));
    match (control, treatment) {
        (Some(Proportion(control)), Some(Proportion(treatment))) => proportion(control, treatment),
        (Some(Proportion(control)), None) => proportion(control, Counts::default()),
        (None, Some(Proportion(treatment))) => proportion(Counts::default(), treatment),
        (Some(Score(control)), Some(Score(treatment))) => score(control, treatment),
        (Some(Score(control)), None) => score(control, Moments::default()),
        (None, Some(Score(treatment))) => score(Moments::default(), treatment),
        (Some(_), Some(_)) => Err(Invalid::new(
            "observation",
            "one of each",
            "both arms count the same: a proportion or a score",
        )),
        (None, None) => {
            Err(Invalid::new("observation", "nothing", "give `--control`, `--treatment` or both"))
        }
    }
}

impl Observe {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let observed = observed(self.control, self.treatment)?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.observe_trial(&by, &self.model, &self.version, observed).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}

/// `registry trial conclude fraud-detection v3.1.0`
#[derive(Debug, Args)]
pub(crate) struct Conclude {
    /// The model
    model: ModelName,
    /// The version that is tried
    version: Version,
    #[command(flatten)]
    writing: Writing,
}

/// What `trial conclude` adds to its answer.
#[derive(Debug, Serialize)]
struct ConcludeMore<'a> {
    version: &'a Version,
    /// Whether the trial is concluded; else it goes on.
    is_concluded: bool,
    judgement: &'a Judgement,
}

impl Conclude {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let look = registry.conclude_trial(&by, &self.model, &self.version).await?;
        if session.out.json {
            let more = ConcludeMore {
                version: &self.version,
                is_concluded: look.is_concluded,
                judgement: &look.judgement,
            };
            return tell_program(session, &self.model, &look.receipt, more);
        }
        tell_people(session, registry.as_ref(), Some(&self.model), &look.receipt).await?;
        for line in judgement_lines(&look.judgement) {
            session.out.line(format!("  {line}"))?;
        }
        Ok(())
    }
}

/// `registry trial abort fraud-detection v3.1.0 -m "the router was wrong"`
#[derive(Debug, Args)]
pub(crate) struct Abort {
    /// The model
    model: ModelName,
    /// The version that is tried
    version: Version,
    #[command(flatten)]
    writing: Writing,
}

impl Abort {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let by = self.writing.by()?;
        let registry = session.open_to_change(by.dry_run).await?;
        let receipt = registry.abort_trial(&by, &self.model, &self.version).await?;
        tell(session, registry.as_ref(), Some(&self.model), &receipt).await
    }
}

/// `registry trial show fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The model
    model: ModelName,
}

/// The answer to `trial show`.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    model: &'a ModelName,
    /// Each is known by the revision at which it was started.
    running: Vec<&'a Trial>,
    /// The last of each version, by version.
    concluded: Vec<&'a ConcludedTrial>,
}

impl Show {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let trials = registry.trials(&self.model).await?;
        let shown = Shown {
            model: &self.model,
            running: trials.running.values().map(AsRef::as_ref).collect(),
            concluded: trials.concluded.iter().map(AsRef::as_ref).collect(),
        };
        if session.out.json {
            return session.out.document(&shown);
        }
        if shown.running.is_empty() && shown.concluded.is_empty() {
            return session.out.line("there are no trials; `registry trial start` begins one");
        }
        let paint = session.out.paint();
        for trial in shown.running {
            for line in trial_lines(trial, paint) {
                session.out.line(line)?;
            }
        }
        for concluded in shown.concluded {
            let Trial { treatment, control, .. } = &concluded.trial;
            let verdict = verdict(&concluded.judgement, paint);
            let title = paint.bold(&format!("{} against {}", treatment.version, control.version));
            session
                .out
                .line(format!("{title}: {verdict}, concluded {}", words::stamp(&concluded.concluded)))?;
            for line in judgement_lines(&concluded.judgement) {
                session.out.line(format!("  {line}"))?;
            }
        }
        Ok(())
    }
}

fn verdict(judgement: &Judgement, paint: Paint) -> String {
    use registry_core::trial::Verdict;
    let word = judgement.verdict.as_str();
    match judgement.verdict {
        Verdict::Favourable => paint.good(word),
        Verdict::Unfavourable => paint.bad(word),
        Verdict::Inconclusive => paint.warning(word),
    }
}

/// A trial that runs: what it is about, what it waits for, and what was counted.
pub(crate) fn trial_lines(trial: &Trial, paint: Paint) -> Vec<String> {
    let Trial { treatment, control, plan, .. } = trial;
    let title = format!("{} against {}", treatment.version, control.version);
    let mut lines = vec![format!(
        "{} in {}, with {} of its requests (trial {})",
        paint.bold(&title),
        plan.stage,
        plan.share,
        trial.started.revision
    )];
    let better = match plan.measure.direction {
        Direction::Higher => "more is better",
        Direction::Lower => "less is better",
    };
    let goal = match plan.goal {
        Goal::Better => "must be better".to_owned(),
        Goal::NotWorse { margin } => format!("must not be worse by {margin}"),
        _ => "has a goal of another kind".to_owned(),
    };
    lines.push(format!("  {}, {better}: {goal}", plan.measure.name));
    let looks = words::count(u64::from(plan.looks.get()), "look", "looks");
    lines.push(format!(
        "  until {}; {looks} at significance {}",
        words::planned_end(plan.end),
        plan.significance
    ));
    lines.push(format!("  so far {}", words::tally(&trial.tally)));
    if trial.looks_taken != 0 {
        let taken = words::count(u64::from(trial.looks_taken), "look", "looks");
        lines.push(format!("  {taken} taken, {} left before the end", trial.looks_left()));
    }
    lines.push(format!("  started {}", words::stamp(&trial.started)));
    lines
}

/// What a verdict rests on.
fn judgement_lines(judgement: &Judgement) -> Vec<String> {
    let mut lines = vec![words::tally(&judgement.tally)];
    if let (Some(method), Some(p)) = (judgement.method, judgement.p) {
        let threshold = judgement.threshold;
        let told = words::p_value(p.get());
        lines.push(format!("{}: {told}, to be below {}", method.as_str(), words::rounded(threshold.get())));
    }
    let place = if judgement.at_planned_end { "at the planned end" } else { "before the planned end" };
    lines.push(format!("look {} of {}, {place}", judgement.look, judgement.looks));
    lines
}

/// `registry traffic fraud-detection`
#[derive(Debug, Args)]
pub(crate) struct TrafficCommand {
    /// The model
    model: ModelName,
}

impl TrafficCommand {
    pub(crate) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let registry = session.open(Purpose::Read).await?;
        let traffic = registry.traffic(&self.model).await?;
        if session.out.json {
            return session.out.document(&traffic);
        }
        if traffic.stages.is_empty() {
            return session.out.line("nothing is in production, and no trial runs");
        }
        let mut table = Table::new(["STAGE", "VERSION", "#SHARE", "#TRIAL"]);
        for (stage, routes) in &traffic.stages {
            for route in routes {
                table.row([
                    stage.to_string(),
                    route.version.to_string(),
                    words::percent(route.share),
                    route.trial.map(|trial| trial.to_string()).unwrap_or_default(),
                ]);
            }
        }
        session.out.line(table.render(session.out.paint(), ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read_as_it_is_typed() {
        let counts = Counts::new(913, 90_000).unwrap();
        assert_eq!("913/90000".parse::<Counted>().unwrap(), Counted::Proportion(counts));
        let moments = Moments::new(90, 10.5, 2.25).unwrap();
        assert_eq!("90, 10.5, 2.25".parse::<Counted>().unwrap(), Counted::Score(moments));
        for wrong in ["", "913", "2/1", "-1/2", "a/b", "1,2", "1,2,3,4", "2,1,-1", "2,NaN,1"] {
            assert!(wrong.parse::<Counted>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_arm_may_come_alone_and_both_count_the_same() {
        let (counts, moments) = (Counts::new(1, 2).unwrap(), Moments::new(2, 1.0, 0.5).unwrap());
        let alone = observed(None, Some(Counted::Proportion(counts))).unwrap();
        assert_eq!(alone, Tally::Proportion(Arms { control: Counts::default(), treatment: counts }));
        assert!(observed(Some(Counted::Score(moments)), None).is_ok());
        assert!(observed(Some(Counted::Score(moments)), Some(Counted::Proportion(counts))).is_err());
    }
}
