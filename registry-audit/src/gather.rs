//! Why this exists: a report is made of what a registry holds, and nothing else. This is who reads it: log by log, once,
//! checking each link on the way, so that the report and the word on whether the record is sound rest on the same bytes.
//! What cannot be read is named in the report, which is made all the same: an auditor needs it most when something is wrong.

use std::collections::BTreeMap;

use registry_core::{
    Error, Event, ModelName, Registry, RegistryExt as _, Rejection, Revision, Stream, StreamKind, Timestamp,
    Verification, VerifyOptions,
};

use crate::fold::{Count, ModelFold, stamp};
use crate::policies::{ModelPolicies, PoliciesReport, PolicyFold};
use crate::range::AuditOptions;
use crate::report::{AUDIT_REPORT_FORMAT, AuditReport};
use crate::rulebook::RuleBook;

/// How many commits are read at once.
const PAGE: usize = 256;

/// What the record says: see [`AuditReport`]. Nothing is written.
pub async fn audit<R: Registry + ?Sized>(registry: &R, options: &AuditOptions) -> Result<AuditReport, Error> {
    let (mut rules, mut count) = (RuleBook::default(), Count::new(Stream::Registry));
    let found = registry.verify_reading(Stream::Registry, VerifyOptions::default(), |recorded| {
        count.take(recorded, options);
        take_rules(&mut rules, &recorded.commit, options.range.to());
    });
    let found = found.await?;
    let (row, mut flaws) = count.finish(&found);
    let mut population = Vec::new();
    if !is_empty(&found) {
        population.push(row);
    }
    let (mut overview, mut models) = (Vec::new(), Vec::new());
    for model in names(registry, options.model.as_ref()).await? {
        let mut fold = ModelFold::new(&model, options, &rules);
        let verify = VerifyOptions { bytes: options.bytes, ..VerifyOptions::default() };
        let log = registry.verify_reading(&model, verify, |recorded| fold.take(recorded)).await?;
        if is_empty(&log) && options.model.is_none() {
            // A registration that broke off, or that is under way.
            continue;
        }
        let health = Stream::Health(model.clone());
        let health = registry
            .verify_reading(health, VerifyOptions::default(), |recorded| fold.take_health(recorded))
            .await?;
        let mut gone = BTreeMap::new();
        for version in fold.deleted_versions() {
            let mut missing = 0_u64;
            for file in &version.content.artifacts {
                missing += u64::from(registry.artifacts().stat(&file.digest).await?.is_none());
            }
            gone.insert(version.version.clone(), missing);
        }
        let finished = fold.finish(&log, &health, &gone);
        overview.push(finished.overview);
        population.extend(finished.population.into_iter().filter(|row| row.commits != 0 || !row.is_sound));
        flaws.extend(finished.flaws);
        models.push(finished.report);
    }
    if options.model.is_none() {
        // What they say of a version is in its record too; here they are counted and checked.
        for log in registry.streams_of(StreamKind::Experiment).await? {
            let mut count = Count::new(log.clone());
            let verify = VerifyOptions { bytes: options.bytes, ..VerifyOptions::default() };
            let found =
                registry.verify_reading(&log, verify, |recorded| count.take(recorded, options)).await?;
            let (row, wrong) = count.finish(&found);
            population.extend(Some(row).filter(|_| !is_empty(&found)));
            flaws.extend(wrong);
        }
    }
    let mut policy_changes = std::mem::take(&mut rules.changes);
    policy_changes.retain(|row| options.range.contains(row.at));
    let oldest_commit = population.iter().filter_map(|row| row.first_at).min();
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    Ok(AuditReport {
        format: AUDIT_REPORT_FORMAT,
        as_of: options.as_of,
        scope: options.model.clone(),
        range: options.range,
        is_sound: flaws.is_empty(),
        with_bytes: options.bytes,
        commits: population.iter().fold(0_u64, |sum, row| sum.saturating_add(row.commits)),
        oldest_commit,
        days_kept: oldest_commit.map_or(0, |oldest| options.as_of.since(oldest).as_secs() / DAY_SECONDS),
        overview,
        population,
        flaws,
        policy_changes,
        models,
    })
}

fn take_rules(rules: &mut RuleBook, commit: &registry_core::Commit, to: Timestamp) {
    if to <= commit.time {
        return;
    }
    let stamp = stamp(commit);
    for event in &commit.events {
        if let Event::PolicyChanged { change } = event {
            rules.take(change, &stamp);
        }
    }
}

fn is_empty(found: &Verification) -> bool {
    found.commits == 0 && found.problems.is_empty()
}

/// The model that is asked for, which must be there; or all, in the order of their names.
async fn names<R: Registry + ?Sized>(
    registry: &R,
    only: Option<&ModelName>,
) -> Result<Vec<ModelName>, Error> {
    if let Some(model) = only {
        let log = Stream::from(model);
        let is_there = match registry.history(&log, Revision::FIRST, 1).await {
            Ok(first) => !first.is_empty(),
            // It is there, and something is wrong with it: that is for the report to say.
            Err(Error::CorruptLog(_)) => true,
            Err(other) => return Err(other),
        };
        return match is_there {
            true => Ok(vec![model.clone()]),
            false => Err(Rejection::ModelNotFound { model: model.clone() }.into()),
        };
    }
    let mut names = registry.all_models().await?;
    names.sort();
    Ok(names)
}

/// Which rules hold now, for all models and for each, or for one. Nothing is written.
pub async fn policies<R: Registry + ?Sized>(
    registry: &R,
    model: Option<&ModelName>,
) -> Result<PoliciesReport, Error> {
    let as_of = registry.clock().now();
    let general = policy_fold(registry, Stream::Registry).await?;
    let mut models = Vec::new();
    for name in names(registry, model).await? {
        let own = policy_fold(registry, Stream::Model(name.clone())).await?;
        if own.has_commits {
            models.push(ModelPolicies { rules: own.in_force(Some(&general)), model: name });
        }
    }
    Ok(PoliciesReport { as_of, registry: general.in_force(None), models })
}

/// Rules are only told from a log that is whole.
async fn policy_fold<R: Registry + ?Sized>(registry: &R, stream: Stream) -> Result<PolicyFold, Error> {
    let mut fold = PolicyFold::default();
    let mut next = Revision::FIRST;
    loop {
        let page = registry.history(&stream, next, PAGE).await?;
        for recorded in &page {
            fold.take(&recorded.commit);
            next = recorded.commit.revision.next();
        }
        if page.len() < PAGE {
            return Ok(fold);
        }
    }
}
