//! Why this exists: the library that reads sketches trusts them. Bins that are far apart, or more observations than can be
//! counted, end the program there, and what is read may be damaged or made up. So it is looked through before: what is
//! not put together as a sketch is, with numbers that fit, is refused.
//!
//! ```text
//! sketch = block…       block = flag, content        the two lowest bits of the flag say which:
//!   0  a count, a sum, an extreme      2  the ratio of neighbouring bins, and an offset
//!   1  bins above zero                 3  bins below zero
//! ```

use std::ops::RangeInclusive;

/// The numbers of bins. Those of all finite numbers lie within, for much finer sketches than ours too.
const BINS: RangeInclusive<i64> = -1_000_000..=1_000_000;
/// The ratio of neighbouring bins; ours is 1.02.
const RATIOS: RangeInclusive<f64> = 1.001..=10.0;
/// How many observations: a million a second for months.
const OBSERVATIONS_MAX: f64 = 1e13;

struct Reader<'a> {
    left: &'a [u8],
    observations: f64,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (byte, left) = self.left.split_first().ok_or("ends too early")?;
        self.left = left;
        Ok(*byte)
    }

    fn fixed(&mut self) -> Result<f64, &'static str> {
        let (bytes, left) = self.left.split_first_chunk().ok_or("ends too early")?;
        self.left = left;
        Ok(f64::from_le_bytes(*bytes))
    }

    /// Seven bits a byte, the lowest first; eight in the ninth.
    fn whole(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..=56).step_by(7) {
            let byte = self.byte()?;
            if byte < 0x80 || shift == 56 {
                return Ok(value | u64::from(byte) << shift);
            }
            value |= u64::from(byte & 0x7f) << shift;
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<i64, &'static str> {
        let whole = self.whole()?;
        Ok((whole >> 1).cast_signed() ^ -(whole & 1).cast_signed())
    }

    /// Seven bits a byte, the highest first; the bits are those of the number and one, turned.
    fn count(&mut self) -> Result<(), &'static str> {
        let mut bits = 0;
        for shift in (1..=57).rev().step_by(7) {
            let byte = self.byte()?;
            if shift == 1 {
                bits |= u64::from(byte);
            } else if byte < 0x80 {
                bits |= u64::from(byte) << shift;
                break;
            } else {
                bits |= u64::from(byte & 0x7f) << shift;
            }
        }
        let count = f64::from_bits(bits.rotate_right(6).wrapping_add(1.0_f64.to_bits())) - 1.0;
        self.observed(count)
    }

    fn observed(&mut self, count: f64) -> Result<(), &'static str> {
        self.observations += count;
        let fits = 0.0 <= count && self.observations <= OBSERVATIONS_MAX;
        if fits { Ok(()) } else { Err("counts more observations than anybody makes") }
    }

    fn bins(&mut self, form: u8) -> Result<(), &'static str> {
        let many = self.whole()?;
        let (mut bin, mut step) = (0_i64, None);
        if form == 3 {
            let first = self.signed()?;
            let by = self.signed()?;
            (bin, step) = (first.saturating_sub(by), Some(by));
        }
        // Each takes a byte at least, so this ends with the bytes.
        for _ in 0..many {
            let by = match step {
                Some(by) => by,
                None => self.signed()?,
            };
            bin = bin.saturating_add(by);
            if !BINS.contains(&bin) {
                return Err("has a bin for numbers that there are not");
            }
            match form {
                1 | 3 => self.count()?,
                2 => self.observed(1.0)?,
                _ => return Err("has bins in an unknown form"),
            }
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(), &'static str> {
        let flag = self.byte()?;
        match (flag & 3, flag >> 2) {
            (0, 0x01) => self.count(),
            // How many there are is counted by the bins.
            (0, 0x28) => {
                let before = self.observations;
                self.count()?;
                self.observations = before;
                Ok(())
            }
            (0, 0x21..=0x23) => self.fixed().map(drop),
            (1 | 3, form) => self.bins(form),
            (2, 0) => {
                let ratio = self.fixed()?;
                self.fixed()?;
                if RATIOS.contains(&ratio) { Ok(()) } else { Err("has bins of an impossible width") }
            }
            _ => Err("holds what no sketch holds"),
        }
    }
}

/// Refuses what cannot be read safely.
pub(super) fn check(bytes: &[u8]) -> Result<(), &'static str> {
    // A number of a version may stand there, which then could be read as a block and the other way round.
    if bytes.first() == Some(&2) {
        return Err("does not begin with how many observations there are");
    }
    let mut reader = Reader { left: bytes, observations: 0.0 };
    while !reader.left.is_empty() {
        reader.block()?;
    }
    Ok(())
}
