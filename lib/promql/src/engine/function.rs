//! Functions: of one value, of a window of samples, of classic histogram buckets.

pub(super) mod buckets;
pub(super) mod change;
pub(super) mod histogram;
pub(super) mod histogram_range;
pub(super) mod map;
pub(super) mod range;
pub(super) mod sliding;
