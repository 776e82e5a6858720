//! Numbers from Prometheus: what it answers in the forms that its documentation shows, what it must not be able to do to
//! us, and a version that is taken out by them. The forms are those of <https://prometheus.io/docs/prometheus/latest/querying/api/>.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use receiver::{Answer, Receiver, body};
use registry_core::monitor::{Action, Condition, Monitor, Response, Rule, Source as _, Summary, Watched};
use registry_core::{
    By, Content, Engine, Finite, ManualClock, MemoryArtifacts, MemoryLog, ModelName, PromoteOptions,
    Registration, Registry, RegistryExt as _, Revision, Scope, Stage, Stream, Timestamp, Version,
};
use registry_monitoring::{Credentials, Mapping, Prometheus, PrometheusSource, summaries};

fn at() -> Timestamp {
    "2015-07-01T20:10:51.781Z".parse().unwrap()
}

fn mapping() -> Mapping {
    Mapping::new("error_rate".parse().unwrap())
}

fn by_label() -> Mapping {
    Mapping { version_label: Some("version".to_owned()), ..mapping() }
}

/// What is written down of an answer: a line for each version, or the error.
async fn seen_through(answer: Answer, mapping: &Mapping, credentials: Option<Credentials>) -> String {
    let receiver = Receiver::answering([answer]).await;
    let prometheus = Prometheus::new(receiver.url("/prometheus/").parse().unwrap(), credentials).unwrap();
    let series = prometheus.instant("up{job=\"fraud\"} > 0", at()).await;
    let found = series.and_then(|series| Ok(summaries(&series, mapping, &Version::new(1, 1, 0))?));
    let sent = &receiver.sent()[0];
    assert_eq!(sent.uri, "/prometheus/api/v1/query");
    assert_eq!(sent.body, b"query=up%7Bjob%3D%22fraud%22%7D+%3E+0&time=1435781451.781");
    match found {
        Ok(found) => found.iter().map(line).collect::<Vec<_>>().join("; "),
        Err(error) => error.to_string().replace(&receiver.url(""), "[server]"),
    }
}

async fn seen(answer: Answer, mapping: &Mapping) -> String {
    seen_through(answer, mapping, None).await
}

fn line(summary: &Summary) -> String {
    let observed = &summary.observed;
    let numbers = observed.numbers.as_ref().map(|numbers| {
        format!(" mean {} min {} max {}", numbers.mean.get(), numbers.min.get(), numbers.max.get())
    });
    let (count, others) = (observed.count, observed.not_numbers);
    let lasted = summary.until.since(summary.from).as_millis();
    format!("{}: {count}+{others}{} in {lasted} ms", summary.version, numbers.unwrap_or_default())
}

fn answer(result: &str) -> Answer {
    body(format!(r#"{{"status":"success","data":{{{result}}}}}"#))
}

const TWO: &str = r#""resultType":"vector","result":[
    {"metric":{"__name__":"up","version":"v1.1.0","instance":"a"},"value":[1435781451.781,"0.25"]},
    {"metric":{"__name__":"up","version":"1.0","instance":"b"},"value":[1435781451.781,"0.75"]}]"#;

#[tokio::test]
async fn every_form_that_is_documented() {
    for (given, expected) in [
        (
            r#""resultType":"scalar","result":[1435781451.781,"0.5"]"#,
            "v1.1.0: 1+0 mean 0.5 min 0.5 max 0.5 in 0 ms",
        ),
        (TWO, "v1.1.0: 2+0 mean 0.5 min 0.25 max 0.75 in 0 ms"),
        (r#""resultType":"vector","result":[]"#, ""),
        (r#""resultType":"vector","result":[],"stats":{"timings":{}}"#, ""),
        (
            r#""resultType":"vector","result":[{"metric":{},"value":[1435781451.781,"NaN"]}]"#,
            "v1.1.0: 0+1 in 0 ms",
        ),
        (
            r#""resultType":"vector","result":[{"metric":{},"value":[1435781451.781,"+Inf"]},
                {"metric":{},"value":[1435781451.781,"-Inf"]},{"metric":{},"value":[1435781451.781,"1e+06"]}]"#,
            "v1.1.0: 1+2 mean 1000000 min 1000000 max 1000000 in 0 ms",
        ),
        (
            r#""resultType":"matrix","result":[{"metric":{"job":"x"},"values":[[1435781430.781,"1"],[1435781445.781,"2"]]}]"#,
            "v1.1.0: 2+0 mean 1.5 min 1 max 2 in 15000 ms",
        ),
    ] {
        assert_eq!(seen(answer(given), &mapping()).await, expected, "{given}");
    }
    let expected =
        "v1.0.0: 1+0 mean 0.75 min 0.75 max 0.75 in 0 ms; v1.1.0: 1+0 mean 0.25 min 0.25 max 0.25 in 0 ms";
    assert_eq!(seen(answer(TWO), &by_label()).await, expected);
    let covering = Mapping { covers: Duration::from_secs(300), ..mapping() };
    assert_eq!(seen(answer(TWO), &covering).await, "v1.1.0: 2+0 mean 0.5 min 0.25 max 0.75 in 300000 ms");
    // Remarks that are no warnings change nothing.
    let remark =
        body(format!(r#"{{"status":"success","infos":["metric might not be a counter"],"data":{{{TWO}}}}}"#));
    assert_eq!(seen(remark, &mapping()).await, "v1.1.0: 2+0 mean 0.5 min 0.25 max 0.75 in 0 ms");
}

#[tokio::test]
async fn what_is_no_number_says_why() {
    let said = |status, text: &str| Answer::With(status, Vec::new(), text.as_bytes().to_vec());
    let error =
        r#"{"status":"error","errorType":"bad_data","error":"1:4: parse error: unexpected \"\u001b[31m"}"#;
    let warned = format!(r#"{{"status":"success","warnings":["a store is away"],"data":{{{TWO}}}}}"#);
    let element =
        |rest: &str| answer(&format!(r#""resultType":"vector","result":[{{"metric":{{}},{rest}}}]"#));
    let many = vec![r#"{"metric":{},"value":[1,"1"]}"#; 10_001].join(",");
    for (given, says) in [
        (said(400, error), r#"Prometheus at [server]/… says bad_data: 1:4: parse error: unexpected " [31m"#),
        (said(200, error), "says bad_data"),
        (
            said(503, r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#),
            "says timeout: query timed out",
        ),
        (
            said(200, &warned),
            "answered with warnings, so it may be a part of the numbers only: a store is away",
        ),
        (said(502, "<html>Bad Gateway</html>"), "answered 502, and not as Prometheus does"),
        (said(401, ""), "access is denied; give a token"),
        (said(404, "404 page not found"), "must end before `/api/v1`"),
        (said(302, ""), "redirects are not followed"),
        (said(500, &format!(r#"{{"status":"success","data":{{{TWO}}}}}"#)), "the status contradicts"),
        (said(200, "{}"), "status"),
        (said(200, r#"{"status":"success"}"#), "there is no data"),
        (answer(r#""resultType":"string","result":[1435781451.781,"x"]"#), "worth a text"),
        (answer(r#""resultType":"streams","result":[]"#), "streams"),
        (element(r#""histogram":[1435781451.781,{"count":"9"}]"#), "`histogram_quantile`"),
        (element(r#""values":[],"histograms":[[1435781451.781,{"count":"9"}]]"#), "`histogram_quantile`"),
        (element(r#""value":[1435781451.781,"one"]"#), r#""one" is not a number"#),
        (element(r#""value":[1435781451.781,1]"#), "invalid type"),
        (element(r#""value":[-1,"1"]"#), "no time in seconds since 1970"),
        (element(r#""value":[1e300,"1"]"#), "no time in seconds since 1970"),
        (element(r#""value":[1435781460,"1"]"#), "it is later"),
        (element(r#""values":[[2,"1"],[1,"1"]]"#), "not in the order"),
        (answer(&format!(r#""resultType":"vector","result":[{many}]"#)), "more than 10000; aggregate"),
        (said(200, &"[".repeat(100_000)), "not as Prometheus does"),
        (said(200, &" ".repeat(8 * 1024 * 1024 + 1)), "longer than 8 MiB"),
        (Answer::Cut, "no whole answer"),
    ] {
        let shown = format!("{given:?}").chars().take(200).collect::<String>();
        let seen = seen(given, &mapping()).await;
        assert!(seen.contains(says) && !seen.contains(char::is_control), "{shown}: {seen}");
        assert!(seen.chars().count() < 1_000, "{shown}");
    }
    let nameless =
        r#""resultType":"vector","result":[{"metric":{"version":"canary"},"value":[1435781451.781,"1"]}]"#;
    let seen_by_label = seen(answer(nameless), &by_label()).await;
    assert!(
        seen_by_label.contains("\"version=canary\": names no version; leave such series out"),
        "{seen_by_label}"
    );
    let unlabelled = seen(answer(&nameless.replace("version", "job")), &by_label()).await;
    assert!(unlabelled.contains("has no label of that name"), "{unlabelled}");
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    for (credentials, header) in [
        (Credentials::bearer("TOKEN-SECRET").unwrap(), "Bearer TOKEN-SECRET"),
        (Credentials::basic("aladdin", "opensesame").unwrap(), "Basic YWxhZGRpbjpvcGVuc2VzYW1l"),
    ] {
        let receiver = Receiver::answering([Answer::With(403, Vec::new(), Vec::new())]).await;
        let prometheus = Prometheus::new(receiver.url("").parse().unwrap(), Some(credentials)).unwrap();
        let error = prometheus.instant("up", at()).await.unwrap_err();
        let shown = format!("{error} {error:?} {prometheus:?}");
        assert!(
            !shown.contains("SECRET") && !shown.contains("opensesame") && !shown.contains("YWxh"),
            "{shown}"
        );
        assert_eq!(receiver.sent()[0].header("authorization"), header);
    }
    for error in [
        Credentials::bearer("SEC RET").unwrap_err(),
        Credentials::bearer("").unwrap_err(),
        Credentials::basic("SEC:RET", "x").unwrap_err(),
        Credentials::basic("x", "SEC\nRET").unwrap_err(),
    ] {
        assert!(!error.to_string().contains("SEC"), "{error}");
    }
}

#[tokio::test]
async fn a_stretch_is_asked_for_in_steps() {
    let matrix =
        r#""resultType":"matrix","result":[{"metric":{},"values":[[1435781430,"1"],[1435781445,"NaN"]]}]"#;
    let receiver = Receiver::answering([answer(matrix)]).await;
    let prometheus = Prometheus::new(receiver.url("").parse().unwrap(), None).unwrap();
    let from = "2015-07-01T20:10:30Z".parse().unwrap();
    let series = prometheus.range("up", from, at(), Duration::from_millis(15_500)).await.unwrap();
    assert_eq!(receiver.sent()[0].uri, "/api/v1/query_range");
    assert_eq!(receiver.sent()[0].body, b"query=up&start=1435781430.000&end=1435781451.781&step=15.500");
    let found = summaries(&series, &mapping(), &Version::new(1, 1, 0)).unwrap();
    assert_eq!(line(&found[0]), "v1.1.0: 1+1 mean 1 min 1 max 1 in 15000 ms");
}

/// A registry in which v1.1.0 is in production since a minute, with a rule on its errors.
async fn serving(rule: Rule) -> (Arc<dyn Registry>, Arc<ManualClock>, ModelName) {
    let clock = Arc::new(ManualClock::new(at()));
    let engine = Engine::new(Arc::<MemoryLog>::default(), Arc::<MemoryArtifacts>::default());
    let registry: Arc<dyn Registry> = Arc::new(engine.with_clock(clock.clone()));
    let (by, model): (By, ModelName) = (By::new("ana".parse().unwrap()), "fraud".parse().unwrap());
    for minor in [0, 1] {
        let version = Version::new(1, minor, 0);
        let registration = Registration::new(version.clone(), Content::default());
        registry.register(&by, &model, registration, &[]).await.unwrap();
        for stage in [Stage::Staging, Stage::Production] {
            registry.promote(&by, &model, &version, stage, PromoteOptions::default()).await.unwrap();
        }
    }
    let scope = Scope::Model(model.clone());
    registry.set_monitor_rule(&by, &scope, "errors".parse().unwrap(), Some(rule)).await.unwrap();
    clock.advance(Duration::from_secs(60));
    (registry, clock, model)
}

fn errors() -> Rule {
    Rule::new("error_rate".parse().unwrap(), Condition::Above(Finite::new(0.05).unwrap()))
}

fn source(receiver: &Receiver, mapping: Mapping) -> PrometheusSource {
    let prometheus = Prometheus::new(receiver.url("").parse().unwrap(), None).unwrap();
    PrometheusSource::new(prometheus, "errors:rate1m", mapping, Duration::from_secs(15)).unwrap()
}

#[tokio::test]
async fn ten_monitors_write_down_a_number_once_and_one_takes_the_version_out() {
    let (registry, clock, model) = serving(errors()).await;
    // 20:11:45, the multiple of 15 seconds before 20:11:51.
    let vector = r#""resultType":"vector","result":[{"metric":{},"value":[1435781505,"0.2"]}]"#;
    let receiver = Receiver::answering([answer(vector)]).await;
    let mut actions = Vec::new();
    for _ in 0..10 {
        clock.advance(Duration::from_millis(100));
        let mut monitor = Monitor::new(Arc::clone(&registry), model.clone())
            .pulling(Arc::new(source(&receiver, mapping())));
        actions.extend(monitor.look().await.unwrap().into_iter().map(|finding| finding.action));
    }
    let rolled_back = Action::RolledBack { to: Version::new(1, 0, 0) };
    assert_eq!(actions.iter().filter(|action| **action == rolled_back).count(), 1, "{actions:?}");
    let health = Stream::Health(model.clone());
    assert_eq!(registry.history(&health, Revision::FIRST, 100).await.unwrap().len(), 1);
    let asked: Vec<_> = receiver.sent().into_iter().map(|sent| sent.body).collect();
    assert_eq!(asked[0], b"query=errors%3Arate1m&time=1435781505.000");
}

#[tokio::test]
async fn a_server_that_cannot_be_read_takes_nothing_out_unless_the_rule_says_so() {
    for (on_error, in_production) in [(Response::Alert, (1, 1, 0)), (Response::RollBack, (1, 0, 0))] {
        let mut rule = errors();
        (rule.on_error, rule.consecutive_error_limit) = (on_error, 2);
        let (registry, clock, model) = serving(rule).await;
        let receiver = Receiver::answering([Answer::With(503, Vec::new(), b"away".to_vec())]).await;
        let mut monitor = Monitor::new(Arc::clone(&registry), model.clone())
            .pulling(Arc::new(source(&receiver, mapping())));
        for _ in 0..2 {
            assert!(monitor.look().await.unwrap().is_empty(), "not often enough");
            clock.advance(Duration::from_secs(60));
        }
        let findings = monitor.look().await.unwrap();
        assert!(findings[0].breach.reason.contains("3 times in a row"), "{}", findings[0].breach.reason);
        assert!(findings[0].breach.reason.contains("answered 503"), "{}", findings[0].breach.reason);
        let (major, minor, patch) = in_production;
        let live = registry.get(&model, &registry_core::Selector::PRODUCTION).await.unwrap();
        assert_eq!(live.version, Version::new(major, minor, patch));
    }
}

#[tokio::test]
async fn what_was_there_before_the_version_is_not_even_asked_for() {
    let receiver = Receiver::answering([answer(TWO)]).await;
    let watched = Watched { version: Version::new(1, 1, 0), since: at() };
    let now = at().saturating_add(Duration::from_secs(299));
    let covering = Mapping { covers: Duration::from_secs(300), ..mapping() };
    let pulled = source(&receiver, covering.clone()).pull(&watched, now).await.unwrap();
    assert!(pulled.summaries.is_empty() && receiver.sent().is_empty());
    let labelled = Mapping { version_label: Some("version".to_owned()), ..covering };
    let pulled = source(&receiver, labelled).pull(&watched, now).await.unwrap();
    assert_eq!(pulled.summaries.len(), 2, "a label says which version it was");
}

#[test]
fn sources_that_make_no_sense_are_refused() {
    let prometheus = Prometheus::new("http://127.0.0.1:9".parse().unwrap(), None).unwrap();
    let made = |query: &str, step| PrometheusSource::new(prometheus.clone(), query, mapping(), step).is_ok();
    assert!(made("up", Duration::from_millis(1)));
    assert!(
        !made("up", Duration::ZERO) && !made("up", Duration::from_micros(1)) && !made("up", Duration::MAX)
    );
    assert!(!made(" ", Duration::from_secs(1)) && !made(&"x".repeat(8_193), Duration::from_secs(1)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is answered there is a result or an error, and every number that is taken is one that was sent.
    #[test]
    fn whatever_is_answered_nothing_is_made_up(
        values in proptest::collection::vec(any::<f64>(), 0..20),
        seconds in proptest::collection::vec(any::<f64>(), 0..20),
        noise in proptest::collection::vec(any::<u8>(), 0..50),
        place in any::<proptest::sample::Index>(),
    ) {
        let elements: Vec<String> = values
            .iter()
            .zip(seconds.iter().map(|seconds| seconds.abs() % 2e9).chain(std::iter::repeat(1e9)))
            .map(|(value, at)| format!(r#"{{"metric":{{}},"value":[{at},"{value}"]}}"#))
            .collect();
        let whole = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
            elements.join(",")
        );
        let mut spoilt = whole.clone().into_bytes();
        let cut = place.index(spoilt.len());
        spoilt.splice(cut.., noise);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let receiver = Receiver::answering([body(whole), body(spoilt)]).await;
            let prometheus = Prometheus::new(receiver.url("").parse().unwrap(), None).unwrap();
            let late = "2100-01-01T00:00:00Z".parse().unwrap();
            if let Ok(series) = prometheus.instant("up", late).await {
                let found = summaries(&series, &mapping(), &Version::new(1, 1, 0)).unwrap();
                let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
                let count: u64 = found.iter().map(|summary| summary.observed.count).sum();
                assert_eq!(count, finite.len() as u64);
                if let Some(numbers) = found.first().and_then(|summary| summary.observed.numbers.as_ref()) {
                    assert!(finite.contains(&numbers.min.get()) && finite.contains(&numbers.max.get()));
                }
            }
            let _ = prometheus.instant("up", late).await;
        });
    }
}
