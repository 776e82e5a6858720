//! The life of a model: trained, registered, improved, approved, promoted, rolled back, audited.
//!
//! ```console
//! cargo run -p registry-examples                 # in a temporary folder
//! cargo run -p registry-examples -- ./models     # in a folder that stays
//! ```
//!
//! Four people share one registry: Ana trains models, Bo and Chen review them, Dana releases them. The
//! models are trained while you watch, and every number printed was measured in this run. Only the
//! times differ from run to run.

mod told;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use backend_local::LocalRegistry;
use bytes::Bytes;
use registry_core::{
    ApprovalRule, Bump, By, ModelName, PromoteOptions, Promotion, Registration, Registry as _,
    RegistryExt as _, Revision, Scope, Selector, Stage, StageRule, Text, Timestamp, Upload, VerifyOptions,
    Version, VersionChoice, VersionState,
};
use registry_examples::describe::{self, MODEL_FILE};
use registry_examples::page::{self, chapter, percent, say, show};
use registry_examples::training::{self, TrainedModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // A temporary folder is removed when `_temporary` is dropped, at the end of the story.
    let (folder, _temporary) = match std::env::args_os().nth(1) {
        Some(folder) => (PathBuf::from(folder), None),
        None => {
            let temporary = tempfile::tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let mut life = Life::begin(backend_local::open(&folder)?).await?;
    told::title(&folder);

    life.a_first_model().await?;
    life.a_rule_for_production().await?;
    life.a_better_model().await?;
    life.a_model_that_asks_for_more().await?;
    life.an_emergency().await?;
    life.back_in_one_call().await?;
    life.what_was_in_production_when().await?;
    life.the_record().await?;
    life.a_service_reads_production().await
}

/// The registry, the people, and the moments they will ask about later.
struct Life {
    registry: LocalRegistry,
    model: ModelName,
    ana: By,
    bo: By,
    chen: By,
    dana: By,
    moments: Vec<(&'static str, Timestamp)>,
}

impl Life {
    async fn begin(registry: LocalRegistry) -> Result<Self> {
        if !registry.models(None, 1).await?.is_empty() {
            return Err("there are models in this folder already; the story needs an empty one".into());
        }
        Ok(Life {
            registry,
            model: "tumour-diagnosis".parse()?,
            ana: By::new("ana".parse()?),
            bo: By::new("bo".parse()?),
            chen: By::new("chen".parse()?),
            dana: By::new("dana".parse()?),
            moments: Vec::new(),
        })
    }

    /// A first version needs a number chosen by somebody: there is nothing to compare it with.
    async fn a_first_model(&mut self) -> Result<()> {
        chapter("A first model");
        let trained = training::baseline()?;
        introduce(&trained);
        let v1: Version = "v1".parse()?;
        let registered = self.register(&trained, v1.clone().into()).await?;
        say("With the bytes go the signature, the features, the hyperparameters, the metrics and the speed:");
        told::on_record(&registered);
        self.remember("before anything was promoted");

        self.to_staging(&v1).await?;
        let release = self.dana.because("first release, agreed with the clinic".parse()?);
        self.promote(&release, &v1, Stage::Production).await?;
        say(&format!("Dana moves {v1} through staging into production. No rule is in the way yet."));
        self.remember("while the first model served");
        Ok(())
    }

    /// Rules are events like everything else: the record shows which ones held when.
    async fn a_rule_for_production(&self) -> Result<()> {
        chapter("A rule for production");
        let people = [&self.ana, &self.bo, &self.chen];
        let rule = ApprovalRule {
            approvers: people.into_iter().map(|by| by.actor.clone()).collect(),
            quorum: 2.try_into()?,
            // The default excludes whoever registered the version and whoever asks for the promotion.
            ..ApprovalRule::default()
        };
        let by = self.chen.because("patients depend on it: four eyes before production".parse()?);
        let scope = Scope::Model(self.model.clone());
        let rule = StageRule { approval: Some(rule), ..StageRule::default() };
        self.registry.set_stage_rule(&by, &scope, Stage::Production, Some(rule)).await?;
        say("From now on two of ana, bo and chen must approve before a version enters production. Whoever \
             registered the version, and whoever asks for its promotion, does not count.");
        Ok(())
    }

    /// The registry compares with what is in production, and finds the number.
    async fn a_better_model(&mut self) -> Result<()> {
        chapter("A better model, for the same callers");
        let trained = training::improved_same_inputs()?;
        introduce(&trained);
        let registered = self.register(&trained, VersionChoice::Auto).await?;
        let version = &registered.version;
        say(&format!("She does not choose a number. The registry compares and decides on {version}:"));
        told::explain(&registered.numbering);

        self.to_staging(version).await?;
        let request = self.dana.because("more accurate on the held-out cases".parse()?);
        self.promote(&request, version, Stage::Production).await?;
        self.approve(&self.ana, version, None).await?;
        self.approve(&self.dana, version, None).await?;
        self.approve(&self.bo, version, Some("checked the errors it makes")).await?;
        self.approve(&self.chen, version, Some("latency is within the budget")).await?;
        self.remember("while the better model served");
        Ok(())
    }

    /// Twenty new input columns: the old callers would fail, and the number must say so.
    async fn a_model_that_asks_for_more(&mut self) -> Result<()> {
        chapter("A model that asks callers for more");
        let trained = training::improved_more_features()?;
        introduce(&trained);

        // A number that promises too much is refused, with the reasons. This one is only rehearsed.
        let modest = self.rehearse(&trained, Bump::Minor.into()).await;
        show("Ana would like to call it a minor improvement", modest.err());
        let registered = self.register(&trained, VersionChoice::Auto).await?;
        let version = &registered.version;
        say(&format!("Left to find the number, the registry decides on {version}, because:"));
        told::explain_in_short(&registered.numbering);

        self.to_staging(version).await?;
        let request = self.dana.because("callers send the new columns since today".parse()?);
        self.promote(&request, version, Stage::Production).await?;
        self.approve(&self.bo, version, None).await?;
        self.approve(&self.chen, version, None).await?;
        self.remember("while the model with more inputs served");
        Ok(())
    }

    /// Rules can be bypassed in an emergency, never in silence.
    async fn an_emergency(&mut self) -> Result<()> {
        chapter("An emergency");
        let trained = training::careless_retrain()?;
        say(&format!(
            "Ana retrains in a hurry: a {} on only {} tumours, the settings of a smoke test left on. \
             Nobody looks at the metrics.",
            page::words(trained.algorithm),
            trained.training_rows
        ));
        let registered = self.register(&trained, VersionChoice::Auto).await?;
        let version = &registered.version;
        self.to_staging(version).await?;

        let bypass = PromoteOptions { emergency: true, ..PromoteOptions::default() };
        let silent = self.registry.promote(&self.dana, &self.model, version, Stage::Production, bypass).await;
        show(&format!("Dana puts {version} into production past the approvers"), silent.err());
        let loud = self
            .dana
            .because("this week's cases are missing in production; approvers are on a flight".parse()?);
        self.registry.promote(&loud, &self.model, version, Stage::Production, bypass).await?;
        say(
            "With a reason it is done, and the record will show that the rule was bypassed, by whom and why.",
        );

        let (bad, good) =
            (self.measure(&Selector::PRODUCTION).await?, self.measure(&Selector::Previous).await?);
        say(&format!(
            "Then somebody measures. Of {} held-out tumours the bytes in production judge {} rightly ({}); \
             those of the version before, {} ({}).",
            bad.rows,
            bad.right,
            percent(bad.accuracy()),
            good.right,
            percent(good.accuracy())
        ));
        say("The figures stood in the registry all along:");
        told::on_record(self.registry.get(&self.model, &Selector::PRODUCTION).await?.state());
        self.remember("while the careless model served");
        Ok(())
    }

    /// One call, one commit: the bad version leaves, the good one enters, the bad one is quarantined.
    async fn back_in_one_call(&mut self) -> Result<()> {
        chapter("Back, in one call");
        let by = self.bo.because("takes many healthy patients for ill".parse()?);
        let rollback = self.registry.rollback(&by, &self.model, None, false).await?;
        say(&format!(
            "Bo rolls back. {} is in production again, after its bytes were read and verified; {} is archived \
             and quarantined. What callers of {} will notice: {}.",
            rollback.to,
            rollback.from,
            rollback.from,
            page::count(rollback.findings.len(), "change")
        ));
        let again = self.to_staging(&rollback.from).await;
        show(&format!("Dana tries to bring {} back to staging", rollback.from), again.err());
        self.remember("after the rollback");
        Ok(())
    }

    /// `production@<instant>` is a selector like `latest` or `v1.0.0`.
    async fn what_was_in_production_when(&self) -> Result<()> {
        chapter("What was in production when?");
        for (when, instant) in &self.moments {
            let selector = Selector::ProductionAt(*instant);
            println!("   {selector}, {when}:");
            match self.in_production_at(*instant).await? {
                None => page::answer("nothing"),
                Some(answer) => {
                    page::answer(&answer);
                    let then = self.measure(&selector).await?;
                    page::answer(&format!(
                        "Its bytes, fetched and tried again: {} right.",
                        percent(then.accuracy())
                    ));
                }
            }
        }
        Ok(())
    }

    /// The version, and the commit that put it there: who, when, why and with whose approval.
    async fn in_production_at(&self, instant: Timestamp) -> Result<Option<String>> {
        let state = self.registry.model(&self.model).await?;
        let Some(span) = state.production_at(instant) else { return Ok(None) };
        let commits = self.registry.log(&self.model, span.since.revision, 1).await?;
        let entered = commits.first().map(|recorded| page::entered(&recorded.commit));
        Ok(Some(format!("{}, {}", span.version, entered.unwrap_or_default())))
    }

    /// The log is the truth; everything above was computed from it.
    async fn the_record(&self) -> Result<()> {
        chapter("The record");
        for recorded in self.registry.log(&self.model, Revision::FIRST, 1_000).await? {
            page::commit(&recorded.commit);
        }
        let options = VerifyOptions { bytes: true, ..VerifyOptions::default() };
        let found = self.registry.verify(&self.model, options).await?;
        let verdict = if found.is_sound() { "Nothing is wrong" } else { "SOMETHING IS WRONG" };
        println!();
        say(&format!(
            "Each commit carries the digest of the one before it. Verified just now: {}, {} with {} bytes. {verdict}.",
            page::count(usize::try_from(found.commits)?, "commit"),
            page::count(usize::try_from(found.files)?, "file"),
            found.bytes
        ));
        for problem in &found.problems {
            println!("   {problem}");
        }
        Ok(())
    }

    /// What a service does at start: no path, no file name that somebody agreed on, no trust.
    async fn a_service_reads_production(&self) -> Result<()> {
        chapter("A service reads production");
        let live = self.measure(&Selector::PRODUCTION).await?;
        say(&format!(
            "A service asks for `production`, gets {} with {}, verifies the bytes while it reads them, and predicts: \
             {} of {} held-out tumours rightly ({}).",
            live.version,
            page::count(live.columns, "input column"),
            live.right,
            live.rows,
            percent(live.accuracy())
        ));
        println!("   Six of them: {}", live.examples.join(", "));
        Ok(())
    }
}

/// What the chapters have in common.
impl Life {
    /// Registers what a training made: its bytes and all that is known of them.
    async fn register(&self, trained: &TrainedModel, version: VersionChoice) -> Result<Arc<VersionState>> {
        self.register_by(&self.ana, trained, version).await
    }

    /// Finds out what a registration would do, and commits nothing.
    async fn rehearse(&self, trained: &TrainedModel, version: VersionChoice) -> Result<Arc<VersionState>> {
        self.register_by(&self.ana.rehearsing(), trained, version).await
    }

    async fn register_by(
        &self,
        by: &By,
        trained: &TrainedModel,
        version: VersionChoice,
    ) -> Result<Arc<VersionState>> {
        let mut content = describe::content(trained)?;
        content.metadata.owner = Some(self.ana.actor.clone());
        content.metadata.training_date = Some(self.registry.clock().now().date().parse()?);
        let bytes = Bytes::from(trained.bytes.clone());
        let upload = Upload { path: MODEL_FILE.parse()?, source: &bytes };
        let registration = Registration::new(version, content);
        Ok(self.registry.register(by, &self.model, registration, &[upload]).await?.version)
    }

    async fn to_staging(&self, version: &Version) -> Result<()> {
        let options = PromoteOptions::default();
        self.registry.promote(&self.dana, &self.model, version, Stage::Staging, options).await?;
        Ok(())
    }

    /// Asks for a promotion and says what became of it.
    async fn promote(&self, by: &By, version: &Version, to: Stage) -> Result<()> {
        let options = PromoteOptions::default();
        let promotion = self.registry.promote(by, &self.model, version, to, options).await?;
        if let Promotion::Pending { approvals_missing, .. } = promotion {
            let missing = page::count(usize::try_from(approvals_missing)?, "approval");
            say(&format!("{} asks for production. The request waits for {missing}.", page::name(by)));
        }
        Ok(())
    }

    /// Approves, and says what became of it: a refusal, one more to go, or the promotion itself.
    async fn approve(&self, by: &By, version: &Version, comment: Option<&str>) -> Result<()> {
        let comment = comment.map(str::parse::<Text>).transpose()?;
        let approval = self.registry.approve(by, &self.model, version, None, None, comment).await;
        match approval {
            Err(registry_core::Error::Rejected(reason)) => {
                show(&format!("{} tries to approve", page::name(by)), Some(reason));
            }
            Err(other) => return Err(other.into()),
            Ok(Promotion::Pending { approvals_missing, .. }) => {
                say(&format!("{} approves; {approvals_missing} more to go.", page::name(by)));
            }
            Ok(Promotion::Done { superseded, rollback_safety, .. }) => {
                say(&format!(
                    "{} approves, and in the same commit {version} enters production.",
                    page::name(by)
                ));
                told::succession(superseded.as_ref(), rollback_safety.as_ref());
            }
        }
        Ok(())
    }

    /// Keeps the present instant, to ask about it later.
    fn remember(&mut self, what: &'static str) {
        self.moments.push((what, self.registry.clock().now()));
    }

    /// Fetches a model and tries it on tumours that no training has seen. All it needs is in the
    /// registry: the columns come from the signature, the bytes are verified on the way.
    async fn measure(&self, selector: &Selector) -> Result<Measured> {
        const BYTES_MAX: u64 = 64 * 1024 * 1024;
        let found = self.registry.get(&self.model, selector).await?;
        let bytes = self.registry.read(found.artifact(&MODEL_FILE.parse()?)?, BYTES_MAX).await?;
        let columns = describe::input_columns(&found.content);
        let unseen = training::held_out(&columns)?;
        let said = training::load_and_predict(&bytes, &unseen.rows)?;
        let pairs = || said.iter().zip(&unseen.labels);
        let sixth = unseen.rows.len().div_ceil(6).max(1);
        Ok(Measured {
            version: found.version.clone(),
            columns: columns.len(),
            rows: unseen.rows.len(),
            right: pairs().filter(|(said, truth)| said == truth).count(),
            examples: pairs().step_by(sixth).map(|(said, truth)| told::prediction(*said, *truth)).collect(),
        })
    }
}

/// What a model is worth, found out with its bytes.
struct Measured {
    version: Version,
    columns: usize,
    rows: usize,
    right: usize,
    examples: Vec<String>,
}

impl Measured {
    fn accuracy(&self) -> f64 {
        self.right as f64 / self.rows as f64
    }
}

/// Says who was trained how, and how good it is.
fn introduce(trained: &TrainedModel) {
    let metric = |name| trained.metric(name).map_or("not measured".to_owned(), percent);
    say(&format!(
        "Ana trains a {} on {} tumours, {} measurements each. On {} tumours that it never saw, {} of its answers \
         are right, and it finds {} of the malignant ones.",
        page::words(trained.algorithm),
        trained.training_rows,
        trained.features.len(),
        trained.test_rows,
        metric("accuracy"),
        metric("recall")
    ));
}
