//! Why this exists: writing into MLflow what the log says. Each step may be done twice, and by several at once:
//! what has no compare-and-set there (which run and which number a version has) is claimed in the log, and
//! everything else is written again by whoever finds that the log went on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{join, try_join};
use futures_util::{StreamExt as _, TryStreamExt as _};

use registry_core::storage::{StorageError, StorageErrorKind};
use registry_core::{
    Clock as _, Digest, IdSource as _, Key, ModelName, ModelState, Stage, Stream, SystemClock, SystemIds,
    Timestamp, Version, VersionState,
};
use serde_json::Value;

use super::files::FOLDER;
use super::items::{Item, our_tags};
use super::numbers::Claimed;
use super::read::{SHOWING, SHOWN, Seen, Snapshot, shown_to, shown_version};
use super::shown::{IDENTITY, MADE, ShownModel, ShownVersion, VERSION, identity, is_users, native};
use super::{MlflowMirror, failed, revision_of};
use crate::rest::{Kind, Pair, RestError};

/// How often what was written is found out of date before it is left to others.
const ROUNDS_MAX: u32 = 50;
/// After how long the note of one who is writing is taken for a dead one's, in microseconds: longer than any
/// projection may take.
const SHOWING_MAX_US: i64 = 10 * 60 * 1_000_000;
/// For how long, in microseconds, one who has begun to write is taken to be alive and at it.
const AT_IT_MAX_US: u64 = 3_000_000;
/// After how long a note is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(60);
/// How many notes that are done with may lie about.
const DONE_MAX: usize = 16;
/// How long, at first and at most, and how often those are waited for.
const WAIT_FIRST: Duration = Duration::from_millis(150);
const WAIT_MAX: Duration = Duration::from_secs(1);
const WAITS_MAX: u32 = 12;
/// The most characters of a parameter; more would be cut off without a word.
pub(super) const PARAM_CHARS_MAX: usize = 6_000;
/// How many tags are written at once.
const TAGS_AT_ONCE: usize = 4;
/// How many are written with one request.
const BATCH: usize = 100;

fn key_of(version: &Version) -> String {
    Digest::of(version.to_string().as_bytes()).hex().chars().take(32).collect()
}

/// The claim of the number of a version. A version that others deleted in MLflow, and that was brought back here,
/// gets another number: each time it is made there is a turn.
fn number_claim(version: &Version, turn: u32) -> String {
    format!("number.{}{}", key_of(version), turn_of(turn))
}

/// The claim of its run.
fn run_claim(version: &Version, turn: u32) -> String {
    format!("run.{}{}", key_of(version), turn_of(turn))
}

fn turn_of(turn: u32) -> String {
    if turn == 0 { String::new() } else { format!(".{turn}") }
}

/// The runs that were claimed for a version, whenever it was made.
pub(super) fn claimed_runs<'a>(
    claims: &'a BTreeMap<String, String>,
    version: &Version,
) -> impl Iterator<Item = &'a String> {
    (0..TURNS_MAX).map_while(move |turn| claims.get(&run_claim(version, turn)))
}

/// Since when somebody writes, by the note of it; none if it is done with.
fn since(note: &str) -> Option<i64> {
    note.split(' ').nth(1)?.parse().ok()
}

/// How often a version is made anew at most.
const TURNS_MAX: u32 = 1_000;

/// What was claimed for a version when it was last made.
pub(super) fn claimed(claims: &BTreeMap<String, String>, version: &Version) -> Option<Claimed> {
    let claim = |turn| {
        let number = claims.get(&number_claim(version, turn))?.parse().ok()?;
        Some(Claimed { turn, number, run: claims.get(&run_claim(version, turn)).cloned() })
    };
    (0..TURNS_MAX).map_while(claim).last()
}

impl MlflowMirror {
    /// Brings what MLflow shows in line with the log, from this state on.
    pub(super) async fn show(&self, model: &ModelName, state: Arc<ModelState>) -> Result<(), StorageError> {
        let stream = Stream::from(model);
        let mut state = state;
        let mut announced: Option<String> = None;
        let mut waited = false;
        let mut just_seen = self.just_seen(model, &state);
        for _ in 0..ROUNDS_MAX {
            if state.revision().is_none() {
                return Ok(());
            }
            self.remember(model, &state);
            let (snapshot, is_old) = match just_seen.take() {
                Some(snapshot) => (snapshot, true),
                None => (self.see(model, &state).await?, false),
            };
            let mut seen = self.compare(model, &state, snapshot.clone()).await?;
            // What is taken for somebody else's is left alone, and must not be a half of what one of us writes.
            if seen.has_foreign() && !self.is_calm(model, &seen.notes).await? {
                continue;
            }
            if !seen.is_finished() {
                // What others changed since that look must not be written over.
                if is_old && !self.still_shows(model, &snapshot).await? {
                    continue;
                }
                // Whoever is at it looks at the log again when it is done, and so writes this, too.
                if announced.is_none() && !waited && self.others_are_at_it(&seen.notes) {
                    waited = true;
                    if self.wait_for_others(&stream, &state).await? {
                        return Ok(());
                    }
                    continue;
                }
                let key = match announced.take() {
                    Some(key) => key,
                    None => self.announce(&stream, None, None, &seen).await?,
                };
                let written = self.write(model, &stream, &state, &mut seen, snapshot, &key).await;
                announced = Some(key);
                written?;
            }
            self.keep_numbers(model, &seen.shown, &seen.numbers);
            let newer = self.newer(&stream, &state).await?;
            if newer.is_empty() {
                return self.finish(&stream, &state, &seen, announced).await;
            }
            if let Some(key) = &announced {
                // Those who wait for it see that this one is at it still, and how far it is.
                self.announce(&stream, Some(key), Some(&state), &seen).await?;
            }
            let mut next = (*state).clone();
            for (commit, digest) in &newer {
                next.apply(commit, *digest);
                self.remember(model, &Arc::new(next.clone()));
            }
            state = Arc::new(next);
        }
        let problem = format!("others kept changing `{model}` while it was shown in MLflow");
        Err(StorageError::new(StorageErrorKind::NotDone, problem))
    }

    /// Notes that we write, and since when; under a name that nobody has used, so that a note that is done with can
    /// be taken away by anybody. Or renews a note, with the state that is shown by now.
    ///
    /// Notes of those who are long dead are taken back with it: what they may have written stems from no earlier
    /// revision than the one that is noted now.
    async fn announce(
        &self,
        stream: &Stream,
        key: Option<&str>,
        shown: Option<&ModelState>,
        seen: &Seen,
    ) -> Result<String, StorageError> {
        let fresh = || {
            let number = self.announced.fetch_add(1, Ordering::Relaxed);
            format!("{SHOWING}{}.{number}", self.id)
        };
        let key = key.map_or_else(fresh, str::to_owned);
        let now = SystemClock.now().microseconds();
        let mut notes = vec![Pair::new(key.as_str(), format!("{} {now}", seen.base))];
        notes.extend(shown.map(|state| Pair::new(SHOWN, revision_of(state).to_string())));
        let is_dead =
            |note: &str| since(note).is_some_and(|since| SHOWING_MAX_US < now.saturating_sub(since));
        let others = seen.notes.iter().filter(|(other, _)| other.starts_with(SHOWING) && **other != key);
        notes.extend(others.filter(|(_, note)| is_dead(note)).map(|(other, _)| Pair::new(other.clone(), "")));
        self.log.note(stream, &notes).await?;
        Ok(key)
    }

    /// Whether another process has just begun to write.
    fn others_are_at_it(&self, notes: &BTreeMap<String, String>) -> bool {
        let now = SystemClock.now().microseconds();
        // By a clock that goes far ahead of ours nobody has just begun.
        let is_now = |since: i64| now.abs_diff(since) < AT_IT_MAX_US;
        let ours = format!("{SHOWING}{}.", self.id);
        let others = notes.iter().filter(|(key, _)| key.starts_with(SHOWING) && !key.starts_with(&ours));
        others.filter_map(|(_, value)| since(value)).any(is_now)
    }

    /// Waits until another process has shown what this state says; says whether one has. One that died is not
    /// waited for long.
    async fn wait_for_others(&self, stream: &Stream, state: &ModelState) -> Result<bool, StorageError> {
        let mut wait = WAIT_FIRST;
        for _ in 0..WAITS_MAX {
            // Those who wait do not ask all at once.
            let jitter = u32::try_from(SystemIds.next_id() % 100).unwrap_or(0);
            SystemClock.sleep(wait.saturating_add(wait / 100 * jitter)).await;
            wait = wait.saturating_mul(2).min(WAIT_MAX);
            let notes = self.log.notes(stream).await?.unwrap_or_default();
            if shown_to(&notes).is_some_and(|shown| revision_of(state) <= shown) {
                return Ok(true);
            }
            if !self.others_are_at_it(&notes) {
                break;
            }
        }
        Ok(false)
    }

    /// Notes how far what is shown goes, and that nobody here is writing any more.
    async fn finish(
        &self,
        stream: &Stream,
        state: &ModelState,
        seen: &Seen,
        announced: Option<String>,
    ) -> Result<(), StorageError> {
        let revision = revision_of(state).to_string();
        let mut notes = Vec::new();
        if seen.notes.get(SHOWN) != Some(&revision) {
            notes.push(Pair::new(SHOWN, revision));
        }
        notes.extend(announced.map(|key| Pair::new(key, "")));
        let showing = || seen.notes.iter().filter(|(key, _)| key.starts_with(SHOWING));
        if !notes.is_empty() {
            self.log.note(stream, &notes).await?;
        }
        let done: Vec<String> =
            showing().filter(|(_, value)| value.is_empty()).map(|(key, _)| key.clone()).collect();
        // They come with every look at the notes; taking them away costs a request each.
        if DONE_MAX < done.len() { self.log.forget_notes(stream, &done).await } else { Ok(()) }
    }

    /// Removes versions that were made twice, but for the one whose number is claimed; if none is yet, it is now.
    async fn drop_doubles(
        &self,
        model: &ModelName,
        stream: &Stream,
        seen: &mut Seen,
    ) -> Result<(), StorageError> {
        let doubles = std::mem::take(&mut seen.numbers.doubles);
        if doubles.is_empty() {
            return Ok(());
        }
        let claims = self.log.claims(stream).await?;
        for (number, version) in doubles {
            let Some(known) = seen.numbers.known.get(&version) else { continue };
            let run = seen.shown.versions.get(&number).and_then(|found| found.run_id.as_ref());
            let turn = (0..TURNS_MAX).find(|turn| claims.get(&run_claim(&version, *turn)) == run);
            let claim = number_claim(&version, turn.unwrap_or(0));
            let standing = self.log.claim(stream, &claim, &known.to_string()).await?;
            // Whoever made the one that is claimed may not have looked yet; the next look puts that right.
            if standing != number.to_string() {
                let dropped = self.server.delete_model_version(&self.name(model), number).await;
                dropped.map_err(failed("removing a version that was made twice"))?;
            }
            seen.shown.versions.remove(&number);
        }
        Ok(())
    }

    /// Makes the versions that are missing. If one cannot be made, the others are; the first failure is given back.
    async fn make(&self, model: &ModelName, state: &ModelState, seen: &mut Seen) -> Result<(), StorageError> {
        let mut first = None;
        for version in std::mem::take(&mut seen.missing) {
            let Some(found) = state.version(&version) else { continue };
            match self.create(model, state, found, &seen.shown).await {
                Ok(shown) => drop(seen.shown.versions.insert(shown.number, shown)),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn write(
        &self,
        model: &ModelName,
        stream: &Stream,
        state: &Arc<ModelState>,
        seen: &mut Seen,
        snapshot: Snapshot,
        note: &str,
    ) -> Result<(), StorageError> {
        let name = &self.name(model);
        let begun = SystemClock.now();
        if !seen.is_there {
            let made = self.server.create_registered_model(name).await;
            made.map_err(failed("making the registered model"))?;
        }
        let mut made = Ok(());
        if !seen.missing.is_empty() || !seen.numbers.doubles.is_empty() {
            self.drop_doubles(model, stream, seen).await?;
            made = self.make(model, state, seen).await;
            if RENEW_AFTER < SystemClock.now().since(begun) {
                // Files may take their time, and who takes longest must not be taken for dead.
                self.announce(stream, Some(note), None, seen).await?;
            }
            *seen = self.compare(model, state, snapshot.with(seen.shown.clone())).await?;
        }
        let mut items: Vec<(Item, Option<String>)> =
            seen.differences.unfinished.clone().into_iter().collect();
        // Those that leave production go before the one that enters it.
        let enters = |value: &Option<String>| value.as_deref() == Some(native(Stage::Production));
        items.sort_by_key(|(item, value)| {
            (matches!(item, Item::Stage(_)) && enters(value), matches!(item, Item::Alias(_)))
        });
        let (tags, moves): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|(item, _)| matches!(item, Item::VersionTag(..) | Item::ModelTag(_)));
        let moves = async {
            for (item, value) in moves {
                self.write_item(name, &item, value.as_deref()).await?;
            }
            Ok(())
        };
        let tags = futures_util::stream::iter(tags)
            .map(|(item, value)| async move { self.write_item(name, &item, value.as_deref()).await })
            .buffer_unordered(TAGS_AT_ONCE)
            .try_collect::<()>();
        let written = try_join(moves, tags).await;
        written.map_err(failed("showing in MLflow what the log says"))?;
        made
    }

    async fn write_item(&self, name: &str, item: &Item, value: Option<&str>) -> Result<(), RestError> {
        const CONFLICTS_MAX: u32 = 8;
        let mut last = RestError::new(Kind::Conflict, "others were in the way");
        for _ in 0..CONFLICTS_MAX {
            let written = match item {
                Item::ModelDescription => self.server.describe_model(name, value.unwrap_or_default()).await,
                Item::ModelTag(key) => self.server.tag_model(name, key, value).await,
                Item::Stage(number) => {
                    let stage = value.unwrap_or(native(Stage::Development));
                    self.server.set_native_stage(name, *number, stage).await
                }
                Item::Alias(alias) => {
                    let number = value.and_then(|value| value.parse().ok());
                    self.server.set_model_alias(name, alias, number).await
                }
                Item::VersionDescription(number) => {
                    self.server.describe_version(name, *number, value.unwrap_or_default()).await
                }
                Item::VersionTag(number, key) => self.server.tag_version(name, *number, key, value).await,
            };
            match written {
                // Of several who write a new tag or alias at once, the database refuses some.
                Err(error) if error.kind == Kind::Conflict => last = error,
                // Somebody deleted it in between; the next look finds that.
                Err(error) if error.kind == Kind::NotFound => return Ok(()),
                done => return done,
            }
        }
        Err(last)
    }

    /// Makes a version, with a run of its own.
    async fn create(
        &self,
        model: &ModelName,
        state: &ModelState,
        version: &VersionState,
        shown: &ShownModel,
    ) -> Result<ShownVersion, StorageError> {
        let stream = Stream::from(model);
        let claims = self.log.claims(&stream).await?;
        let turn = match claimed(&claims, &version.version) {
            None => 0,
            Some(claim) => {
                let is_it = |found: &ShownVersion| found.run_id == claim.run;
                let mut found = shown.versions.get(&claim.number).cloned().filter(is_it);
                if found.is_none() {
                    // Another may have made it since we looked.
                    let asked = self.server.model_version(&self.name(model), claim.number).await;
                    let asked = asked.map_err(failed("looking for a version"))?;
                    found = asked.map(shown_version).filter(is_it);
                }
                match found {
                    Some(found) => return Ok(found),
                    // It was there once, and others deleted it.
                    None => claim.turn + 1,
                }
            }
        };
        let (run_id, uri) = self.run_of(model, version, turn, claims).await?;
        self.put_files(version, &uri).await?;
        let source = format!("{}/{FOLDER}", uri.trim_end_matches('/'));
        let description = version.content.description.as_ref().map_or("", |text| text.as_str());
        let users = version.content.tags.iter().filter(|(key, _)| is_users(key.as_str()));
        let mut tags: Vec<Pair> = users
            .map(|(key, value)| Pair::new(key.as_str(), value.clone()))
            .chain(our_tags(state, version).into_iter().map(|(key, value)| Pair::new(key, value)))
            .chain([Pair::new(MADE, format!("{:032x}", SystemIds.next_id()))])
            .collect();
        let doing = failed("making a version in MLflow");
        let name = self.name(model);
        let made = self.server.create_model_version(&name, &source, &run_id, description, &tags);
        let made = made.await.map_err(doing)?;
        let claimed =
            self.log.claim(&stream, &number_claim(&version.version, turn), &made.to_string()).await?;
        let number: u64 = claimed.parse().unwrap_or(made);
        if number == made {
            // Only now is it known which one it is. If it cannot be told, the next look does from what was claimed.
            let identity = identity(&version.version, number);
            let tag = Item::VersionTag(number, IDENTITY.to_owned());
            if self.write_item(&name, &tag, Some(&identity)).await.is_ok() {
                tags.push(Pair::new(IDENTITY, identity));
            }
        } else {
            let dropped = self.server.delete_model_version(&name, made).await;
            dropped.map_err(failed("removing a version that was made twice"))?;
        }
        Ok(ShownVersion {
            number,
            stage: Stage::Development,
            description: description.to_owned(),
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            source,
            run_id: Some(run_id),
            // When that was matters to nobody; that it was not moved since does.
            created: Some(Timestamp::EPOCH),
            updated: Some(Timestamp::EPOCH),
        })
    }

    /// The run that was claimed for a version, and where its files are; made if there is none.
    async fn run_of(
        &self,
        model: &ModelName,
        version: &VersionState,
        turn: u32,
        mut claims: BTreeMap<String, String>,
    ) -> Result<(String, String), StorageError> {
        let doing = "making the run of a version";
        let stream = &Stream::from(model);
        let claim = run_claim(&version.version, turn);
        if let Some(run) = claims.remove(&claim) {
            return self.with_place(run).await;
        }
        let Some(experiment) = self.experiment_of(model).await? else {
            let problem = format!("the experiment of {stream} is gone");
            return Err(StorageError::new(StorageErrorKind::Corrupt, problem));
        };
        let at = version.registered.at.microseconds() / 1_000;
        let name = version.version.to_string();
        let tags = [Pair::new(VERSION, name.as_str())];
        let made = self.server.create_run(&experiment, &name, at, &tags).await.map_err(failed(doing))?;
        let run = made.run_id;
        let metadata = &version.content.metadata;
        let params: Vec<Pair> = metadata
            .hyperparameters
            .iter()
            .filter(|(key, _)| key.parse::<Key>().is_ok())
            .map(|(key, value)| {
                let text = parameter(value);
                Pair::new(key.as_str(), text.chars().take(PARAM_CHARS_MAX).collect::<String>())
            })
            .collect();
        for batch in params.chunks(BATCH) {
            self.server.log_batch(&run, batch, &[]).await.map_err(failed(doing))?;
        }
        let metrics: Vec<(&str, f64)> =
            version.content.metrics.iter().map(|(key, metric)| (key.as_str(), metric.value.get())).collect();
        for batch in metrics.chunks(BATCH) {
            self.server.log_metrics(&run, batch, at).await.map_err(failed(doing))?;
        }
        // If the run cannot be ended, MLflow's pages show it as going on, and that is all.
        let (_, standing) =
            join(self.server.finish_run(&run, at), self.log.claim(stream, &claim, &run)).await;
        let standing = standing?;
        if standing != run {
            let _ = self.server.delete_run(&run).await;
            return self.with_place(standing).await;
        }
        Ok((run, made.artifact_uri))
    }

    /// A run, and where its files are.
    async fn with_place(&self, run_id: String) -> Result<(String, String), StorageError> {
        let run = self.server.run(&run_id).await.map_err(failed("reading the run of a version"))?;
        Ok((run_id, run.map(|run| run.info.artifact_uri).unwrap_or_default()))
    }
}

/// A hyperparameter as MLflow keeps it.
pub(super) fn parameter(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
