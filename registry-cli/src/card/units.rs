//! Why this exists: people write `35ms`, `12MB` and `0.2 cores`; the record keeps milliseconds, bytes and
//! cores. A number without a unit is refused where it could mean several things: `35` may be
//! milliseconds or seconds, and a guess would be wrong in silence.

use registry_core::Invalid;

/// A unit as a fraction of the one that is kept, so that `45min` is exactly 2700 seconds and `100us`
/// exactly 0.1 milliseconds.
struct Unit {
    names: &'static [&'static str],
    times: f64,
    over: f64,
}

const fn unit(names: &'static [&'static str], times: f64, over: f64) -> Unit {
    Unit { names, times, over }
}

const SECONDS: &[Unit] = &[
    unit(&["ns"], 1.0, 1e9),
    unit(&["us", "µs", "μs"], 1.0, 1e6),
    unit(&["ms"], 1.0, 1e3),
    unit(&["s", "sec", "second", "seconds"], 1.0, 1.0),
    unit(&["m", "min", "minute", "minutes"], 60.0, 1.0),
    unit(&["h", "hour", "hours"], 3_600.0, 1.0),
    unit(&["d", "day", "days"], 86_400.0, 1.0),
];

const MILLISECONDS: &[Unit] = &[
    unit(&["ns"], 1.0, 1e6),
    unit(&["us", "µs", "μs"], 1.0, 1e3),
    unit(&["ms"], 1.0, 1.0),
    unit(&["s", "sec", "second", "seconds"], 1e3, 1.0),
    unit(&["m", "min", "minute", "minutes"], 6e4, 1.0),
    unit(&["h", "hour", "hours"], 3.6e6, 1.0),
];

const BYTES: &[Unit] = &[
    unit(&["b", "byte", "bytes"], 1.0, 1.0),
    unit(&["kb"], 1e3, 1.0),
    unit(&["mb"], 1e6, 1.0),
    unit(&["gb"], 1e9, 1.0),
    unit(&["tb"], 1e12, 1.0),
    unit(&["kib"], 1_024.0, 1.0),
    unit(&["mib"], 1_048_576.0, 1.0),
    unit(&["gib"], 1_073_741_824.0, 1.0),
    unit(&["tib"], 1_099_511_627_776.0, 1.0),
];

/// A duration in seconds: `45min`, `1h 30min`, `0.5h`.
pub(crate) fn seconds(text: &str) -> Result<f64, Invalid> {
    sum(
        "duration",
        text,
        SECONDS,
        "expected a number and a unit, for example `45min`; units are ms, s, min, h and d",
    )
}

/// A duration in whole seconds.
pub(crate) fn whole_seconds(text: &str) -> Result<u64, Invalid> {
    let seconds = seconds(text)?;
    whole(seconds).ok_or_else(|| Invalid::new("duration", text, "must be whole seconds, and not endless"))
}

/// A duration in milliseconds: `35ms`, `1.5s`.
pub(crate) fn milliseconds(text: &str) -> Result<f64, Invalid> {
    sum(
        "duration",
        text,
        MILLISECONDS,
        "expected a number and a unit, for example `35ms`; units are us, ms, s, min and h",
    )
}

/// A size in bytes: `12MB`, `1.5 GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, Invalid> {
    let expected = "expected a number and a unit, for example `12MB`; units are B, kB, MB, GB, TB and KiB, MiB, GiB, TiB";
    let (count, rest) = part(text.trim()).ok_or_else(|| Invalid::new("size", text, expected))?;
    let in_bytes = scaled(count, rest, BYTES).ok_or_else(|| Invalid::new("size", text, expected))?;
    whole(in_bytes.round()).ok_or_else(|| Invalid::new("size", text, "is larger than any file"))
}

/// Cores: `0.2 cores`, `0.2` or, as Kubernetes writes it, `200m`.
pub(crate) fn cores(text: &str) -> Result<f64, Invalid> {
    let expected = "expected a number of cores, for example `0.2 cores` or `200m`";
    let (count, rest) = part(text.trim()).ok_or_else(|| Invalid::new("CPU", text, expected))?;
    match rest {
        "" | "core" | "cores" | "cpu" | "cpus" => Ok(count),
        "m" => Ok(count / 1e3),
        _ => Err(Invalid::new("CPU", text, expected)),
    }
}

fn sum(what: &'static str, text: &str, units: &[Unit], expected: &str) -> Result<f64, Invalid> {
    let refused = || Invalid::new(what, text, expected);
    let mut rest = text.trim();
    let mut total = 0.0;
    loop {
        let (count, tail) = part(rest).ok_or_else(refused)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        total += scaled(count, name.trim(), units).ok_or_else(refused)?;
        rest = tail.trim_start();
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// A number at the start of a text, and what follows it.
fn part(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    number.is_finite().then(|| (number, rest.trim_start()))
}

fn scaled(count: f64, name: &str, units: &[Unit]) -> Option<f64> {
    let name = name.to_lowercase();
    let unit = units.iter().find(|unit| unit.names.contains(&name.as_str()))?;
    let value = count * unit.times / unit.over;
    value.is_finite().then_some(value)
}

/// A number without a fraction that fits.
fn whole(value: f64) -> Option<u64> {
    // 2^53: beyond it not every whole number can be told from its neighbours.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() != 0.0 || !(0.0..=EXACT_MAX).contains(&value) {
        return None;
    }
    // Checked: it has no fraction, is not negative and fits.
    Some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("45min", 2_700.0),
            ("45 min", 2_700.0),
            ("1h30min", 5_400.0),
            ("1h 30min", 5_400.0),
            ("0.5h", 1_800.0),
            ("90s", 90.0),
            ("250ms", 0.25),
            ("2d", 172_800.0),
        ] {
            assert_eq!(seconds(text).unwrap(), expected, "{text}");
        }
        for (text, expected) in
            [("35ms", 35.0), ("1.5s", 1_500.0), ("100us", 0.1), ("100µs", 0.1), ("35 ms", 35.0)]
        {
            assert_eq!(milliseconds(text).unwrap(), expected, "{text}");
        }
        for bad in
            ["", "35", "ms", "-5ms", "35 msec", "1e3s", "NaN s", "inf s", "1..5s", "5 parsecs", "1h30", "é"]
        {
            assert!(seconds(bad).is_err(), "{bad}");
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
        assert_eq!(whole_seconds("30d").unwrap(), 2_592_000);
        assert!(whole_seconds("1.5s").is_err());
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("12MB", 12_000_000),
            ("12 mb", 12_000_000),
            ("256MiB", 268_435_456),
            ("1.5GB", 1_500_000_000),
            ("0.1 kB", 100),
            ("7B", 7),
            ("1KiB", 1_024),
        ] {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "12", "MB", "-1MB", "12XB", "1e9999GB", "99999999999TB", "12MB 3kB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn processors() {
        for (text, expected) in
            [("0.2 cores", 0.2), ("0.2", 0.2), ("1 core", 1.0), ("200m", 0.2), ("4cpus", 4.0)]
        {
            assert_eq!(cores(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "20%", "cores", "-1", "two", "0.2 horses"] {
            assert!(cores(bad).is_err(), "{bad}");
        }
    }
}
