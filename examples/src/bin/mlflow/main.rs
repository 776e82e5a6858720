//! A registry around an MLflow server that runs already.
//!
//! ```console
//! cargo run -p registry-examples --bin mlflow -- http://127.0.0.1:5000
//! ```
//!
//! Without an address the server is the one in `MLFLOW_TRACKING_URI`. A Python with `mlflow` and `scikit-learn`
//! plays the part of everybody who goes on as before: `python3`, unless `--python <program>` or
//! `REGISTRY_EXAMPLE_PYTHON` names another. Its MLflow should not be newer than the server's.
//!
//! A team has trained and registered three models with plain MLflow. Then a registry is opened on the same
//! server. It shows what is there, brings rules, and keeps a record; and when somebody goes past the rules in
//! MLflow, that is seen, taken into the record and undone. Services that load `models:/…@production` notice
//! nothing but that the right model is there.
//!
//! Each run has a model of its own, which stays on the server, as do the experiment `tumour-diagnosis` and those
//! of the registry, whose names begin with `registry-example`.

mod python;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use backend_mlflow::{MlflowRegistry, Options};
use backend_objectstore::BucketFiles;
use registry_core::mirror::ForeignChange;
use registry_core::{
    ApprovalRule, By, Clock as _, IdSource as _, Location, ModelName, PromoteOptions, Promotion,
    Registry as _, RegistryExt as _, Revision, Scope, Selector, Stage, StageRule, SystemClock, SystemIds,
    Timestamp, VerifyOptions, Version, VersionState,
};
use registry_examples::page::{self, answer, chapter, percent, say, show};

use python::Python;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

async fn tell() -> Result<()> {
    let (server, program) = arguments()?;
    println!("A REGISTRY AROUND THE MLFLOW THAT YOU HAVE");
    println!();
    say(&format!("The server is {}.", without_user(&server)));
    let mut story = Story::begin(server, program).await?;
    story.a_team_with_mlflow().await?;
    story.opened_and_nothing_written().await?;
    story.a_rule_for_production().await?;
    story.a_promotion_with_approval().await?;
    story.past_the_rules().await?;
    story.back_in_one_call().await?;
    story.what_was_in_production_when().await?;
    story.the_record().await?;
    story.a_service_that_knows_only_mlflow().await
}

/// The address of the server, and the Python.
fn arguments() -> Result<(String, OsString)> {
    const USAGE: &str = "usage: mlflow [--python <program>] [http://<server>]";
    let mut address = None;
    let mut program = std::env::var_os("REGISTRY_EXAMPLE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        if word == "--python" {
            program = words.next().ok_or(USAGE)?;
        } else if address.is_none() {
            address = Some(word.into_string().map_err(|_| USAGE)?);
        } else {
            return Err(USAGE.into());
        }
    }
    let address = match address {
        Some(address) => address,
        None => std::env::var("MLFLOW_TRACKING_URI").map_err(|_| {
            format!(
                "no server: give its address, or set MLFLOW_TRACKING_URI; {USAGE}; `mlflow server` starts one"
            )
        })?,
    };
    if !address.starts_with("http://") && !address.starts_with("https://") {
        return Err(format!("the address of a server begins with http:// or https://; {USAGE}").into());
    }
    Ok((address.trim_end_matches('/').to_owned(), program))
}

/// An address as it may be shown: without a password.
fn without_user(address: &str) -> String {
    match address.split_once("//").zip(address.rsplit_once('@')) {
        Some(((scheme, _), (_, host))) => format!("{scheme}//{host}"),
        None => address.to_owned(),
    }
}

/// The registry, the people, and the others.
struct Story {
    registry: MlflowRegistry,
    python: Python,
    model: ModelName,
    ana: By,
    bo: By,
    chen: By,
    dana: By,
    opened: Timestamp,
}

impl Story {
    async fn begin(server: String, program: OsString) -> Result<Self> {
        // By URL, so that user, token and certificates may stand in the environment, as for MLflow's clients.
        let url = format!("mlflow+{server}?registry=registry-example");
        let location = Location::parse(&url).ok_or("the address of the server is none")?;
        let options = Options::from_location(location, |name| std::env::var(name).ok())?;
        // If the server leaves it to its clients to reach the bucket where the files are.
        let registry = options.with_files(Arc::new(BucketFiles::new())).open()?;
        // The first request: is anybody there?
        registry.models(None, 1).await?;
        let python = Python::find(program, server).await?;
        Ok(Story {
            registry,
            python,
            model: format!("tumour-diagnosis-{:08x}", SystemIds.next_id() >> 96).parse()?,
            ana: By::new("ana".parse()?),
            bo: By::new("bo".parse()?),
            chen: By::new("chen".parse()?),
            dana: By::new("dana".parse()?),
            opened: SystemClock.now(),
        })
    }

    async fn a_team_with_mlflow(&self) -> Result<()> {
        chapter("A team with MLflow");
        say(&format!(
            "Ana trains three models in Python and registers them as {}. She has {}, and nothing of this \
             library. Is a tumour malignant, is the question.",
            self.model, self.python.versions
        ));
        for line in self.python.run("ana", python::TRAIN, &[self.model.as_str()]).await? {
            answer(&line);
        }
        Ok(())
    }

    /// What others registered is shown as if it were on record, and nothing is written for that.
    async fn opened_and_nothing_written(&mut self) -> Result<()> {
        chapter("Opened, and nothing written");
        self.opened = self.registry.clock().now();
        let state = self.registry.model(&self.model).await?;
        say(&format!(
            "The registry is opened on the server. It shows {}:",
            page::count(state.versions().count(), "version")
        ));
        for version in state.versions() {
            answer(&found(version));
        }
        let live = self.registry.get(&self.model, &Selector::PRODUCTION).await?;
        let signature = live.content.signature.as_ref();
        let columns: Vec<&str> = signature
            .and_then(|signature| signature.inputs())
            .map(|inputs| inputs.fields().iter().filter_map(|field| field.name.as_deref()).collect())
            .unwrap_or_default();
        say(&format!(
            "{} is in production, for the alias says so. Its signature asks for {}: {}, …",
            live.version,
            page::count(columns.len(), "column"),
            columns.iter().take(3).copied().collect::<Vec<_>>().join(", ")
        ));
        let commits = self.registry.log(&self.model, Revision::FIRST, 1).await?.len();
        say(&format!("Its log has {}.", page::count(commits, "commit")));
        Ok(())
    }

    /// The first write adopts what is there.
    async fn a_rule_for_production(&self) -> Result<()> {
        chapter("A rule for production");
        let people = [&self.ana, &self.bo, &self.chen];
        let rule = ApprovalRule {
            approvers: people.into_iter().map(|by| by.actor.clone()).collect(),
            quorum: 2.try_into()?,
            ..ApprovalRule::default()
        };
        let by = self.chen.because("four eyes before production".parse()?);
        let scope = Scope::Model(self.model.clone());
        let rule = StageRule { approval: Some(rule), ..StageRule::default() };
        self.registry.set_stage_rule(&by, &scope, Stage::Production, Some(rule)).await?;
        say("Chen asks for four eyes: two of ana, bo and chen must approve before a version enters \
             production, and whoever registered it does not count. With this first write the log begins, and it \
             begins with what was found:");
        self.commits_from(Revision::FIRST).await
    }

    async fn a_promotion_with_approval(&self) -> Result<()> {
        chapter("A promotion, with approval");
        let version = Version::new(2, 0, 0);
        let options = PromoteOptions::default();
        self.registry.promote(&self.dana, &self.model, &version, Stage::Staging, options).await?;
        let files = self.registry.get(&self.model, &Selector::Version(version.clone())).await?;
        say(&format!(
            "Dana moves {version} to staging. Its files stay where MLflow put them, but their digests are on \
             record now: {}, read as a whole for that.",
            page::count(files.content.artifacts.len(), "file")
        ));
        let by = self.dana.because("more accurate on tumours that it never saw".parse()?);
        let asked = self.registry.promote(&by, &self.model, &version, Stage::Production, options).await?;
        if let Promotion::Pending { approvals_missing, .. } = asked {
            let missing = page::count(usize::try_from(approvals_missing)?, "approval");
            say(&format!("Dana asks for production. The request waits for {missing}."));
        }
        self.approve(&self.ana, &version, "it is mine").await?;
        self.approve(&self.bo, &version, "checked the errors it makes").await?;
        self.approve(&self.chen, &version, "so did I").await?;
        say("Whoever looks at MLflow sees it there:");
        self.what_mlflow_shows().await
    }

    /// MLflow lets anybody who may write move anything. So it is seen, and not prevented.
    async fn past_the_rules(&self) -> Result<()> {
        chapter("Past the rules");
        say("Somebody takes the newest version for the best one, and moves the alias in Python:");
        let arguments = [self.model.as_str(), Stage::Production.as_str(), "3"];
        for line in self.python.run("somebody", python::MOVE_ALIAS, &arguments).await? {
            answer(&line);
        }
        let live = self.registry.get(&self.model, &Selector::PRODUCTION).await?;
        let accuracy = metric(live.state(), "accuracy");
        say(&format!(
            "Services load it from now on, so the registry does not say otherwise: {} is in production, with \
             an accuracy of {accuracy}. But it does not hide how that came about:",
            live.version
        ));
        let Some(drift) = self.registry.drift(&self.model).await? else {
            return Err("this registry shares its models with nobody".into());
        };
        for foreign in drift.changes() {
            let who = foreign.by.as_ref().map_or("somebody", |by| by.as_str());
            let what = match &foreign.change {
                ForeignChange::Staged { version, to } => format!("moved {version} to {to}"),
                other => format!("{other:?}"),
            };
            answer(&format!("drift: {who} {what} in {}, past the registry", drift.system()));
        }
        let by = self.chen.because("seen in the morning; nobody owns up to it".parse()?);
        if let Some(receipt) = self.registry.reconcile(&by, &self.model).await? {
            say("Chen takes it into the record, where it stays:");
            self.commits_from(receipt.state.revision().unwrap_or(Revision::FIRST)).await?;
        }
        Ok(())
    }

    async fn back_in_one_call(&self) -> Result<()> {
        chapter("Back, in one call");
        let by = self.bo.because("takes many healthy patients for ill".parse()?);
        let rollback = self.registry.rollback(&by, &self.model, None, false).await?;
        say(&format!(
            "Bo rolls back. {} is in production again, after its bytes were read and compared with the record; \
             {} is archived and quarantined. MLflow shows that, too:",
            rollback.to, rollback.from
        ));
        self.what_mlflow_shows().await?;
        let options = PromoteOptions::default();
        let again =
            self.registry.promote(&self.dana, &self.model, &rollback.from, Stage::Staging, options).await;
        show(&format!("Dana tries to bring {} back to staging", rollback.from), again.err());
        Ok(())
    }

    /// Every stretch of time, who began it, and on what evidence.
    async fn what_was_in_production_when(&self) -> Result<()> {
        chapter("What was in production when?");
        let state = self.registry.model(&self.model).await?;
        for span in state.production_spans() {
            let until = span.until.map_or("now".to_owned(), page::time);
            say(&format!("{}, from {} to {until}", span.version, page::time(span.since.at)));
            let commits = self.registry.log(&self.model, span.since.revision, 1).await?;
            if let Some(entered) = commits.first() {
                let commit = &entered.commit;
                answer(&format!("put there {}", page::put_there(commit)));
                let digest: String = entered.digest.hex().chars().take(12).collect();
                answer(&format!("commit {}, digest {digest}…", commit.revision));
            }
            if let Some(version) = state.version(&span.version) {
                let files = page::count(version.content.artifacts.len(), "file");
                answer(&format!("accuracy {}; {files} on record", metric(version, "accuracy")));
            }
        }
        let then = Selector::ProductionAt(self.opened);
        let before = self.registry.get(&self.model, &then).await;
        show(&format!("Somebody asks for {then}, a moment before the log began"), before.err());

        let options = VerifyOptions { bytes: true, ..VerifyOptions::default() };
        let checked = self.registry.verify(&self.model, options).await?;
        say(&format!(
            "Verified just now: {} and {} with {} bytes, read from where MLflow keeps them. {}.",
            page::count(usize::try_from(checked.commits)?, "commit"),
            page::count(usize::try_from(checked.files)?, "file"),
            checked.bytes,
            if checked.is_sound() { "Nothing is wrong" } else { "SOMETHING IS WRONG" }
        ));
        for problem in &checked.problems {
            answer(&problem.to_string());
        }
        Ok(())
    }

    async fn the_record(&self) -> Result<()> {
        chapter("The record");
        self.commits_from(Revision::FIRST).await
    }

    /// A Python program that was written before, and is as it was.
    async fn a_service_that_knows_only_mlflow(&self) -> Result<()> {
        chapter("A service that knows only MLflow");
        say("It loads what is in production as it always did, by alias or by stage:");
        for line in self.python.run("service", python::SERVE, &[self.model.as_str()]).await? {
            answer(&line);
        }
        Ok(())
    }
}

/// What the chapters have in common.
impl Story {
    async fn approve(&self, by: &By, version: &Version, comment: &str) -> Result<()> {
        let comment = Some(comment.parse()?);
        let who = page::name(by);
        match self.registry.approve(by, &self.model, version, None, None, comment).await {
            Err(registry_core::Error::Rejected(reason)) => {
                show(&format!("{who} tries to approve"), Some(reason));
            }
            Err(other) => return Err(other.into()),
            Ok(Promotion::Pending { approvals_missing, .. }) => {
                say(&format!("{who} approves; {approvals_missing} more to go."));
            }
            Ok(Promotion::Done { superseded, .. }) => {
                let room = superseded.map_or(String::new(), |old| format!("; {old} is archived"));
                say(&format!("{who} approves, and in the same commit {version} enters production{room}."));
            }
        }
        Ok(())
    }

    async fn commits_from(&self, from: Revision) -> Result<()> {
        for recorded in self.registry.log(&self.model, from, 1_000).await? {
            page::commit(&recorded.commit);
        }
        Ok(())
    }

    async fn what_mlflow_shows(&self) -> Result<()> {
        for line in self.python.run("nobody", python::LOOK, &[self.model.as_str()]).await? {
            answer(&line);
        }
        Ok(())
    }
}

/// A version as it was found.
fn found(version: &VersionState) -> String {
    let content = &version.content;
    let number = content.metadata.extra.get("mlflow.version").map(ToString::to_string).unwrap_or_default();
    let framework = content.metadata.framework.as_ref().map(ToString::to_string).unwrap_or_default();
    format!(
        "{}: version {number} in MLflow, by {}, {framework}; accuracy {}, recall {}",
        version.version,
        version.registered.actor,
        metric(version, "accuracy"),
        metric(version, "recall")
    )
}

fn metric(version: &VersionState, name: &str) -> String {
    let found = version.content.metrics.iter().find(|(key, _)| key.as_str() == name);
    found.map_or("unknown".to_owned(), |(_, metric)| percent(metric.value.get()))
}
