//! Why this exists: the one who must be told may be away for a moment, and a moment later it may be too much for them.
//! So a notification is sent again, under the same id, after pauses that grow and end:
//!
//! | what comes back | is sent again |
//! |---|---|
//! | 2xx | no: it was told |
//! | no connection, no answer, a cut one; 408, 429, 5xx | yes; after the time that `Retry-After` asks for, or the longest pause if it asks for more |
//! | another status; a redirect | never: it would not help |
//!
//! It may arrive twice where an answer was lost: the receiver knows it by its id. The pauses are not varied at random,
//! unlike those of writers that get in each other's way: one that rolls back is the only one that tells it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use registry_core::monitor::{Finding, Notify};
use registry_core::{Clock, Invalid, SystemClock, Timestamp};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use crate::address::Address;
use crate::http;
use crate::notification::Notification;
use crate::secret::Secret;
use crate::signature::sign;

/// How long a webhook is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often it is sent at most.
    pub attempts_max: NonZeroU32,
    /// How long the first pause is; each following one is twice as long.
    pub pause_first: Duration,
    /// How long a pause is at most, also where the receiver asks for a longer one.
    pub pause_max: Duration,
    /// How long one attempt may take.
    pub attempt_max: Duration,
    /// How long all of it may take: other listeners wait.
    pub total_max: Duration,
}

impl Default for Patience {
    /// Five attempts of ten seconds, after 0.5, 1, 2 and 4 seconds, and a minute for all.
    fn default() -> Self {
        Patience {
            attempts_max: NonZeroU32::MIN.saturating_add(4),
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(20),
            attempt_max: Duration::from_secs(10),
            total_max: Duration::from_secs(60),
        }
    }
}

impl Patience {
    /// How long to wait after so many attempts, of which the last failed when so much time was over; none if it is not
    /// to be sent again.
    fn pause(&self, attempts: u32, asked: Option<Duration>, elapsed: Duration) -> Option<Duration> {
        if self.attempts_max.get() <= attempts {
            return None;
        }
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let pause = self.pause_first.saturating_mul(doubled).min(self.pause_max);
        let pause = pause.max(asked.unwrap_or_default().min(self.pause_max));
        let fits = elapsed.saturating_add(pause) < self.total_max;
        fits.then_some(pause)
    }
}

/// It was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// How often it was sent.
    pub attempts: u32,
}

/// It could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undelivered {
    /// The receiver does not want it, and sending it again would not help.
    #[error("{to} answered {status}{hint}")]
    Refused {
        /// Who.
        to: Address,
        /// The status of the answer.
        status: u16,
        /// What to do about it.
        hint: &'static str,
    },
    /// It was sent as often, or for as long, as it may be.
    #[error("{to} was not reached in {attempts} attempts: {problem}")]
    GaveUp {
        /// Who.
        to: Address,
        /// How often.
        attempts: u32,
        /// What went wrong the last time.
        problem: String,
    },
    /// It cannot be put into a header.
    #[error("the notification has an id that cannot be sent")]
    Id,
}

/// Sends findings to an address, signed.
#[derive(Clone)]
pub struct Webhook {
    to: Address,
    secret: Secret,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

/// What came of one attempt.
enum Attempt {
    Told,
    Refused(StatusCode),
    Again { problem: String, asked: Option<Duration> },
}

impl Webhook {
    /// A webhook to that address, signed with that secret.
    pub fn new(to: Address, secret: Secret) -> Result<Webhook, Invalid> {
        let client = http::client(&to)?;
        Ok(Webhook { to, secret, client, clock: Arc::new(SystemClock), patience: Patience::default() })
    }

    /// The same, tried for another time.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Webhook {
        Webhook { patience, ..self }
    }

    /// The same, by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Webhook {
        Webhook { clock, ..self }
    }

    /// Sends a notification until it is told, or patience ends.
    pub async fn send(&self, notification: &Notification) -> Result<Delivered, Undelivered> {
        let body = notification.json();
        let begun = self.clock.now();
        let mut attempts = 0_u32;
        loop {
            attempts = attempts.saturating_add(1);
            let left = self.patience.total_max.saturating_sub(self.clock.now().since(begun));
            let timeout = self.patience.attempt_max.min(left);
            match self.attempt(&notification.id, &body, timeout).await? {
                Attempt::Told => return Ok(Delivered { attempts }),
                Attempt::Refused(status) => {
                    return Err(Undelivered::Refused {
                        to: self.to.clone(),
                        status: status.as_u16(),
                        hint: hint(status),
                    });
                }
                Attempt::Again { problem, asked } => {
                    let elapsed = self.clock.now().since(begun);
                    let Some(pause) = self.patience.pause(attempts, asked, elapsed) else {
                        return Err(Undelivered::GaveUp { to: self.to.clone(), attempts, problem });
                    };
                    self.clock.sleep(pause).await;
                }
            }
        }
    }

    async fn attempt(&self, id: &str, body: &str, timeout: Duration) -> Result<Attempt, Undelivered> {
        let now = self.clock.now();
        let timestamp = now.microseconds().div_euclid(1_000_000).to_string();
        let signature = sign(&self.secret, id, &timestamp, body.as_bytes()).ok_or(Undelivered::Id)?;
        let request = self
            .client
            .post(self.to.url().clone())
            .timeout(timeout)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body.to_owned());
        // What the receiver says besides the status is not read.
        Ok(match request.send().await {
            Ok(answer) if answer.status().is_success() => Attempt::Told,
            Ok(answer) if is_passing(answer.status()) => {
                let asked = asked(answer.headers(), now);
                let wait = asked.map(|asked| format!(" and asked to wait {} s", asked.as_secs()));
                let problem = format!("it answered {}{}", answer.status().as_u16(), wait.unwrap_or_default());
                Attempt::Again { problem, asked }
            }
            Ok(answer) => Attempt::Refused(answer.status()),
            Err(error) if error.is_builder() => return Err(Undelivered::Id),
            Err(error) => Attempt::Again { problem: http::problem(error), asked: None },
        })
    }
}

/// Whether an answer may be another one the next time.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        status if status.is_redirection() => "; redirects are not followed: give the address it leads to",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; does it know the same secret?",
        StatusCode::NOT_FOUND | StatusCode::GONE => "; is the address still right?",
        _ => "",
    }
}

/// How long the receiver asks to be left alone: seconds, or a date.
fn asked(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = u64::try_from(now.microseconds()).ok().map(Duration::from_micros)?;
    Some(until.saturating_sub(now))
}

#[async_trait]
impl Notify for Webhook {
    async fn notify(&self, finding: &Finding) -> Result<(), String> {
        match self.send(&Notification::from(finding)).await {
            Ok(_) => Ok(()),
            Err(undelivered) => Err(undelivered.to_string()),
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.to).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let patience = Patience::default();
        let ms = Duration::from_millis;
        let mut pauses = Vec::new();
        let mut elapsed = Duration::ZERO;
        while let Some(pause) = patience.pause(u32::try_from(pauses.len()).unwrap() + 1, None, elapsed) {
            pauses.push(pause);
            elapsed += pause;
        }
        assert_eq!(pauses, [ms(500), ms(1_000), ms(2_000), ms(4_000)]);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(patience.pause(1, asked(7), Duration::ZERO), asked(7));
        assert_eq!(patience.pause(4, asked(1), Duration::ZERO), asked(4), "never sooner than without it");
        assert_eq!(patience.pause(1, asked(21), Duration::ZERO), asked(20), "no longer than anybody waits");
        assert_eq!(patience.pause(1, None, Duration::from_secs(60)), None);
    }

    #[test]
    fn a_date_to_wait_until_is_read() {
        let now = "2024-01-15T10:30:00Z".parse().unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            ("Mon, 15 Jan 2024 10:30:20 GMT", Some(20)),
            ("Mon, 15 Jan 2024 10:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(asked(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    proptest! {
        #[test]
        fn however_it_goes_it_ends_in_time(
            attempts_max in 1..20_u32,
            first in 0..5_000_u64,
            pause_max in 0..30_000_u64,
            total in 0..120_000_u64,
            asked in proptest::collection::vec(proptest::option::of(0..100_000_u64), 20),
        ) {
            let patience = Patience {
                attempts_max: NonZeroU32::new(attempts_max).unwrap(),
                pause_first: Duration::from_millis(first),
                pause_max: Duration::from_millis(pause_max),
                attempt_max: Duration::ZERO,
                total_max: Duration::from_millis(total),
            };
            let mut elapsed = Duration::ZERO;
            let mut attempts = 0;
            for asked in asked {
                attempts += 1;
                let asked = asked.map(Duration::from_millis);
                let Some(pause) = patience.pause(attempts, asked, elapsed) else { break };
                let asked = asked.unwrap_or_default().min(patience.pause_max);
                prop_assert!(asked <= pause && pause <= patience.pause_max);
                elapsed += pause;
                prop_assert!(elapsed < patience.total_max);
            }
            prop_assert!(attempts <= attempts_max);
        }
    }
}
