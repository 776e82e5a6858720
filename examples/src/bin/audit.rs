//! An audit: a model that is approved by the book, one that is put in past everybody, and what the auditor is told.
//!
//! ```console
//! cargo run -p registry-examples --bin audit
//! ```

use std::error::Error;

use bytes::Bytes;
use registry_audit::{AuditOptions, audit, policies};
use registry_core::{
    ApprovalRule, By, ModelName, PromoteOptions, Registration, Registry, RegistryExt as _, Scope, Stage,
    StageRule, Upload, Version, VersionChoice,
};
use registry_examples::describe;
use registry_examples::training::{self, TrainedModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = registry_core::in_memory();
    let model: ModelName = "tumour-diagnosis".parse()?;
    let (ana, bo) = (By::new("ana".parse()?), By::new("bo".parse()?));

    let rule = StageRule { approval: Some(ApprovalRule::default()), ..StageRule::default() };
    let by_the_book = bo.because("four eyes".parse()?);
    registry.set_stage_rule(&by_the_book, &Scope::Registry, Stage::Production, Some(rule)).await?;

    let first = stage(&registry, &ana, &model, &training::baseline()?).await?;
    registry.promote(&ana, &model, &first, Stage::Production, PromoteOptions::default()).await?;
    if let Err(refused) = registry.approve(&ana, &model, &first, None, None, None).await {
        println!("Ana approves her own work: {refused}.");
    }
    let (meaning, comment) = (Some("validation".parse()?), Some("tested in staging".parse()?));
    registry.approve(&bo, &model, &first, None, meaning, comment).await?;

    let second = stage(&registry, &ana, &model, &training::improved_same_inputs()?).await?;
    let at_night = ana.because("the first one misses small tumours, and nobody answers".parse()?);
    let options = PromoteOptions { emergency: true, ..PromoteOptions::default() };
    registry.promote(&at_night, &model, &second, Stage::Production, options).await?;

    let report = audit(&registry, &AuditOptions::new(registry.clock().now())).await?;
    println!(
        "\nThe record is {}; {} commits were read.",
        if report.is_sound { "sound" } else { "NOT SOUND" },
        report.commits
    );
    for found in &report.models {
        println!("\nIn production of {}:", found.model);
        for deployment in &found.deployments {
            let approvers: Vec<&str> = deployment.approved_by.iter().map(|actor| actor.as_str()).collect();
            println!(
                "   {} by {}, approved by [{}]",
                deployment.version,
                deployment.by,
                approvers.join(", ")
            );
        }
        println!("\nOut of the ordinary:");
        for exception in &found.exceptions {
            println!("   {}: {}", exception.kind.as_str(), exception.detail);
        }
        println!("\nCheckpoints that failed:");
        for checked in found.checkpoints.iter().filter(|checked| checked.result.as_str() == "failed") {
            println!("   {} {}: {}", checked.version, checked.checkpoint.as_str(), checked.evidence);
        }
    }
    println!("\nThe rule for production:");
    for rule in policies(&registry, Some(&model)).await?.models.iter().flat_map(|model| &model.rules) {
        if rule.subject == "production" {
            let set_by = rule.set_by.as_ref().map_or("nobody", |who| who.as_str());
            println!("   {}, from the {}, set by {set_by}", rule.rule, rule.source.as_str());
        }
    }
    let (page, tables) = (report.to_html(), report.to_csv());
    println!("\nAs a page it has {} bytes, and {} tables for spreadsheets.", page.len(), tables.len());
    Ok(())
}

/// Registers a model and moves it to staging.
async fn stage(
    registry: &impl Registry,
    by: &By,
    model: &ModelName,
    trained: &TrainedModel,
) -> Result<Version> {
    let bytes = Bytes::copy_from_slice(&trained.bytes);
    let upload = Upload { path: describe::MODEL_FILE.parse()?, source: &bytes };
    let registration = Registration::new(VersionChoice::Auto, describe::content(trained)?);
    let version = registry.register(by, model, registration, &[upload]).await?.version.version.clone();
    registry.promote(by, model, &version, Stage::Staging, PromoteOptions::default()).await?;
    Ok(version)
}
