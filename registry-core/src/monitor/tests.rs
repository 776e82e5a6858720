use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::command::{By, Request};
use crate::content::{Content, Direction, Finite, Metric};
use crate::engine::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::ext::{PromoteOptions, Registration, RegistryExt as _, Scope};
use crate::memory::{MemoryArtifacts, MemoryLog};
use crate::name::{Key, ModelName};
use crate::registry::{Need, Receipt, Recorded, Registry};
use crate::selector::Selector;
use crate::stage::Stage;
use crate::state::ModelState;
use crate::storage::{ArtifactStore, CommitLog, StorageError, StorageErrorKind};
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::time::{Clock as _, ManualClock, Timestamp};
use crate::version::Version;

fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn seconds(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn start() -> Timestamp {
    "2024-01-15T00:00:00Z".parse().unwrap()
}

fn after(number: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(number))
}

mod rules {
    use super::*;

    #[test]
    fn the_rules_that_teams_agree_on_are_a_line_each() {
        for text in [
            r#"{"metric": "error_rate", "fails_if": {"above": 0.05}}"#,
            r#"{"metric": "latency", "aggregate": "p95", "fails_if": {"above": 200}}"#,
            r#"{"metric": "accuracy", "fails_if": {"worse_by": {"share": 0.1, "better": "higher"}}}"#,
            r#"{"metric": "accuracy", "fails_if": {"below": 0.8}, "window_seconds": 86400}"#,
        ] {
            let rule: Rule = serde_json::from_str(text).unwrap();
            rule.check().unwrap();
            assert_eq!(rule.response, Response::RollBack);
            let again: Rule = serde_json::from_value(serde_json::to_value(&rule).unwrap()).unwrap();
            assert_eq!(again, rule);
        }
        let built = Rule::new(key("latency"), Condition::Above(finite(200.0))).of(Aggregate::P95);
        let read: Rule =
            serde_json::from_str(r#"{"metric":"latency","aggregate":"p95","fails_if":{"above":200}}"#)
                .unwrap();
        assert_eq!(built, read);
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let base = json!({"metric": "m", "fails_if": {"above": 1}});
        let with = |extra: serde_json::Value| {
            let mut rule = base.clone();
            rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            serde_json::from_value::<Rule>(rule)
        };
        for (extra, says) in [
            (json!({"baking_seconds": 60, "initial_delay_seconds": 60}), "no longer watched"),
            (json!({"baking_seconds": 60, "for_seconds": 61}), "longer than the version is watched"),
            (json!({"fails_if": {"worse_by": {"share": -0.1, "better": "lower"}}}), "negative"),
            (json!({"fails_if": null}), "neither"),
        ] {
            let refused = with(extra.clone()).unwrap().check().unwrap_err();
            assert!(refused.to_string().contains(says), "{extra}: {refused}");
        }
        for extra in [json!({"window_seconds": 0}), json!({"samples_min": 0}), json!({"windw_seconds": 60})] {
            assert!(with(extra.clone()).is_err(), "{extra}");
        }
        assert!(
            serde_json::from_value::<Rule>(json!({"metric": "m", "fails_if": {"above": "high"}})).is_err()
        );
    }

    #[test]
    fn worse_is_in_the_direction_that_is_worse() {
        let worse = |share: f64, better| Condition::WorseBy {
            share: finite(share),
            better,
            baseline: Baseline::Registered,
        };
        for (condition, value, baseline, expected) in [
            (worse(0.1, Direction::Higher), 0.81, Some(0.9), Some(false)),
            (worse(0.1, Direction::Higher), 0.80, Some(0.9), Some(true)),
            (worse(0.1, Direction::Higher), 0.95, Some(0.9), Some(false)),
            (worse(0.1, Direction::Lower), 109.0, Some(100.0), Some(false)),
            (worse(0.1, Direction::Lower), 111.0, Some(100.0), Some(true)),
            (worse(0.1, Direction::Lower), 1.0, Some(0.0), Some(true)),
            (worse(0.1, Direction::Higher), -1.05, Some(-1.0), Some(false)),
            (worse(0.1, Direction::Higher), -1.2, Some(-1.0), Some(true)),
            (worse(0.1, Direction::Higher), 0.5, None, None),
            (Condition::Above(finite(5.0)), 5.0, None, Some(false)),
            (Condition::Below(finite(5.0)), 5.0, None, Some(false)),
        ] {
            assert_eq!(
                condition.holds(value, baseline),
                expected,
                "{condition:?} of {value} and {baseline:?}"
            );
        }
    }
}

mod summaries {
    use super::*;

    #[test]
    fn what_is_no_number_is_counted_apart() {
        let observed = Observed::of([1.0, f64::NAN, 3.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!((observed.count, observed.not_numbers), (2, 3));
        assert_eq!(observed.aggregate(Aggregate::Mean), Some(2.0));
        assert_eq!(observed.aggregate(Aggregate::Count), Some(5.0));
        let nothing = Observed::of([f64::NAN]);
        assert!(nothing.aggregate(Aggregate::P95).unwrap().is_nan());
        assert_eq!(Observed::default().aggregate(Aggregate::Mean), None);
        assert_eq!(Observed::default().aggregate(Aggregate::Count), Some(0.0));
    }

    #[test]
    fn the_largest_numbers_have_a_mean() {
        let observed = Observed::of([f64::MAX, -f64::MAX, f64::MAX]);
        let mean = observed.aggregate(Aggregate::Mean).unwrap();
        assert!((mean / (f64::MAX / 3.0) - 1.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn hostile_sketches_are_refused() {
        let good = Observed::of([1.0, 2.0]).numbers.unwrap().sketch.to_string();
        assert_eq!(good.parse::<Sketch>().unwrap().to_string(), good);
        for bad in ["zz", "0", "ffffffffffffffff", &"00".repeat(100_000), &good[..good.len() - 2]] {
            assert!(bad.parse::<Sketch>().is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }

    /// Each of these would end the program where the library that reads sketches is given it.
    #[test]
    fn sketches_whose_numbers_do_not_fit_are_refused() {
        let good = Observed::of([1.0]).numbers.unwrap().sketch.to_string();
        // One bin above zero: its flag, how many bins, the number of the first, and how often.
        let head = good.strip_suffix("05010002").unwrap();
        for (bins, says) in [
            ("0502fdffffff0f02fcffffff1f02", "a bin for numbers that there are not"),
            ("0502ffbbc1960b0280f882ad1602", "a bin for numbers that there are not"),
            ("09020000", ""),
            ("0902fdffffff0f00", "a bin for numbers that there are not"),
            ("0d0200feffffffff0f0202", "a bin for numbers that there are not"),
            ("050100ffffffffffffffffff", "more observations than anybody makes"),
            ("04ffffffffffffffffff", "more observations than anybody makes"),
            ("1501000002", "an unknown form"),
            ("05ffffffffffffffffff", "ends too early"),
            ("02000000000000f03f0000000000000000", "an impossible width"),
            ("02000000000000f87f0000000000000000", "an impossible width"),
        ] {
            match format!("{head}{bins}").parse::<Sketch>() {
                Ok(_) => assert!(says.is_empty(), "{bins}"),
                Err(error) => {
                    assert!(!says.is_empty() && error.to_string().contains(says), "{bins}: {error}")
                }
            }
        }
        assert!(format!("02{good}").parse::<Sketch>().is_err());
    }

    proptest! {
        /// A sketch in which bytes were exchanged is refused, or can be read and put together with another.
        #[test]
        fn whatever_is_in_a_sketch_it_ends_nothing(
            values in prop::collection::vec(any::<f64>(), 1..50),
            spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let Some(numbers) = Observed::of(values).numbers else { return Ok(()) };
            let mut text = numbers.sketch.to_string();
            for (place, byte) in spoilt {
                let place = place.index(text.len() / 2) * 2;
                text.replace_range(place..place + 2, &format!("{byte:02x}"));
            }
            if let Ok(sketch) = text.parse::<Sketch>() {
                let mut gathering = Gathering::default();
                gathering.merge(&Observed::of([1.0, -1.0]));
                let numbers = Some(Numbers { sketch, ..numbers });
                gathering.merge(&Observed { count: 1, not_numbers: 0, numbers });
                prop_assert!(gathering.observed().aggregate(Aggregate::P95).is_some());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// In whatever parts and order observations come, the summary is that of all of them; and quantiles are off
        /// by 1 % at most.
        #[test]
        fn parts_make_the_whole(
            parts in prop::collection::vec(prop::collection::vec(-1e6..1e6_f64, 0..40), 1..8),
            share in 0.0..=1.0_f64,
        ) {
            let all: Vec<f64> = parts.iter().flatten().copied().collect();
            let merged = |parts: &mut dyn Iterator<Item = &Vec<f64>>| {
                let mut gathering = Gathering::default();
                for part in parts {
                    gathering.merge(&Observed::of(part.iter().copied()));
                }
                gathering.observed()
            };
            let (forwards, backwards) = (merged(&mut parts.iter()), merged(&mut parts.iter().rev()));
            for observed in [&forwards, &backwards] {
                prop_assert_eq!(observed.count, all.len() as u64);
                let Some(numbers) = &observed.numbers else { prop_assert!(all.is_empty()); continue };
                let mut sorted = all.clone();
                sorted.sort_by(f64::total_cmp);
                let mean = all.iter().sum::<f64>() / all.len() as f64;
                prop_assert!((numbers.mean.get() - mean).abs() <= 1e-9 * (1.0 + mean.abs().max(1e6)), "{mean}");
                prop_assert_eq!((numbers.min.get(), numbers.max.get()), (sorted[0], sorted[sorted.len() - 1]));
                let rank = (share * sorted.len() as f64 - 1e-9).ceil() as usize;
                let exact = sorted[rank.clamp(1, sorted.len()) - 1];
                let found = numbers.quantile(share);
                prop_assert!((found - exact).abs() <= 0.0101 * exact.abs() + 1e-9, "{share}: {found} for {exact}");
                let json = serde_json::to_string(observed).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Observed>(&json).unwrap(), observed);
            }
        }
    }

    #[test]
    fn ten_million_hostile_observations_take_no_more_room_than_is_promised() {
        const MANY: u64 = 10_000_000;
        /// The text of the sketch, and what else stands in a summary.
        const ENCODED_BYTES_MAX: usize = Sketch::TEXT_BYTES_MAX + 1_024;
        let meters = Meters::new(None);
        let meter = meters.meter(&Version::new(1, 0, 0), &key("hostile"));
        let mut window = Gathering::default();
        let mut drawn = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 1..=MANY {
            drawn ^= drawn << 13;
            drawn ^= drawn >> 7;
            drawn ^= drawn << 17;
            let tiny_or_huge = [f64::MIN_POSITIVE, -f64::MAX, f64::MAX, -5e-324];
            meter.observe(match number % 4 {
                // Every magnitude, both signs, and what is no number.
                0 | 1 => f64::from_bits(drawn),
                2 => tiny_or_huge[(drawn % 4) as usize],
                // The magnitudes of which a sketch tells the neighbours apart.
                _ => (drawn as f64 / u64::MAX as f64 - 0.5) * 10_f64.powi((drawn % 18) as i32 - 9),
            });
            if number % 1_000_000 == 0 {
                for summary in meters.take(start(), after(number / 1_000_000)) {
                    assert!(summary.observed.numbers.as_ref().unwrap().sketch.bins() <= Sketch::BINS_MAX);
                    assert!(serde_json::to_vec(&summary).unwrap().len() <= ENCODED_BYTES_MAX);
                    window.merge(&summary.observed);
                }
            }
        }
        let observed = window.observed();
        assert_eq!(observed.count + observed.not_numbers, MANY);
        assert!(0 < observed.not_numbers && observed.not_numbers < MANY / 100);
        let numbers = observed.numbers.as_ref().unwrap();
        assert_eq!((numbers.min.get(), numbers.max.get()), (-f64::MAX, f64::MAX));
        assert!(1_000 < numbers.sketch.bins() && numbers.sketch.bins() <= Sketch::BINS_MAX);
        let text = serde_json::to_string(&observed).unwrap();
        assert!(text.len() <= ENCODED_BYTES_MAX, "{}", text.len());
        assert_eq!(serde_json::from_str::<Observed>(&text).unwrap(), observed);
    }

    #[test]
    fn threads_count_together_and_nothing_is_lost() {
        let meters = Arc::new(Meters::new(Some("one".parse().unwrap())));
        let version = Version::new(1, 0, 0);
        let threads: Vec<_> = (0..20)
            .map(|thread| {
                let meter = meters.meter(&version, &key("latency"));
                std::thread::spawn(move || (0..1_000).for_each(|_| meter.observe(f64::from(thread))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        meters.meter(&version, &key("silent"));
        let summaries = meters.take(start(), after(60));
        let [summary] = &summaries[..] else { panic!("{summaries:?}") };
        assert_eq!((summary.observed.count, summary.from, summary.until), (20_000, start(), after(60)));
        assert!((summary.observed.aggregate(Aggregate::Mean).unwrap() - 9.5).abs() < 1e-9);
        assert_eq!(summary.replica.as_ref().map(|replica| replica.as_str()), Some("one"));
        meters.meter(&version, &key("latency")).observe(1.0);
        let next = meters.take(start(), after(120));
        assert_eq!((next[0].observed.count, next[0].from), (1, after(60)), "only what came since");
        meters.retain(|_| false);
        assert!(meters.take(start(), after(180)).is_empty());
    }
}

mod assessments {
    use super::*;

    fn watched() -> Watched {
        Watched { version: Version::new(1, 0, 0), since: start() }
    }

    fn seen(value: f64) -> Reading {
        Reading::Observed { observed: Box::new(Observed::of([value; 10])), baseline: None }
    }

    fn above(bound: f64) -> Rule {
        Rule::new(key("m"), Condition::Above(finite(bound)))
    }

    fn unreadable() -> Reading {
        Reading::Unreadable("no answer".into())
    }

    /// What comes of readings a minute apart, in a letter each: `.` waiting, `f` fine, `p` pending, `B` broken,
    /// `I` inconclusive, `E` unreadable, `s` silent.
    fn phases(rule: &Rule, readings: impl IntoIterator<Item = Reading>) -> String {
        rule.check().unwrap();
        let mut memory = Memory::default();
        let mut now = 0;
        let letter = |reading: Reading| {
            now += 60;
            match assess(rule, &watched(), &mut memory, &reading, after(now)) {
                Phase::Waiting => '.',
                Phase::Fine => 'f',
                Phase::Pending => 'p',
                Phase::Broken(_) => 'B',
                Phase::Inconclusive(_) => 'I',
                Phase::Unreadable(_) => 'E',
                Phase::Silent => 's',
            }
        };
        readings.into_iter().map(letter).collect()
    }

    /// Readings by letter: `+` good, `-` bad, `?` between, `0` nothing, `n` no number, `e` unreadable.
    fn readings(text: &str) -> Vec<Reading> {
        text.chars()
            .map(|letter| match letter {
                '+' => seen(1.0),
                '-' => seen(9.0),
                '?' => seen(5.0),
                '0' => Reading::Observed { observed: Box::new(Observed::default()), baseline: None },
                'n' => seen(f64::NAN),
                _ => unreadable(),
            })
            .collect()
    }

    #[test]
    fn every_line_of_what_a_rule_means() {
        let both = |rule: Rule| Rule { succeeds_if: Some(Condition::Below(finite(3.0))), ..rule };
        let only_success = Rule { fails_if: None, ..both(above(7.0)) };
        for (what, rule, given, expected) in [
            ("one failure breaks it", above(7.0), "+-", "fB"),
            ("failures above the limit break it", Rule { failure_limit: 2, ..above(7.0) }, "-+-+-", "pfpfB"),
            ("it must go on", Rule { for_seconds: 120, ..above(7.0) }, "--+---", "ppfppB"),
            ("without `for` the first look fires", Rule { for_seconds: 0, ..above(7.0) }, "-", "B"),
            ("between success and failure nothing can be said", both(above(7.0)), "+?-", "fIB"),
            (
                "inconclusive up to the limit",
                Rule { inconclusive_limit: 2, ..both(above(7.0)) },
                "???",
                "ffI",
            ),
            ("only success: everything else fails", only_success.clone(), "+?", "fB"),
            ("no number fails where only success is asked", only_success, "n", "B"),
            ("no number is inconclusive otherwise", above(7.0), "n", "I"),
            ("no number is inconclusive with both", both(above(7.0)), "n", "I"),
            ("no data is inconclusive", above(7.0), "0", "I"),
            ("no data can be a failure", Rule { on_no_data: OnNoData::Failure, ..above(7.0) }, "0", "B"),
            ("no data can be fine", Rule { on_no_data: OnNoData::Success, ..above(7.0) }, "00", "ff"),
            ("too few are no data", Rule { samples_min: seconds(11), ..above(7.0) }, "-", "I"),
            ("enough are enough", Rule { samples_min: seconds(10), ..above(7.0) }, "-", "B"),
            ("four errors in a row are borne", above(7.0), "eeee+eeee", "fffffffff"),
            ("the fifth is told", above(7.0), "eeeee", "ffffE"),
            ("an error ends no failure", Rule { for_seconds: 120, ..above(7.0) }, "-e-", "ppB"),
            (
                "a gap ends a failure",
                Rule { for_seconds: 120, inconclusive_limit: 9, ..above(7.0) },
                "-0--",
                "pfpp",
            ),
            ("it waits at first", Rule { initial_delay_seconds: 90, ..above(7.0) }, "--", ".B"),
            ("it ends", Rule { baking_seconds: Some(seconds(90)), ..above(7.0) }, "+--", "f.."),
            ("it is silent for a while", Rule { cooldown_seconds: 150, ..above(7.0) }, "-----", "BssBs"),
        ] {
            assert_eq!(phases(&rule, readings(given)), expected, "{what}");
        }
    }

    #[test]
    fn an_unknown_baseline_says_nothing() {
        let condition = Condition::WorseBy {
            share: finite(0.1),
            better: Direction::Higher,
            baseline: Baseline::Previous,
        };
        let rule = Rule::new(key("m"), condition);
        assert_eq!(phases(&rule, readings("+")), "I");
        let known = Reading::Observed { observed: Box::new(Observed::of([0.5])), baseline: Some(1.0) };
        assert_eq!(phases(&rule, [known]), "B");
    }

    #[test]
    fn what_is_told_holds_the_evidence() {
        let mut memory = Memory::default();
        let rule = Rule { failure_limit: 11, ..above(7.0) };
        let mut last = Phase::Fine;
        for minute in 1..=12 {
            last = assess(&rule, &watched(), &mut memory, &seen(9.0), after(60 * minute));
        }
        let Phase::Broken(breach) = last else { panic!("{last:?}") };
        assert_eq!(breach.measurements.len(), MEASUREMENTS_KEPT, "the last ones");
        assert_eq!(breach.measurements.last().unwrap().at, after(720));
        assert_eq!(breach.measurements[0].value, Some(finite(9.0)));
        assert_eq!(breach.reason, "mean of `m` is 9 in 10 observations, for 660 s");
        assert_eq!(breach.response, Response::RollBack);
        let dry = Rule { dry_run: true, ..above(7.0) };
        let Phase::Broken(breach) = assess(&dry, &watched(), &mut Memory::default(), &seen(9.0), after(60))
        else {
            panic!("it is broken all the same")
        };
        assert_eq!(breach.response, Response::Alert);
    }

    #[test]
    fn what_is_remembered_of_another_version_does_not_count() {
        let rule = Rule { failure_limit: 1, ..above(7.0) };
        let mut memory = Memory::default();
        assert_eq!(assess(&rule, &watched(), &mut memory, &seen(9.0), after(60)), Phase::Pending);
        let again = Watched { since: after(90), ..watched() };
        assert_eq!(assess(&rule, &again, &mut memory, &seen(9.0), after(120)), Phase::Pending);
        assert!(matches!(assess(&rule, &again, &mut memory, &seen(9.0), after(180)), Phase::Broken(_)));
    }
}

/// A fleet that shares one log.
struct Fleet {
    log: Arc<MemoryLog>,
    artifacts: Arc<MemoryArtifacts>,
    clock: Arc<ManualClock>,
    registry: Arc<dyn Registry>,
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

#[async_trait]
impl Notify for Told {
    async fn notify(&self, finding: &Finding) -> Result<(), String> {
        let line = format!("{}: {:?}", finding.rule, finding.action);
        self.0.lock().unwrap().push(line);
        Err("the pager is broken".into())
    }
}

fn model() -> ModelName {
    "fraud".parse().unwrap()
}

fn by(actor: &str) -> By {
    By::new(actor.parse().unwrap())
}

impl Fleet {
    /// Two versions; the second is in production.
    async fn new() -> Fleet {
        let (log, artifacts) = (Arc::<MemoryLog>::default(), Arc::<MemoryArtifacts>::default());
        let clock = Arc::new(ManualClock::new(start()));
        let registry: Arc<dyn Registry> =
            Arc::new(Engine::new(Arc::clone(&log), Arc::clone(&artifacts)).with_clock(clock.clone()));
        let fleet = Fleet { log, artifacts, clock, registry };
        for (minor, accuracy) in [(0, 0.85), (1, 0.90)] {
            let mut content = Content::default();
            content.metrics.insert(key("accuracy"), Metric::new(accuracy).unwrap());
            let registration = Registration::new(Version::new(1, minor, 0), content);
            fleet.registry.register(&by("ana"), &model(), registration, &[]).await.unwrap();
            fleet.promote(minor).await;
        }
        fleet
    }

    async fn promote(&self, minor: u64) {
        for stage in [Stage::Staging, Stage::Production] {
            let (version, options) = (Version::new(1, minor, 0), PromoteOptions::default());
            self.registry.promote(&by("ana"), &model(), &version, stage, options).await.unwrap();
        }
        self.clock.advance(Duration::from_secs(1));
    }

    async fn rule(&self, name: &str, rule: Rule) {
        let scope = Scope::Model(model());
        self.registry.set_monitor_rule(&by("ana"), &scope, key(name), Some(rule)).await.unwrap();
    }

    /// A registry on the same log whose clock goes wrong by so many seconds.
    fn elsewhere(&self, skew: i64) -> Arc<dyn Registry> {
        let now = self.clock.now().microseconds() + skew * 1_000_000;
        let clock = ManualClock::new(Timestamp::from_microseconds(now).unwrap());
        let engine = Engine::new(Arc::clone(&self.log), Arc::clone(&self.artifacts));
        Arc::new(engine.with_clock(Arc::new(clock)))
    }

    /// What a replica saw of a version in the last minute.
    async fn report(&self, minor: u64, metric: &str, values: &[f64]) {
        let until = self.clock.now();
        let from = until.microseconds() - 1_000_000;
        let summary = Summary {
            version: Version::new(1, minor, 0),
            metric: key(metric),
            from: Timestamp::from_microseconds(from).unwrap(),
            until,
            replica: None,
            observed: Observed::of(values.iter().copied()),
        };
        self.registry.report_health(&by("replica"), &model(), vec![summary]).await.unwrap();
    }

    async fn production(&self) -> String {
        self.registry.get(&model(), &Selector::PRODUCTION).await.unwrap().version.to_string()
    }

    fn monitor(&self) -> Monitor<dyn Registry> {
        Monitor::new(Arc::clone(&self.registry), model())
    }

    async fn minute(&self) {
        self.clock.advance(Duration::from_secs(60));
    }
}

fn too_slow() -> Rule {
    Rule::new(key("latency"), Condition::Above(finite(200.0))).of(Aggregate::P95)
}

#[tokio::test]
async fn a_broken_rule_takes_the_version_out_with_the_evidence() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow()).await;
    let told = Arc::new(Told::default());
    let mut monitor = fleet.monitor().telling(told.clone());
    fleet.minute().await;
    fleet.report(1, "latency", &[100.0; 50]).await;
    assert!(monitor.look().await.unwrap().is_empty());
    fleet.minute().await;
    fleet.report(1, "latency", &[500.0; 50]).await;
    let findings = monitor.look().await.unwrap();
    assert_eq!(findings[0].action, Action::RolledBack { to: Version::new(1, 0, 0) });
    assert_eq!(findings[0].untold, ["the pager is broken"], "which undoes nothing");
    assert_eq!(fleet.production().await, "v1.0.0");
    let state = fleet.registry.model(&model()).await.unwrap();
    assert!(state.version(&Version::new(1, 1, 0)).unwrap().quarantined.is_some());
    let log = fleet.registry.log(&model(), Revision::FIRST, 100).await.unwrap();
    let commit = &log.last().unwrap().commit;
    assert_eq!(commit.actor.as_str(), "monitor:latency");
    assert!(
        commit.reason.as_ref().unwrap().as_str().starts_with("p95 of `latency` is 49"),
        "{:?}",
        commit.reason
    );
    let broken = commit.events.iter().find_map(|event| match event {
        Event::RolledBack(done) => done.broken_rule.clone(),
        _ => None,
    });
    let broken = broken.unwrap();
    assert_eq!((broken.name.as_str(), broken.breach.measurements.len()), ("latency", 2));
    let rolled_back = Action::RolledBack { to: Version::new(1, 0, 0) };
    assert_eq!(*told.0.lock().unwrap(), [format!("latency: {rolled_back:?}")]);
    // The version that is there now did nothing wrong.
    fleet.minute().await;
    let quiet = monitor.look().await.unwrap();
    assert!(quiet.iter().all(|finding| finding.action == Action::Alerted), "{quiet:?}");
}

#[tokio::test]
async fn ten_monitors_with_clocks_that_disagree_roll_back_once() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow()).await;
    fleet.minute().await;
    fleet.report(1, "latency", &[500.0; 50]).await;
    let mut actions = Vec::new();
    let mut monitors: Vec<Monitor<dyn Registry>> =
        (-5..5).map(|skew| Monitor::new(fleet.elsewhere(skew * 3), model())).collect();
    let looks = monitors.iter_mut().map(Monitor::look);
    for findings in futures_util::future::join_all(looks).await {
        actions.extend(findings.unwrap().into_iter().map(|finding| finding.action));
    }
    let rolled_back = |action: &&Action| matches!(action, Action::RolledBack { .. });
    assert_eq!(actions.iter().filter(rolled_back).count(), 1, "{actions:?}");
    assert_eq!(fleet.production().await, "v1.0.0");
    let log = fleet.registry.log(&model(), Revision::FIRST, 100).await.unwrap();
    let rollbacks = log.iter().flat_map(|recorded| &recorded.commit.events);
    assert_eq!(rollbacks.filter(|event| matches!(event, Event::RolledBack(_))).count(), 1);
}

#[tokio::test]
async fn only_what_the_version_itself_did_since_it_is_there_counts() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow()).await;
    let mut monitor = fleet.monitor();
    // Of the version before it; and of itself, before it was promoted again.
    fleet.report(0, "latency", &[900.0; 50]).await;
    fleet.report(1, "latency", &[900.0; 50]).await;
    fleet.promote(0).await;
    fleet.promote(1).await;
    fleet.minute().await;
    fleet.report(1, "latency", &[100.0; 50]).await;
    fleet.report(1, "other", &[900.0; 50]).await;
    let findings = monitor.look().await.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    // What is over does not count any more either.
    fleet.report(1, "latency", &[900.0; 50]).await;
    fleet.clock.advance(Duration::from_secs(3_600));
    fleet.report(1, "latency", &[100.0; 50]).await;
    assert!(monitor.look().await.unwrap().is_empty());
    assert_eq!(fleet.production().await, "v1.1.0");
}

#[tokio::test]
async fn where_nothing_is_known_somebody_is_told_and_nothing_else_done() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow()).await;
    let mut monitor = fleet.monitor();
    fleet.minute().await;
    let findings = monitor.look().await.unwrap();
    assert_eq!(findings[0].action, Action::Alerted);
    assert!(findings[0].breach.reason.contains("too few observations"), "{}", findings[0].breach.reason);
    assert_eq!(fleet.production().await, "v1.1.0");
    assert!(monitor.look().await.unwrap().is_empty(), "it is not due again");
}

#[tokio::test]
async fn a_version_is_compared_with_its_own_numbers_or_with_those_of_the_one_before() {
    let worse = |baseline| {
        let condition = Condition::WorseBy { share: finite(0.1), better: Direction::Higher, baseline };
        Rule { response: Response::Alert, ..Rule::new(key("accuracy"), condition) }
    };
    let fleet = Fleet::new().await;
    // The version before had 0.7 at the end.
    fleet.promote(0).await;
    fleet.minute().await;
    fleet.report(0, "accuracy", &[0.7; 20]).await;
    fleet.promote(1).await;
    fleet.minute().await;
    fleet.report(1, "accuracy", &[0.8; 20]).await;
    fleet.rule("registered", worse(Baseline::Registered)).await;
    fleet.rule("previous", worse(Baseline::Previous)).await;
    fleet.rule("fixed", worse(Baseline::Fixed(finite(0.8)))).await;
    let findings = fleet.monitor().look().await.unwrap();
    let names: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(names, ["registered"], "0.8 is more than a tenth below 0.9, and not below 0.7");
    assert_eq!(findings[0].breach.measurements[0].baseline, Some(finite(0.9)));
}

#[tokio::test]
async fn a_rule_rolls_back_only_as_often_as_it_may_and_only_as_it_stands() {
    let fleet = Fleet::new().await;
    let limit = RollbackLimit { count: 1, period_seconds: seconds(86_400) };
    fleet.rule("latency", Rule { rollbacks_max: Some(limit), ..too_slow() }).await;
    let mut monitor = fleet.monitor();
    fleet.minute().await;
    fleet.report(1, "latency", &[500.0; 50]).await;
    let first = monitor.look().await.unwrap();
    assert!(matches!(first[0].action, Action::RolledBack { .. }));
    let lift = by("ana").because("the threshold was wrong".parse().unwrap());
    fleet.registry.lift_quarantine(&lift, &model(), &Version::new(1, 1, 0)).await.unwrap();
    fleet.promote(1).await;
    fleet.minute().await;
    fleet.report(1, "latency", &[500.0; 50]).await;
    let second = monitor.look().await.unwrap();
    let Action::Refused(why) = &second[0].action else { panic!("{second:?}") };
    assert!(why.contains("as often as it may"), "{why}");
    assert_eq!(fleet.production().await, "v1.1.0");
    // A rule that is not, or no longer, in the policy rolls nothing back.
    let command =
        crate::Command::RollBackBroken { rule: key("other"), breach: Box::new(second[0].breach.clone()) };
    let request = crate::Request { stream: Stream::from(&model()), by: by("mallory"), command };
    let refused = fleet.registry.execute(request).await.unwrap_err();
    assert!(refused.to_string().contains("is not in the policy"), "{refused}");
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A day at a fleet of ten, whose clocks disagree by up to 20 seconds, some of whose reports come late or not at all,
/// with observations that are no numbers and some of a version that left: the version in production turns bad at noon,
/// and is taken out once, when the rule says so and not before.
#[tokio::test]
async fn a_day_at_a_fleet_of_ten() {
    let fleet = Fleet::new().await;
    let rule = Rule {
        for_seconds: 300,
        samples_min: seconds(100),
        inconclusive_limit: 1_000_000,
        ..Rule::new(key("error_rate"), Condition::Above(finite(0.05)))
    };
    fleet.rule("errors", rule).await;
    let told = Arc::new(Told::default());
    let mut monitors: Vec<Monitor<dyn Registry>> =
        (0..10).map(|_| fleet.monitor().telling(told.clone())).collect();
    let mut random = Random(7);
    let mut late: Vec<Summary> = Vec::new();
    let mut rolled_back_at = Vec::new();
    for minute in 1..=24 * 60_u64 {
        fleet.minute().await;
        let now = fleet.clock.now();
        let is_bad = 12 * 60 <= minute;
        let mut reports = std::mem::take(&mut late);
        for replica in 0..10_u64 {
            let chance = random.unit();
            // A replica that does not answer for ten minutes in the night, and one report in fifty that is lost.
            if (replica == 3 && (180..190).contains(&minute)) || chance < 0.02 {
                continue;
            }
            // A tenth of the observations of the old version keep coming for an hour, and all of them are errors.
            let (minor, share) = match replica {
                0 if minute < 60 => (0, 1.0),
                _ if is_bad => (1, 0.10),
                _ => (1, 0.02),
            };
            let mut values: Vec<f64> = (0..30).map(|_| f64::from(u8::from(random.unit() < share))).collect();
            values.push(f64::NAN);
            let skew = (replica as i64 - 5) * 4_000_000;
            let at = |microseconds: i64| Timestamp::from_microseconds(microseconds).unwrap();
            let until = at(now.microseconds() + skew);
            let summary = Summary {
                version: Version::new(1, minor, 0),
                metric: key("error_rate"),
                from: at(until.microseconds() - 60_000_000),
                until,
                replica: Some(format!("replica-{replica}").parse().unwrap()),
                observed: Observed::of(values),
            };
            if chance < 0.05 { late.push(summary) } else { reports.push(summary) }
        }
        fleet.registry.report_health(&by("replicas"), &model(), reports).await.unwrap();
        for monitor in &mut monitors {
            for finding in monitor.look().await.unwrap() {
                if let Action::RolledBack { .. } = finding.action {
                    rolled_back_at.push(minute);
                }
            }
        }
    }
    let [minute] = rolled_back_at[..] else { panic!("{rolled_back_at:?}") };
    // The window of five minutes must fill with bad ones, and the failure go on for five more.
    assert!((12 * 60 + 5..12 * 60 + 15).contains(&minute), "{minute}");
    assert_eq!(fleet.production().await, "v1.0.0");
    assert_eq!(told.0.lock().unwrap().len(), 1, "and one was told");
}

#[tokio::test]
async fn a_start_finds_its_place_in_a_long_log_by_time() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow()).await;
    for _ in 0..700 {
        fleet.minute().await;
        fleet.report(1, "latency", &[100.0]).await;
    }
    fleet.report(1, "latency", &[500.0; 50]).await;
    let findings = fleet.monitor().look().await.unwrap();
    assert!(matches!(findings[0].action, Action::RolledBack { .. }), "{findings:?}");
    let samples = findings[0].breach.measurements[0].samples;
    assert_eq!(samples, 55, "five minutes of them, and the last one");
}

#[tokio::test]
async fn a_rule_with_a_longer_window_that_comes_later_looks_as_far_back_as_it_says() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow()).await;
    let mut monitor = fleet.monitor();
    for _ in 0..60 {
        fleet.minute().await;
        fleet.report(1, "latency", &[100.0]).await;
        assert!(monitor.look().await.unwrap().is_empty());
    }
    let hour =
        Rule { response: Response::Alert, ..Rule::new(key("latency"), Condition::Above(finite(50.0))) };
    fleet.rule("hour", hour.over(Duration::from_secs(3_600))).await;
    fleet.minute().await;
    fleet.report(1, "latency", &[100.0]).await;
    let findings = monitor.look().await.unwrap();
    assert_eq!((findings.len(), findings[0].rule.as_str()), (1, "hour"));
    assert_eq!(findings[0].breach.measurements[0].samples, 60, "and each of them once");
}

#[tokio::test]
async fn reports_that_make_no_sense_are_refused() {
    let fleet = Fleet::new().await;
    let good = Summary {
        version: Version::new(1, 0, 0),
        metric: key("latency"),
        from: start(),
        until: after(60),
        replica: None,
        observed: Observed::of([1.0]),
    };
    let refused = async |summary: Summary| {
        fleet.registry.report_health(&by("replica"), &model(), vec![summary]).await.unwrap_err().to_string()
    };
    assert!(
        refused(Summary { until: start(), from: after(1), ..good.clone() })
            .await
            .contains("before it begins")
    );
    assert!(
        refused(Summary { observed: Observed::default(), ..good.clone() }).await.contains("no observation")
    );
    let mut lying = good.clone();
    lying.observed.numbers.as_mut().unwrap().mean = finite(2.0);
    assert!(refused(lying).await.contains("does not lie between"));
    let mut empty = good.clone();
    empty.observed.numbers = None;
    assert!(refused(empty).await.contains("and not which"));
    let many = vec![good.clone(); 1_001];
    let error = fleet.registry.report_health(&by("replica"), &model(), many).await.unwrap_err();
    assert!(error.to_string().contains("send several"), "{error}");
    let nothing = fleet.registry.report_health(&by("replica"), &model(), Vec::new()).await.unwrap();
    assert!(nothing.commit().is_none());
    // Such a report belongs into the stream of health, and nothing else does.
    let command = crate::Command::ReportHealth { summaries: vec![good] };
    let request = crate::Request { stream: Stream::from(&model()), by: by("replica"), command };
    assert!(fleet.registry.execute(request).await.is_err());
}

/// Says what it is told to, and counts how often it is asked.
struct Elsewhere {
    metric: Key,
    says: Mutex<Result<Pulled, String>>,
    asked: AtomicUsize,
}

impl Elsewhere {
    fn new(says: Result<Pulled, String>) -> Arc<Elsewhere> {
        Arc::new(Elsewhere { metric: key("latency"), says: Mutex::new(says), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Source for Elsewhere {
    fn metric(&self) -> &Key {
        &self.metric
    }

    async fn pull(&self, _: &Watched, _: Timestamp) -> Result<Pulled, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.says.lock().unwrap().clone()
    }
}

/// One value, pulled at an instant.
fn pulled(id: &str, at: Timestamp, value: f64) -> Pulled {
    let summary = Summary {
        version: Version::new(1, 1, 0),
        metric: key("latency"),
        from: at,
        until: at,
        replica: None,
        observed: Observed::of([value]),
    };
    Pulled { id: id.parse().unwrap(), summaries: vec![summary] }
}

#[tokio::test]
async fn what_is_counted_elsewhere_is_pulled_when_a_rule_on_it_is_due_and_written_down_once() {
    let fleet = Fleet::new().await;
    fleet.rule("latency", too_slow().of(Aggregate::Max)).await;
    fleet.rule("accuracy", Rule::new(key("accuracy"), Condition::Below(finite(0.8)))).await;
    fleet.minute().await;
    let source = Elsewhere::new(Ok(pulled("at-60", fleet.clock.now(), 150.0)));
    let mut monitors = [fleet.monitor().pulling(source.clone()), fleet.monitor().pulling(source.clone())];
    for monitor in &mut monitors {
        monitor.look().await.unwrap();
    }
    // A replica that saw another number of the same moment.
    *source.says.lock().unwrap() = Ok(pulled("at-60", fleet.clock.now(), 151.0));
    let findings = fleet.monitor().pulling(source.clone()).look().await.unwrap();
    assert!(findings.iter().all(|finding| finding.rule.as_str() == "accuracy"), "{findings:?}");
    let health = Stream::Health(model());
    assert_eq!(fleet.registry.history(&health, Revision::FIRST, 10).await.unwrap().len(), 1);
    // Neither rule is due.
    assert!(monitors[0].look().await.unwrap().is_empty());
    assert_eq!(source.asked.load(Ordering::SeqCst), 3);
    fleet.minute().await;
    *source.says.lock().unwrap() = Ok(pulled("at-120", fleet.clock.now(), 900.0));
    let findings = monitors[0].look().await.unwrap();
    let latency = findings.iter().find(|finding| finding.rule.as_str() == "latency").unwrap();
    assert_eq!(latency.action, Action::RolledBack { to: Version::new(1, 0, 0) });
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_a_reading_that_failed_and_hides_no_other() {
    let fleet = Fleet::new().await;
    let mut rule = too_slow();
    (rule.consecutive_error_limit, rule.on_error) = (1, Response::RollBack);
    fleet.rule("latency", rule).await;
    fleet.rule("accuracy", Rule::new(key("accuracy"), Condition::Above(finite(0.0)))).await;
    let mut monitor = fleet.monitor().pulling(Elsewhere::new(Err("502 \u{1b}[31mBad\nGateway".to_owned())));
    let mut alone = fleet.monitor();
    fleet.minute().await;
    // Numbers of before: with the source unreadable they are no answer.
    fleet.report(1, "latency", &[100.0; 50]).await;
    assert!(alone.look().await.unwrap().iter().all(|finding| finding.rule.as_str() == "accuracy"));
    assert_eq!(monitor.look().await.unwrap().len(), 1, "accuracy, of which there is no number");
    fleet.minute().await;
    fleet.report(1, "accuracy", &[0.0]).await;
    let findings = monitor.look().await.unwrap();
    assert_eq!(findings.len(), 1, "accuracy is read and fine: {findings:?}");
    assert!(findings[0].breach.reason.contains("2 times in a row: 502"), "{}", findings[0].breach.reason);
    assert_eq!(findings[0].action, Action::RolledBack { to: Version::new(1, 0, 0) });
}

/// A registry that cannot be written to for a while.
struct Unwritable {
    registry: Arc<dyn Registry>,
    fails_with: Mutex<Option<StorageErrorKind>>,
}

#[async_trait]
impl Registry for Unwritable {
    async fn execute(&self, request: Request) -> Result<Receipt, Error> {
        let kind = *self.fails_with.lock().unwrap();
        match kind.map(|kind| (kind, StorageError::new(kind, "the disk is full"))) {
            Some((StorageErrorKind::Unknown, source)) => {
                Err(Error::OutcomeUnknown { request_id: "r-1".parse().unwrap(), source })
            }
            Some((_, error)) => Err(error.into()),
            None => self.registry.execute(request).await,
        }
    }

    async fn state(&self, stream: &Stream, need: &Need) -> Result<Arc<ModelState>, Error> {
        self.registry.state(stream, need).await
    }

    async fn history(&self, stream: &Stream, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.registry.history(stream, from, limit).await
    }

    async fn streams(
        &self,
        kind: StreamKind,
        term: Option<&Term>,
        after: Option<&Stream>,
        limit: usize,
    ) -> Result<Vec<Stream>, Error> {
        self.registry.streams(kind, term, after, limit).await
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        self.registry.artifacts()
    }

    fn commits(&self) -> &dyn CommitLog {
        self.registry.commits()
    }

    fn clock(&self) -> &dyn crate::time::Clock {
        self.registry.clock()
    }
}

#[tokio::test]
async fn a_rollback_that_cannot_be_written_is_told_and_tried_again_at_once() {
    let fleet = Fleet::new().await;
    let rule = Rule { cooldown_seconds: 86_400, ..too_slow() };
    fleet.rule("latency", rule).await;
    let fails_with = Mutex::new(Some(StorageErrorKind::NotDone));
    let registry = Arc::new(Unwritable { registry: Arc::clone(&fleet.registry), fails_with });
    let told = Arc::new(Told::default());
    let mut monitor = Monitor::new(Arc::clone(&registry), model()).telling(told.clone());
    let mut actions = Vec::new();
    for kind in [Some(StorageErrorKind::NotDone), Some(StorageErrorKind::Unknown), None] {
        *registry.fails_with.lock().unwrap() = kind;
        fleet.minute().await;
        fleet.report(1, "latency", &[500.0; 50]).await;
        actions.extend(monitor.look().await.unwrap().into_iter().map(|finding| finding.action));
    }
    assert!(matches!(&actions[0], Action::NotDone(problem) if problem.contains("the disk is full")));
    assert!(matches!(&actions[1], Action::InDoubt(problem) if problem.contains("not known")));
    assert_eq!(actions[2..], [Action::RolledBack { to: Version::new(1, 0, 0) }]);
    assert_eq!(told.0.lock().unwrap().len(), 3);
}

/// Looks what is in production when it is told.
struct Looks(Arc<dyn Registry>, Mutex<Vec<(Key, String)>>);

#[async_trait]
impl Notify for Looks {
    async fn notify(&self, finding: &Finding) -> Result<(), String> {
        let live = self.0.get(&model(), &Selector::PRODUCTION).await.unwrap().version.to_string();
        self.1.lock().unwrap().push((finding.rule.clone(), live));
        Ok(())
    }
}

#[tokio::test]
async fn no_rollback_waits_until_somebody_was_told_of_another_rule() {
    let fleet = Fleet::new().await;
    fleet.rule("a-first", Rule { response: Response::Alert, ..too_slow() }).await;
    fleet.rule("b-then", too_slow()).await;
    fleet.minute().await;
    fleet.report(1, "latency", &[500.0; 50]).await;
    let looks = Arc::new(Looks(Arc::clone(&fleet.registry), Mutex::default()));
    fleet.monitor().telling(looks.clone()).look().await.unwrap();
    let seen = looks.1.lock().unwrap().clone();
    assert_eq!(seen, [(key("a-first"), "v1.0.0".to_owned()), (key("b-then"), "v1.0.0".to_owned())]);
}
