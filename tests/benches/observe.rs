//! Whether a service can observe a million times a second for as long as it likes: two threads observe at that pace for
//! ten seconds, and every second what was observed is taken and encoded as it would be reported. Written are the pace that
//! was kept, what an observation costs, and how much memory is in use. `cargo bench -p registry-tests --bench observe`.

#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]

use std::time::{Duration, Instant};

use registry_core::monitor::{Meter, Meters};
use registry_core::{Clock as _, SystemClock, Version};

const THREADS: u32 = 2;
const PER_SECOND: u32 = 1_000_000;
const SECONDS: u32 = 10;
/// Observations between two looks at the time.
const BATCH: u32 = 1_000;
const BATCHES: u32 = PER_SECOND / THREADS / BATCH * SECONDS;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "what is measured is time")]
    Instant::now()
}

/// What is in use of the machine's memory, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says it of each process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Room for what is measured, written to before, so that it is no growth later.
fn room(batches: u32) -> Vec<Duration> {
    let mut room = vec![Duration::MAX; batches as usize];
    room.clear();
    room
}

/// Observes at its share of the pace, from the start on; how long each batch took.
fn observe(meter: &Meter, seed: u64, start: Instant) -> Vec<Duration> {
    let mut took = room(BATCHES);
    let mut drawn = seed;
    for batch in 0..BATCHES {
        let due = start + Duration::from_secs(SECONDS.into()) * batch / BATCHES;
        std::thread::sleep(due.saturating_duration_since(now()));
        let begun = now();
        for _ in 0..BATCH {
            // Times in milliseconds over three orders of magnitude.
            drawn ^= drawn << 13;
            drawn ^= drawn >> 7;
            drawn ^= drawn << 17;
            let exponent = u32::try_from(drawn >> 60).unwrap_or(0) % 10;
            meter.observe(f64::from(2_u32.pow(exponent)) + f64::from(drawn as u8) / 256.0);
        }
        took.push(begun.elapsed());
    }
    took
}

fn main() {
    // Run as a test it would only keep the machine busy.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let meters = Meters::new(None);
    let meter = meters.meter(&Version::new(1, 0, 0), &"latency".parse().expect("legal"));
    let mut took = room(BATCHES * THREADS);
    let (mut counted, mut encoded_bytes_max) = (0, 0);
    let begun = SystemClock.now();
    let at_start = resident_kib();
    let (mut after_a_second, mut at_end) = (0, 0);
    let start = now();
    let mut lasted = Duration::ZERO;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS)
            .map(|thread| {
                let meter = meter.clone();
                scope.spawn(move || observe(&meter, u64::from(thread) * 0x9e37_79b9, start))
            })
            .collect();
        for second in 1..=SECONDS {
            std::thread::sleep((start + Duration::from_secs(second.into())).saturating_duration_since(now()));
            for summary in meters.take(begun, SystemClock.now()) {
                counted += summary.observed.count;
                let encoded = serde_json::to_vec(&summary).expect("encodes");
                encoded_bytes_max = encoded.len().max(encoded_bytes_max);
            }
            at_end = resident_kib();
            if second == 1 {
                after_a_second = at_end;
            }
        }
        for thread in threads {
            took.extend(thread.join().expect("no panic"));
        }
        lasted = start.elapsed();
    });
    counted +=
        meters.take(begun, SystemClock.now()).iter().map(|summary| summary.observed.count).sum::<u64>();
    assert_eq!(counted, u64::from(BATCHES) * u64::from(BATCH) * u64::from(THREADS), "nothing is lost");
    took.sort_unstable();
    let per_observation = |share: usize| {
        let batch = took.get(took.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
        batch.as_nanos() as f64 / f64::from(BATCH)
    };
    println!("observations: {counted} in {:.2} s on {THREADS} threads", lasted.as_secs_f64());
    println!("rate: {:.0} a second", counted as f64 / lasted.as_secs_f64());
    println!(
        "an observation, with drawing its value: median {:.1} ns, 99 of 100 batches below {:.1} ns",
        per_observation(50),
        per_observation(99)
    );
    println!(
        "resident memory: {at_start} KiB at the start, {after_a_second} KiB after a second, {at_end} KiB at the end"
    );
    println!("the longest encoded summary: {encoded_bytes_max} bytes");
}
