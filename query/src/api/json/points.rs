//! Points `[time,"value"]` of a series, which large answers consist of. What lies between two values is one text,
//! made once per step; most values are small whole numbers, whose digits take no loop.

use super::Json;

/// Room for what lies before a value.
const PREFIX: usize = 32;
/// Room for a value in the usual form.
const NUMBER: usize = 32;
/// Whole numbers below this are written eight digits at a time.
const SMALL: u32 = 100_000_000;
/// From here to [`LARGE`], shortest digits have no exponent.
const TINY: f64 = 1e-4;
const LARGE: f64 = 1e15;

/// The times of a range query: `start`, `start + step`, … in milliseconds, `count` of them.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::api) struct Grid {
    pub(in crate::api) start: i64,
    pub(in crate::api) step: i64,
    pub(in crate::api) count: usize,
}

/// `"],[time,"`: the end of one point and the beginning of the next.
#[derive(Debug, Clone, Copy)]
struct Between {
    text: [u8; PREFIX],
    length: usize,
}

/// What of it belongs to the point before.
const END: &str = "\"],";

impl Between {
    fn new(time: i64) -> Self {
        let mut json = Json::default();
        json.raw(END);
        json.point_start(time);
        let mut text = [0; PREFIX];
        // The longest time has 21 characters.
        let length = json.out.len().min(PREFIX);
        text[..length].copy_from_slice(&json.out[..length]);
        Self { text, length }
    }
}

/// The beginnings of all points on a grid, each made once.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    grid: Grid,
    all: Vec<Between>,
}

impl Prefixes {
    pub(super) fn new(grid: Grid) -> Self {
        let mut time = grid.start;
        let mut all = Vec::with_capacity(grid.count);
        for _ in 0..grid.count {
            all.push(Between::new(time));
            time = time.saturating_add(grid.step);
        }
        Self { grid, all }
    }

    /// Where on the grid a time is; 0 when it is not.
    fn find(&self, time: i64) -> usize {
        let since = time.saturating_sub(self.grid.start).max(0);
        usize::try_from(since / self.grid.step.max(1)).unwrap_or(0)
    }
}

impl Json {
    /// `[time,"`
    pub(super) fn point_start(&mut self, time: i64) {
        self.raw("[");
        self.timestamp(time);
        self.raw(",\"");
    }

    /// `[time,"value"]`
    pub(super) fn point(&mut self, time: i64, value: f64) {
        self.point_start(time);
        self.float(value);
        self.raw("\"]");
    }

    /// `[time,"value"],[time,"value` and so on, without the end of the last one; when `follows`, with the end of the
    /// one before. `times` ascend, and there are as many values.
    pub(super) fn points(
        &mut self,
        prefixes: &Prefixes,
        times: &[i64],
        values: &[f64],
        mut follows: bool,
    ) {
        let grid = prefixes.grid;
        let mut at = times.first().map_or(0, |time| prefixes.find(*time));
        let mut end = self.out.len();
        self.out.resize(end + times.len().min(values.len()) * (PREFIX + NUMBER) + PREFIX, 0);
        for (time, value) in times.iter().zip(values) {
            let mut on_grid = grid.start.saturating_add(grid.step.saturating_mul(at as i64));
            while on_grid < *time && at + 1 < grid.count {
                at += 1;
                on_grid = on_grid.saturating_add(grid.step);
            }
            let between = match prefixes.all.get(at) {
                Some(between) if on_grid == *time => {
                    at += 1;
                    *between
                }
                _ => Between::new(*time),
            };
            if follows {
                end = put(&mut self.out, end, &between.text, between.length);
            } else {
                let text = &between.text[END.len()..between.length];
                self.out[end..end + text.len()].copy_from_slice(text);
                end += text.len();
                follows = true;
            }
            end = match small(*value) {
                Some((digits, length)) => put(&mut self.out, end, &digits, length),
                None => self.put_float(end, *value),
            };
        }
        self.out.truncate(end);
    }

    /// Writes a number into the room that is there; gives where it ends.
    fn put_float(&mut self, at: usize, value: f64) -> usize {
        let mut buffer = zmij::Buffer::new();
        let magnitude = value.abs();
        let other;
        let text = if (TINY..LARGE).contains(&magnitude) {
            let text = buffer.format_finite(value);
            text.strip_suffix(".0").unwrap_or(text)
        } else {
            let mut json = Self::default();
            json.float(value);
            other = json.out;
            // A number in this form is no longer than 26 characters.
            let length = other.len().min(NUMBER);
            self.out[at..at + length].copy_from_slice(&other[..length]);
            return at + length;
        };
        self.out[at..at + text.len()].copy_from_slice(text.as_bytes());
        at + text.len()
    }
}

/// Copies all of a text of fixed size, of which `length` counts; gives where that ends.
#[inline(always)]
fn put<const N: usize>(out: &mut [u8], at: usize, text: &[u8; N], length: usize) -> usize {
    out[at..at + N].copy_from_slice(text);
    at + length
}

/// The digits of a whole number from 0 to 99,999,999, and how many.
#[inline(always)]
fn small(value: f64) -> Option<([u8; 8], usize)> {
    // Saturates, so that what does not fit comes back as another number.
    let whole = value as u32;
    if whole >= SMALL || f64::from(whole).to_bits() != value.to_bits() {
        return None;
    }
    // Halves, then pairs, then single digits, side by side in one register.
    let halves = u64::from(whole / 10_000) | u64::from(whole % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let pairs = ((halves - 100 * hundreds) << 16) + hundreds;
    let tens = ((pairs * 103) >> 10) & 0x000F_000F_000F_000F;
    let digits = ((pairs - 10 * tens) << 8) + tens;
    let zeros = (digits.trailing_zeros() / 8).min(7);
    let text = (digits >> (zeros * 8)) | 0x3030_3030_3030_3030;
    Some((text.to_le_bytes(), 8 - zeros as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_whole_numbers_have_the_digits_they_should() {
        for whole in (0..200_000).chain((0..1_000).map(|i| SMALL - 1 - i * 99_991)) {
            let (text, length) = small(f64::from(whole)).unwrap();
            assert_eq!(text[..length], *whole.to_string().as_bytes());
        }
        for other in [-0.0, -1.0, 0.5, f64::from(SMALL), 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(small(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn points_in_a_run_are_points_one_by_one(
            bits in prop::collection::vec(any::<u64>(), 1..20),
            whole in prop::collection::vec(-5_i64..200_000_000, 1..20),
            times in prop::collection::btree_set(-50_i64..200, 1..20),
            far in any::<i64>(),
            step in 1_i64..20,
        ) {
            let numbers = whole.iter().map(|number| *number as f64 / 4.0);
            let values: Vec<f64> = bits.iter().map(|b| f64::from_bits(*b)).chain(numbers).collect();
            let times: Vec<i64> = times.into_iter().map(|t| t * 7).chain([far]).collect();
            let count = times.len().min(values.len());
            let (times, values) = (&times[..count], &values[..count]);
            let prefixes = Prefixes::new(Grid { start: 0, step, count: 300 });
            let (mut run, mut single) = (Json::default(), Json::default());
            run.points(&prefixes, times, values, false);
            run.raw("\"]");
            for (at, (time, value)) in times.iter().zip(values).enumerate() {
                single.raw(if at > 0 { "," } else { "" });
                single.point(*time, *value);
            }
            prop_assert_eq!(String::from_utf8(run.out).unwrap(), String::from_utf8(single.out).unwrap());
        }
    }
}
