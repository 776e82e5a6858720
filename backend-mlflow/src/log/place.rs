//! Why this exists: where in MLflow a log is. What is found out about that never changes, so it is asked for
//! once and kept: which run is the head, which runs have its segments. How these runs are chosen when
//! several writers make them at once is here too.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{join, join_all, join3};
use registry_core::storage::{StorageError, StorageErrorKind};
use registry_core::{Clock as _, Stream, SystemClock, Term};

use super::name::{ELECTED, FORMAT, HEAD, KEY, KIND, NOTE, ROLE, STREAM};
use super::{LAYOUT, MlflowLog, corrupt};
use crate::rest::{Experiment, Kind, Pair, RestError, Run};

/// How many terms and how many absent streams are remembered. Forgetting costs a request, not more.
const REMEMBERED_MAX: usize = 10_000;
/// How much of a run's name is written; databases keep 250 characters.
const RUN_NAME_CHARS: usize = 200;

/// What a run that is not a head is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// It holds commits.
    Segment,
    /// It makes the stream findable by terms.
    Terms,
    /// It holds what was claimed for the stream.
    Claims,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Role::Segment => "segment",
            Role::Terms => "terms",
            Role::Claims => "claims",
        }
    }

    const ALL: [Role; 3] = [Role::Segment, Role::Terms, Role::Claims];

    /// The head's parameter that says which run it is.
    fn param(self, number: u64) -> String {
        format!("{}.{number}", self.as_str())
    }
}

/// Where a log is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) head: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    runs: BTreeMap<(Role, u64), String>,
    /// Whether the head says of itself that it was chosen.
    elected: bool,
    /// Those that the stream is surely found by.
    terms: HashSet<Term>,
    /// What the head said last about the whole checkpoint, for whoever asks next.
    whole: Option<Option<String>>,
}

impl Place {
    fn new(head: String) -> Self {
        Place { head, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run(&self, role: Role, number: u64) -> Option<String> {
        self.known().runs.get(&(role, number)).cloned()
    }

    /// The segments that are known from a number on, at most so many.
    pub(super) fn segments(&self, from: u64, most: usize) -> Vec<(u64, String)> {
        let known = self.known();
        (from..)
            .map_while(|number| Some((number, known.runs.get(&(Role::Segment, number))?.clone())))
            .take(most)
            .collect()
    }

    /// Those of these terms that are not known to find the stream.
    pub(super) fn missing<'a>(&self, terms: &'a [Term]) -> Vec<&'a Term> {
        let known = self.known();
        terms.iter().filter(|term| !known.terms.contains(*term)).collect()
    }

    pub(super) fn found_by(&self, terms: &[&Term]) {
        let mut known = self.known();
        if REMEMBERED_MAX < known.terms.len() {
            known.terms.clear();
        }
        known.terms.extend(terms.iter().map(|term| (*term).clone()));
    }

    /// Forgets that the stream is found by these.
    pub(super) fn not_found_by(&self, terms: &[Term]) {
        let mut known = self.known();
        for term in terms {
            known.terms.remove(term);
        }
    }

    /// The last number of a role that is known.
    pub(super) fn last(&self, role: Role) -> Option<u64> {
        let known = self.known();
        known.runs.range((role, 0)..=(role, u64::MAX)).next_back().map(|((_, number), _)| *number)
    }

    pub(super) fn is_elected(&self) -> bool {
        self.known().elected
    }

    /// Keeps what the head said about the whole checkpoint, or takes it back.
    pub(super) fn keep_whole(&self, value: Option<String>) {
        self.known().whole = Some(value);
    }

    pub(super) fn take_whole(&self) -> Option<Option<String>> {
        self.known().whole.take()
    }
}

/// How a run is brought back.
pub(super) fn restore_run(run: &str) -> String {
    format!("restore it with `mlflow.MlflowClient().restore_run({run:?})`")
}

fn restore_experiment(experiment: &Experiment) -> String {
    format!("restore it with `mlflow experiments restore --experiment-id {}`", experiment.experiment_id)
}

/// The time of now as MLflow writes it.
fn now_ms() -> i64 {
    SystemClock.now().microseconds() / 1_000
}

impl MlflowLog {
    /// Where a stream's log is, if it is there.
    pub(super) async fn find(&self, stream: &Stream) -> Result<Option<Arc<Place>>, StorageError> {
        if let Some(place) = self.known_or_asked(stream).await? {
            return Ok(Some(place));
        }
        // Whether it was there once is asked the first time only, and before it is made.
        if !self.absent().contains(stream) {
            if self.has_lost_head(stream).await? {
                return self.look_up(stream).await?.map(Some).ok_or_else(|| self.lost(stream));
            }
            let mut absent = self.absent();
            if REMEMBERED_MAX < absent.len() {
                absent.clear();
            }
            absent.insert(stream.clone());
        }
        Ok(None)
    }

    /// The same, without a look for a log whose experiment is gone.
    pub(super) async fn known_or_asked(&self, stream: &Stream) -> Result<Option<Arc<Place>>, StorageError> {
        if let Some(place) = self.places().get(stream) {
            return Ok(Some(Arc::clone(place)));
        }
        self.look_up(stream).await
    }

    /// Asks for the experiment of a stream.
    async fn look_up(&self, stream: &Stream) -> Result<Option<Arc<Place>>, StorageError> {
        let name = self.names.stream(stream);
        let asked = self.server.experiment(&name).await;
        let found =
            asked.map_err(|error| error.failed(format_args!("looking for the experiment `{name}`")))?;
        let Some(experiment) = found else { return Ok(None) };
        check_experiment(&experiment, &name)?;
        if experiment.tag(STREAM) != Some(stream.to_string().as_str()) {
            return Err(corrupt(format!(
                "the experiment `{name}` should hold the log of {stream}, but its tag `{STREAM}` says {:?}",
                experiment.tag(STREAM).unwrap_or_default()
            )));
        }
        let head = experiment.tag(HEAD).filter(|head| !head.is_empty()).ok_or_else(|| {
            corrupt(format!("the experiment `{name}` has lost its tag `{HEAD}`, which says where its log is"))
        })?;
        let place = Arc::new(Place::new(head.to_owned()));
        Ok(Some(self.keep(stream, place)))
    }

    /// The place that was kept first stays.
    fn keep(&self, stream: &Stream, place: Arc<Place>) -> Arc<Place> {
        let mut places = self.places();
        if let Some(kept) = places.get(stream).filter(|kept| kept.head == place.head) {
            return Arc::clone(kept);
        }
        places.push(stream.clone(), Arc::clone(&place));
        place
    }

    /// Whether a run says that it was chosen as the head of a stream. Asked when the stream's experiment is
    /// not there: then it was deleted for good, or renamed.
    async fn has_lost_head(&self, stream: &Stream) -> Result<bool, StorageError> {
        let Some(runs) = self.runs_experiment(false).await? else { return Ok(false) };
        let key = self.names.stream(stream);
        let filter = format!("tags.`{KEY}` = '{key}' AND tags.`{ELECTED}` = '1'");
        let searched = self.server.search_runs(&runs, &filter, None).await;
        let (found, _) =
            searched.map_err(|error| error.failed(format_args!("looking for runs of {stream}")))?;
        Ok(!found.is_empty())
    }

    fn lost(&self, stream: &Stream) -> StorageError {
        let name = self.names.stream(stream);
        corrupt(format!(
            "there is a log of {stream}, but the experiment `{name}` that leads to it is not there: it was \
             renamed (give it its name back) or deleted for good. No new log is begun in its place"
        ))
    }

    /// The experiment that holds the runs of all logs; made if it is not there and that is wanted.
    pub(super) async fn runs_experiment(&self, make: bool) -> Result<Option<String>, StorageError> {
        let kept = || self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = kept().clone() {
            return Ok(Some(id));
        }
        let name = self.names.runs();
        let look = || async {
            let asked = self.server.experiment(name).await;
            let found =
                asked.map_err(|error| error.failed(format_args!("looking for the experiment `{name}`")))?;
            let Some(experiment) = found else { return Ok(None) };
            check_experiment(&experiment, name)?;
            Ok(Some(experiment.experiment_id))
        };
        let mut found = look().await?;
        if found.is_none() && make {
            let tags = [
                Pair::new(FORMAT, LAYOUT.to_string()),
                Pair::new(
                    NOTE,
                    "The logs of a model registry. Whoever renames or deletes this experiment, its runs, or \
                     the experiments whose names begin with its own, damages the registry.",
                ),
            ];
            match self.server.create_experiment(name, self.location.as_deref(), &tags).await {
                Ok(id) => found = Some(id),
                // Perhaps another made it, or it was made and only the answer is lost.
                Err(error) => match look().await? {
                    Some(id) => found = Some(id),
                    None => return Err(error.failed(format_args!("making the experiment `{name}`"))),
                },
            }
        }
        kept().clone_from(&found);
        Ok(found)
    }

    /// Makes a run that is for a stream, and is over at once.
    pub(super) async fn make_run(
        &self,
        stream: &Stream,
        role: &str,
        number: Option<u64>,
    ) -> Result<String, StorageError> {
        self.check_writable()?;
        let failed = |error: RestError| error.failed(format_args!("making a run for the log of {stream}"));
        let Some(runs) = self.runs_experiment(true).await? else {
            return Err(
                RestError::new(Kind::NotFound, "there is no experiment for it").failed("making a run")
            );
        };
        let numbered = number.map(|number| format!(" {number}")).unwrap_or_default();
        let name =
            if role == "head" { format!("log of {stream}") } else { format!("{role}{numbered} of {stream}") };
        let name: String = name.chars().take(RUN_NAME_CHARS).collect();
        let tags = [
            Pair::new(STREAM, stream.to_string()),
            Pair::new(KEY, self.names.stream(stream)),
            Pair::new(KIND, stream.kind().as_str()),
            Pair::new(ROLE, format!("{role}{numbered}")),
        ];
        let run = self.server.create_run(&runs, &name, now_ms(), &tags).await.map_err(failed)?.run_id;
        // If that fails, MLflow's pages show the run as going on, and that is all.
        let _ = self.server.finish_run(&run, now_ms()).await;
        Ok(run)
    }

    /// Deletes runs that turned out not to be needed. If that fails they stay, and harm nobody.
    pub(super) async fn drop_runs(&self, runs: &[&str]) {
        join_all(runs.iter().map(|run| self.server.delete_run(run))).await;
    }

    /// Begins a log, or finds that another has begun it. The head is complete before the experiment that
    /// leads to it is made; names of experiments are unique, and that decides whose head it is.
    pub(super) async fn begin(&self, stream: &Stream) -> Result<Arc<Place>, StorageError> {
        let _turn = self.turn(stream).await;
        if let Some(place) = self.places().get(stream) {
            return Ok(Arc::clone(place));
        }
        if self.has_lost_head(stream).await? {
            return self.look_up(stream).await?.ok_or_else(|| self.lost(stream));
        }
        self.runs_experiment(true).await?;
        let made = join3(
            self.make_run(stream, "head", None),
            self.make_run(stream, Role::Segment.as_str(), Some(0)),
            self.make_run(stream, Role::Terms.as_str(), Some(0)),
        )
        .await;
        let (head, segment, terms) = match made {
            (Ok(head), Ok(segment), Ok(terms)) => (head, segment, terms),
            (head, segment, terms) => {
                let mut failed = None;
                for one in [head, segment, terms] {
                    match one {
                        Ok(run) => self.drop_runs(&[&run]).await,
                        Err(error) => failed = Some(error),
                    }
                }
                return Err(failed.unwrap_or_else(|| corrupt("nothing failed")));
            }
        };
        let params = [
            Pair::new(Role::Segment.param(0), segment.as_str()),
            Pair::new(Role::Terms.param(0), terms.as_str()),
        ];
        let filled = self.server.log_batch(&head, &params, &[]).await;
        filled.map_err(|error| error.failed(format_args!("beginning the log of {stream}")))?;
        let name = self.names.stream(stream);
        let tags = [
            Pair::new(FORMAT, LAYOUT.to_string()),
            Pair::new(STREAM, stream.to_string()),
            Pair::new(HEAD, head.as_str()),
            Pair::new(
                NOTE,
                format!(
                    "Leads to the log of {stream}, which is in the experiment `{}`. Not to be renamed or deleted.",
                    self.names.runs()
                ),
            ),
        ];
        let location = self.location.as_ref().map(|location| format!("{location}/{name}"));
        let made = self.server.create_experiment(&name, location.as_deref(), &tags).await;
        let place = match made {
            Ok(_) => self.keep(stream, Arc::new(Place::new(head.clone()))),
            // Perhaps another made it, or it was made and only the answer is lost. Until that is known, nothing
            // may be deleted.
            Err(error) => match self.look_up(stream).await? {
                Some(place) => place,
                None => return Err(error.failed(format_args!("making the experiment `{name}`"))),
            },
        };
        if place.head == head {
            let mut known = place.known();
            known.runs.insert((Role::Segment, 0), segment);
            known.runs.insert((Role::Terms, 0), terms);
        } else {
            self.drop_runs(&[&head, &segment, &terms]).await;
        }
        Ok(place)
    }

    /// Has the head say of itself that it was chosen, so that a log whose experiment is gone for good is
    /// still found to have been there.
    pub(super) async fn elect(&self, stream: &Stream, place: &Place) -> Result<(), StorageError> {
        if place.is_elected() {
            return Ok(());
        }
        self.server.set_tag(&place.head, ELECTED, "1").await.map_err(|error| match error.kind {
            Kind::NotActive | Kind::NotFound => corrupt(gone("head", &place.head, stream)),
            _ => error.failed(format_args!("marking the head of {stream}")),
        })?;
        place.known().elected = true;
        Ok(())
    }

    /// Reads the head run, and what it leads to.
    pub(super) async fn head(&self, stream: &Stream, place: &Place) -> Result<Run, StorageError> {
        let run = self.log_run(stream, "head", &place.head).await?;
        let mut runs = BTreeMap::new();
        for pair in &run.data.params {
            let Some((role, number)) = pair.key.split_once('.') else { continue };
            let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
            if let (Some(role), Ok(number)) = (role, number.parse::<u64>()) {
                runs.insert((role, number), pair.value.clone());
            }
        }
        for role in Role::ALL {
            let mut numbers = runs.keys().filter(|(found, _)| *found == role).map(|(_, number)| *number);
            if !(0..).zip(&mut numbers).all(|(expected, number)| expected == number) {
                return Err(corrupt(format!(
                    "the run {} no longer leads to all {}s of the log of {stream}: parameters were deleted",
                    place.head,
                    role.as_str()
                )));
            }
        }
        let mut known = place.known();
        known.runs.extend(runs);
        known.elected |= run.tag(ELECTED) == Some("1");
        drop(known);
        Ok(run)
    }

    /// Reads a run that belongs to a log, and checks that it does.
    pub(super) async fn log_run(&self, stream: &Stream, role: &str, id: &str) -> Result<Run, StorageError> {
        let asked = self.server.run(id).await;
        let run = asked.map_err(|error| error.failed(format_args!("reading the log of {stream}")))?;
        let Some(run) = run else {
            return Err(corrupt(format!(
                "the run {id}, which is the {role} of the log of {stream}, was deleted for good"
            )));
        };
        if run.is_deleted() {
            return Err(corrupt(gone(role, id, stream)));
        }
        let matches = |key, expected: &str| run.tag(key) == Some(expected);
        if !matches(STREAM, &stream.to_string()) || !matches(ROLE, role) {
            return Err(corrupt(format!(
                "the run {id} should be the {role} of the log of {stream}; its tags say that it is the {} of {}",
                run.tag(ROLE).unwrap_or("(nothing)"),
                run.tag(STREAM).unwrap_or("(nothing)"),
            )));
        }
        Ok(run)
    }

    /// The run of a log for a role and number, if it was made.
    pub(super) async fn found_child(
        &self,
        stream: &Stream,
        place: &Place,
        role: Role,
        number: u64,
    ) -> Result<Option<String>, StorageError> {
        if place.run(role, number).is_none() {
            self.head(stream, place).await?;
        }
        Ok(place.run(role, number))
    }

    /// The run of a log for a role and number; made if it is not there. Each number of each role is one
    /// parameter of the head, and a parameter is written once: that decides between several who make it.
    pub(super) async fn child(
        &self,
        stream: &Stream,
        place: &Place,
        role: Role,
        number: u64,
    ) -> Result<String, StorageError> {
        if let Some(run) = place.run(role, number) {
            return Ok(run);
        }
        let _turn = self.turn(stream).await;
        if let Some(run) = place.run(role, number) {
            return Ok(run);
        }
        self.head(stream, place).await?;
        if let Some(run) = place.run(role, number) {
            return Ok(run);
        }
        let made = self.make_run(stream, role.as_str(), Some(number)).await?;
        let key = role.param(number);
        match self.server.log_parameter(&place.head, &key, &made).await {
            Ok(()) => {
                place.known().runs.insert((role, number), made.clone());
                return Ok(made);
            }
            Err(error) if error.kind == Kind::Taken => {}
            Err(error) if error.kind == Kind::NotActive => {
                return Err(corrupt(gone("head", &place.head, stream)));
            }
            // If it was done all the same, whoever comes next finds it.
            Err(error) => {
                let what = format_args!("adding a {} to the log of {stream}", role.as_str());
                return Err(error.failed(what));
            }
        }
        self.drop_runs(&[&made]).await;
        self.head(stream, place).await?;
        place.run(role, number).ok_or_else(|| {
            corrupt(format!("the run {} has a parameter `{key}`, and then has it not", place.head))
        })
    }

    /// Makes a stream findable by terms.
    pub(super) async fn mark(
        &self,
        stream: &Stream,
        place: &Place,
        number: u64,
        terms: &[Term],
    ) -> Result<(), StorageError> {
        const TAGS: usize = 100;
        let missing = place.missing(terms);
        if missing.is_empty() {
            return Ok(());
        }
        let run = self.child(stream, place, Role::Terms, number).await?;
        let tag = |term: &&Term| Pair::new(super::name::term_tag(term), "1");
        let elected = [Pair::new(ELECTED, "1")];
        let tags: Vec<Pair> = missing.iter().map(tag).chain(elected).collect();
        for tags in tags.chunks(TAGS) {
            self.server.log_batch(&run, &[], tags).await.map_err(|error| match error.kind {
                Kind::NotActive | Kind::NotFound => {
                    corrupt(gone(&format!("{} {number}", Role::Terms.as_str()), &run, stream))
                }
                _ => error.failed(format_args!("making {stream} findable")),
            })?;
        }
        place.found_by(&missing);
        Ok(())
    }

    /// Both, at once.
    pub(super) async fn prepare(
        &self,
        stream: &Stream,
        place: &Place,
        number: u64,
        terms: &[Term],
    ) -> Result<(), StorageError> {
        let (elected, marked) =
            join(self.elect(stream, place), self.mark(stream, place, number, terms)).await;
        elected.and(marked)
    }
}

/// What is said of a deleted run.
pub(super) fn gone(role: &str, run: &str, stream: &Stream) -> String {
    format!("the run {run}, which is the {role} of the log of {stream}, was deleted; {}", restore_run(run))
}

/// Whether an experiment is one of ours, and alive.
fn check_experiment(experiment: &Experiment, name: &str) -> Result<(), StorageError> {
    if experiment.is_deleted() {
        return Err(corrupt(format!(
            "the experiment `{name}`, which a log needs, was deleted; {}",
            restore_experiment(experiment)
        )));
    }
    match experiment.tag(FORMAT).map(str::parse::<u64>) {
        Some(Ok(LAYOUT)) => Ok(()),
        Some(Ok(newer)) if LAYOUT < newer => Err(StorageError::new(
            StorageErrorKind::NewerFormat,
            format!(
                "the experiment `{name}` has layout {newer}; this version of the library knows up to {LAYOUT}"
            ),
        )),
        Some(_) => Err(corrupt(format!("the tag `{FORMAT}` of the experiment `{name}` is not understood"))),
        None => Err(StorageError::new(
            StorageErrorKind::NotDone,
            format!(
                "there is an experiment `{name}` that is not one of a model registry (it has no tag `{FORMAT}`); \
                 choose another name for the registry"
            ),
        )),
    }
}
