//! Compensated sums (Neumaier's form of Kahan's), as Prometheus adds (util/kahansum).

/// A running sum and what rounding has lost of it. Once the sum is infinite nothing is compensated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub total: f64,
    pub lost: f64,
}

impl Sum {
    #[must_use]
    pub fn plus(self, value: f64) -> Self {
        let total = self.total + value;
        let lost = if total.is_infinite() {
            0.0
        } else if self.total.abs() >= value.abs() {
            self.lost + ((self.total - total) + value)
        } else {
            self.lost + ((value - total) + self.total)
        };
        Self { total, lost }
    }

    pub fn value(self) -> f64 {
        self.total + self.lost
    }
}

/// Adds a value to each sum, as [`Sum::plus`] does, in a form that the compiler makes vector instructions of.
pub(crate) fn add_each(totals: &mut [f64], lost: &mut [f64], values: &[f64]) {
    for ((total, lost), value) in totals.iter_mut().zip(lost).zip(values) {
        let next = *total + *value;
        let total_is_larger = total.abs() >= value.abs();
        let large = if total_is_larger { *total } else { *value };
        let small = if total_is_larger { *value } else { *total };
        let both = *lost + ((large - next) + small);
        *lost = if next.is_infinite() { 0.0 } else { both };
        *total = next;
    }
}

/// A running mean: the sum divided at the end, unless the sum would overflow; from then on the mean itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub fn of(first: f64) -> Self {
        Self { sum: Sum { total: first, lost: 0.0 }, count: 1.0, incremental: false }
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let next = self.sum.plus(value);
            if !next.total.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.sum.total /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        let scaled = Sum { total: share * self.sum.total, lost: share * self.sum.lost };
        self.sum = scaled.plus(value / self.count);
    }

    pub fn value(&self) -> f64 {
        if self.incremental {
            return self.sum.value();
        }
        self.sum.total / self.count + self.sum.lost / self.count
    }
}

/// Between which of sorted values a quantile lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rank {
    pub lower: usize,
    pub upper: usize,
    weight: f64,
}

impl Rank {
    /// `Err` is the quantile where it is none of the values'.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks lie between 0 and the number of values"
    )]
    pub fn of(q: f64, count: usize) -> Result<Self, f64> {
        if count == 0 || q.is_nan() {
            return Err(f64::NAN);
        }
        if q < 0.0 {
            return Err(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return Err(f64::INFINITY);
        }
        let rank = q * (count - 1) as f64;
        let lower = rank as usize;
        Ok(Self { lower, upper: (lower + 1).min(count - 1), weight: rank - lower as f64 })
    }

    pub fn between(&self, lower: f64, upper: f64) -> f64 {
        lower * (1.0 - self.weight) + upper * self.weight
    }
}

/// The φ-quantile with linear interpolation; sorts the values, NaN as the smallest.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let rank = match Rank::of(q, values.len()) {
        Ok(rank) => rank,
        Err(value) => return value,
    };
    values.sort_unstable_by(|a, b| {
        b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    rank.between(values[rank.lower], values[rank.upper])
}
