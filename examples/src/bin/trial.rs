//! Before a model replaces another: gates that look at what is on record, and a trial that looks at real requests.
//!
//! ```console
//! cargo run -p registry-examples --bin trial
//! ```
//!
//! The models are really trained, and the requests are held-out tumours, drawn at random: each goes to the version
//! that the registry's table of traffic says, and whether the diagnosis was right is counted for that version.

use std::error::Error;

use bytes::Bytes;
use registry_core::gate::NotNegative;
use registry_core::trial::{
    Arms, Counts, Goal, Measure, MeasureKind, PlannedEnd, Share, Tally, TrialPlan, TrialStage,
};
use registry_core::{
    By, Direction, Finite, Gate, ModelName, PromoteOptions, Promotion, Registration, Registry,
    RegistryExt as _, Scope, Stage, StageRule, Traffic, Upload, Version, VersionChoice,
};
use registry_examples::describe::{self, MODEL_FILE};
use registry_examples::page::{answer, chapter, say};
use registry_examples::training::{self, TrainedModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many requests come in between two reports of the router.
const BATCH: usize = 4_000;
/// How many samples each arm of the trial needs.
const SAMPLES: u64 = 2_000;
/// How many batches there may be; far more than are needed for a tenth of them to be enough.
const BATCHES_MAX: usize = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = registry_core::in_memory();
    let (dana, router) = (By::new("dana".parse()?), By::new("router".parse()?));
    let model: ModelName = "tumour-diagnosis".parse()?;

    chapter("What production demands");
    let first = training::baseline()?;
    let v1 = register(&registry, &dana, &model, &first, Version::new(1, 0, 0).into()).await?;
    registry.promote(&dana, &model, &v1, Stage::Production, PromoteOptions::default()).await?;
    let gates = vec![
        Gate::Metric { name: "accuracy".parse()?, at_least: Some(Finite::new(0.85)?), at_most: None },
        Gate::NoRegression {
            metrics: ["accuracy".parse()?].into(),
            significance: Default::default(),
            tolerance: NotNegative::default(),
        },
        Gate::Compatible {},
        Gate::Trial { stage: Some(TrialStage::Staging), max_age_seconds: None },
    ];
    for gate in &gates {
        answer(&format!("- {gate}"));
    }
    let rule = StageRule { gates, ..StageRule::default() };
    registry.set_stage_rule(&dana, &Scope::Model(model.clone()), Stage::Production, Some(rule)).await?;

    chapter("A careless version is refused, with numbers");
    let careless = training::careless_retrain()?;
    let careless = register(&registry, &dana, &model, &careless, VersionChoice::Auto).await?;
    refused(&registry, &dana, &model, &careless).await?;

    chapter("A better one is tried on a tenth of the requests");
    let better = training::improved_same_inputs()?;
    let v2 = register(&registry, &dana, &model, &better, Version::new(1, 1, 0).into()).await?;
    refused(&registry, &dana, &model, &v2).await?;
    let plan = TrialPlan {
        stage: TrialStage::Staging,
        share: Share::new(0.1)?,
        measure: Measure::new("right diagnoses".parse()?, MeasureKind::Proportion, Some(Direction::Higher))?,
        goal: Goal::Better,
        end: PlannedEnd::new(None, Some(SAMPLES.try_into()?))?,
        significance: Default::default(),
        looks: 1.try_into()?,
    };
    registry.start_trial(&dana, &model, &v2, None, plan).await?;
    let traffic = registry.traffic(&model).await?;
    for route in traffic.stages.get(&Stage::Staging).into_iter().flatten() {
        answer(&format!("{} gets {} of the requests of staging", route.version, route.share));
    }
    let mut requests = Requests::new(&[(&v1, &first), (&v2, &better)])?;
    for batch in 1..=BATCHES_MAX {
        let counted = requests.serve(&traffic, &v1, &v2)?;
        // Sent again after a lost reply, under the same id, it would count once.
        let by = router.with_request_id(format!("batch-{batch}").parse()?);
        let receipt = registry.observe_trial(&by, &model, &v2, counted).await?;
        let running = receipt.state.running_trial(&v2).ok_or("the trial is gone")?.1;
        if running.has_reached_its_end(registry.clock().now()) {
            break;
        }
    }

    chapter("The verdict opens the gate");
    let seen = registry.conclude_trial(&dana, &model, &v2).await?.judgement;
    let Tally::Proportion(Arms { control, treatment }) = seen.tally else { return Err("not a share".into()) };
    for (version, counts) in [(&v1, control), (&v2, treatment)] {
        answer(&format!("{version} was right {} times of {}", counts.successes(), counts.trials()));
    }
    let p = seen.p.map(|p| format!(", p = {:.0e}", p.get())).unwrap_or_default();
    say(&format!("The trial is {}{p}.", seen.verdict.as_str()));
    let promoted = registry.promote(&dana, &model, &v2, Stage::Production, PromoteOptions::default()).await?;
    let Promotion::Done { gates, .. } = promoted else { return Err("nobody must approve here".into()) };
    say(&format!("{v2} is in production, and this is kept with the move:"));
    for result in gates {
        answer(&format!("- {result}"));
    }
    Ok(())
}

/// Registers a model and brings it to staging.
async fn register(
    registry: &impl Registry,
    by: &By,
    model: &ModelName,
    trained: &TrainedModel,
    number: VersionChoice,
) -> Result<Version> {
    let bytes = Bytes::from(trained.bytes.clone());
    let upload = Upload { path: MODEL_FILE.parse()?, source: &bytes };
    let registration =
        Registration { stage: Stage::Staging, ..Registration::new(number, describe::content(trained)?) };
    Ok(registry.register(by, model, registration, &[upload]).await?.version.version.clone())
}

/// Asks for production, which must be refused, and says why.
async fn refused(registry: &impl Registry, by: &By, model: &ModelName, version: &Version) -> Result<()> {
    let asked = registry.promote(by, model, version, Stage::Production, PromoteOptions::default()).await;
    let Err(refusal) = asked else { return Err(format!("{version} should not be in production").into()) };
    for line in refusal.to_string().lines() {
        answer(line);
    }
    Ok(())
}

/// Requests as they come in, and whether each version would answer them rightly.
struct Requests {
    right: Vec<(Version, Vec<bool>)>,
    drawn: u64,
}

impl Requests {
    fn new(models: &[(&Version, &TrainedModel)]) -> Result<Self> {
        let mut right = Vec::new();
        for (version, trained) in models {
            let columns: Vec<&str> = trained.features.iter().map(|(name, _)| name.as_str()).collect();
            let unseen = training::held_out(&columns)?;
            let said = training::load_and_predict(&trained.bytes, &unseen.rows)?;
            let is_right = said.iter().zip(&unseen.labels).map(|(said, label)| said == label);
            right.push(((*version).clone(), is_right.collect()));
        }
        Ok(Requests { right, drawn: 0 })
    }

    /// A number from 0 up to 1 that looks random and is the same in every run: SplitMix64.
    fn draw(&mut self) -> f64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / 4_294_967_296.0
    }

    /// Sends a batch of requests to the versions that the table names, and counts the right answers of both.
    fn serve(&mut self, traffic: &Traffic, control: &Version, treatment: &Version) -> Result<Tally> {
        let routes = traffic.stages.get(&Stage::Staging).ok_or("staging has no traffic")?;
        let mut counted = [(0, 0), (0, 0)];
        for _ in 0..BATCH {
            let mut place = self.draw();
            let chosen = routes.iter().find(|route| {
                place -= route.share;
                place < 0.0
            });
            let version = chosen.map_or(control, |route| &route.version).clone();
            let tumour = self.draw();
            let Some((_, right)) = self.right.iter().find(|(known, _)| *known == version) else { continue };
            let index = (tumour * right.len() as f64) as usize;
            let arm = usize::from(version == *treatment);
            if let (Some(is_right), Some(counts)) = (right.get(index), counted.get_mut(arm)) {
                counts.0 += u64::from(*is_right);
                counts.1 += 1;
            }
        }
        let [control, treatment] = counted.map(|(right, asked)| Counts::new(right, asked));
        Ok(Tally::Proportion(Arms { control: control?, treatment: treatment? }))
    }
}
