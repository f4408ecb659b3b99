//! Random numbers that are the same for ever: a finding is named by its seed and number.

/// Steele, Lea and Flood's SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of one input.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another one; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// Whether something that happens once in `n` times happens.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of some things; there has to be one.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// A small number, now and then a large one, of either sign.
    pub fn number(&mut self) -> i64 {
        let bits = self.below(64);
        (self.next() >> bits).cast_signed() * if self.once_in(2) { 1 } else { -1 }
    }

    /// A float: mostly a plain one, sometimes any bits.
    pub fn float(&mut self) -> f64 {
        match self.below(8) {
            0 => f64::from_bits(self.next()),
            1 => *self.pick(&[0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX]),
            2 => self.number() as f64,
            3 => model::stale_marker(),
            _ => (self.below(2_000_000) as f64 - 1e6) / 1000.0,
        }
    }
}

/// Changes bytes at random places: flips, cuts, doubles, strange values.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
        }
        let at = random.below(bytes.len());
        let length = 1 + random.below((bytes.len() - at).min(16));
        match random.below(8) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff, b'(', b'"', b'\\']),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..at + length)),
            5 => bytes.insert(at, random.next() as u8),
            6 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => bytes[at..at + length].fill(random.next() as u8),
        }
    }
}

/// The beginning of one and the end of another.
pub fn splice(random: &mut Random, first: &[u8], second: &[u8]) -> Vec<u8> {
    let head = &first[..random.below(first.len() + 1)];
    let tail = &second[random.below(second.len() + 1)..];
    [head, tail].concat()
}
