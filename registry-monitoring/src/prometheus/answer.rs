//! Why this exists: an answer may be an error, a part, a page of a proxy, or anything else that somebody put there. It is
//! read in full into what can only be numbers with a time and labels, or refused with what is wrong.

use std::collections::BTreeMap;

use registry_core::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::PrometheusError;
use crate::address::Address;
use crate::http::said;

/// How many series, and how many points in all of them, are taken.
const SERIES_MAX: usize = 10_000;
const SAMPLES_MAX: usize = 100_000;
/// How far after the instant that was asked for a sample may lie, for clocks count in milliseconds.
const AFTER_MICROSECONDS_MAX: i64 = 1_000;

/// A number at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// How much; perhaps no number.
    pub value: f64,
}

/// Numbers under one set of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The labels; none for a scalar.
    pub labels: BTreeMap<String, String>,
    /// The numbers, in the order of their times.
    pub samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Envelope {
    status: Status,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    Vector(Vec<Element>),
    Matrix(Vec<Element>),
    String(IgnoredAny),
}

/// Seconds since 1970, and the number as text.
#[derive(Deserialize)]
struct Point(f64, String);

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<Point>,
    #[serde(default)]
    values: Vec<Point>,
    #[serde(default)]
    histogram: Option<IgnoredAny>,
    #[serde(default)]
    histograms: Vec<IgnoredAny>,
}

/// What an answer says, of nothing later than was asked for.
pub(super) fn read(
    server: &Address,
    status: u16,
    body: &[u8],
    until: Timestamp,
) -> Result<Vec<Series>, PrometheusError> {
    let wrong = |problem: String| PrometheusError::NotUnderstood { server: server.clone(), status, problem };
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| match status {
        300..=399 => wrong("redirects are not followed; give the address it leads to".to_owned()),
        401 | 403 => wrong("access is denied; give a token, or a user and a password".to_owned()),
        404 => wrong("nothing is there; the address must end before `/api/v1`".to_owned()),
        _ => wrong(format!("{}: {:?}", said(&error.to_string()), said(&String::from_utf8_lossy(body)))),
    })?;
    if matches!(envelope.status, Status::Error) {
        let (kind, message) = (said(&envelope.error_type), said(&envelope.error));
        return Err(PrometheusError::Failed { server: server.clone(), kind, message });
    }
    if !(200..300).contains(&status) {
        return Err(wrong("the status contradicts what it says".to_owned()));
    }
    if !envelope.warnings.is_empty() {
        let warnings = said(&envelope.warnings.join("; "));
        return Err(PrometheusError::Warned { server: server.clone(), warnings });
    }
    let elements = match envelope.data {
        None => return Err(wrong("there is no data in it".to_owned())),
        Some(Data::String(_)) => {
            return Err(wrong("the expression is worth a text, not a number".to_owned()));
        }
        Some(Data::Vector(elements) | Data::Matrix(elements)) => elements,
        Some(Data::Scalar(point)) => {
            let sample = sample(&point, until).map_err(wrong)?;
            return Ok(vec![Series { labels: BTreeMap::new(), samples: vec![sample] }]);
        }
    };
    if SERIES_MAX < elements.len() {
        let problem = format!("{} series are more than {SERIES_MAX}; aggregate them", elements.len());
        return Err(wrong(problem));
    }
    let mut count = 0_usize;
    let mut series = Vec::with_capacity(elements.len());
    for element in elements {
        if element.histogram.is_some() || !element.histograms.is_empty() {
            let problem =
                "the expression is worth a histogram; take a number of it, as `histogram_quantile` does";
            return Err(wrong(problem.to_owned()));
        }
        let points = element.value.iter().chain(&element.values);
        let samples =
            points.map(|point| sample(point, until)).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        count = count.saturating_add(samples.len());
        if SAMPLES_MAX < count {
            return Err(wrong(format!("there are more than {SAMPLES_MAX} points; make the step longer")));
        }
        if !samples.is_sorted_by_key(|sample| sample.at) {
            return Err(wrong("the points of a series are not in the order of their times".to_owned()));
        }
        series.push(Series { labels: element.metric, samples });
    }
    Ok(series)
}

fn sample(Point(seconds, number): &Point, until: Timestamp) -> Result<Sample, String> {
    let wrong = |what: &str| Err(format!("{seconds} is no time {what}"));
    // Years far from ours are of no use to anybody, and would not fit.
    if !(0.0..1e11).contains(seconds) {
        return wrong("in seconds since 1970");
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked above")]
    let milliseconds = (seconds * 1e3).round() as i64;
    let Ok(at) = Timestamp::from_microseconds(milliseconds.saturating_mul(1_000)) else {
        return wrong("in seconds since 1970");
    };
    if until.microseconds().saturating_add(AFTER_MICROSECONDS_MAX) < at.microseconds() {
        return wrong("that was asked for: it is later");
    }
    match number.parse() {
        Ok(value) => Ok(Sample { at, value }),
        Err(_) => Err(format!("{:?} is not a number", said(number))),
    }
}
