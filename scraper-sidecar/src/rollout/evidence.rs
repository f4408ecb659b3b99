//! Whether Prometheus has loaded its file as it is on the disk now.
//!
//! A reload reads the file when it begins and tells when it has ended, so the time of the last one says nothing about
//! a file that was written in between. What does say that the file is loaded:
//!
//! - the answer to a reload that was asked for after the write: Prometheus does one after the other;
//! - the process has started after the write, as nobody listened, or another process did, at a look after it.
//!   (Prometheus listens before it reads its file for good.)
//! - two reloads have ended since such a look: the second one has begun after the first, so after the write. This
//!   matters where reloads take longer than their answers are waited for.

use crate::prometheus::OwnMetrics;

/// What was seen since the file was written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Evidence {
    first: Option<First>,
}

/// What the first look after the write has found, and what has ended since.
#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    Nobody,
    Process { started: f64, loaded: f64, ended: u32 },
}

impl Evidence {
    /// Nobody listens.
    pub(crate) fn nobody(&mut self) {
        self.first.get_or_insert(First::Nobody);
    }

    /// A process that is ready says this of itself. Whether it is known to have loaded the file.
    pub(crate) fn look(&mut self, own: &OwnMetrics) -> bool {
        let (Some(started), Some(loaded)) = (own.start_seconds, own.loaded_seconds) else {
            return false;
        };
        let known = match &mut self.first {
            None => {
                self.first = Some(First::Process { started, loaded, ended: 0 });
                false
            }
            Some(First::Nobody) => true,
            Some(First::Process { started: first, .. }) if *first != started => true,
            Some(First::Process { loaded: last, ended, .. }) => {
                *ended += u32::from(*last != loaded);
                *last = loaded;
                *ended >= 2
            }
        };
        known && own.loaded_well == Some(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(started: f64, loaded: f64) -> OwnMetrics {
        OwnMetrics {
            resident_bytes: None,
            start_seconds: Some(started),
            loaded_seconds: Some(loaded),
            loaded_well: Some(1.0),
        }
    }

    #[test]
    fn a_process_that_starts_after_the_write_has_read_it() {
        let mut evidence = Evidence::default();
        evidence.nobody();
        assert!(evidence.look(&own(5.0, 6.0)));
        let mut evidence = Evidence::default();
        assert!(!evidence.look(&own(1.0, 2.0)));
        assert!(evidence.look(&own(5.0, 6.0)));
        // Whoever was there at the first look may have read the file before the write.
        let mut evidence = Evidence::default();
        assert!(!evidence.look(&own(1.0, 2.0)));
        evidence.nobody();
        assert!(!evidence.look(&own(1.0, 2.0)));
    }

    #[test]
    fn the_first_reload_that_ends_may_have_begun_before_the_write() {
        let mut evidence = Evidence::default();
        assert!(!evidence.look(&own(1.0, 2.0)));
        assert!(!evidence.look(&own(1.0, 9.0)), "it ended after the write");
        assert!(!evidence.look(&own(1.0, 9.0)));
        assert!(evidence.look(&own(1.0, 10.0)));
    }

    #[test]
    fn what_failed_or_is_not_told_is_no_evidence() {
        let mut evidence = Evidence::default();
        evidence.nobody();
        assert!(!evidence.look(&OwnMetrics { loaded_well: Some(0.0), ..own(1.0, 2.0) }));
        assert!(!evidence.look(&OwnMetrics { start_seconds: None, ..own(1.0, 2.0) }));
        assert!(!evidence.look(&OwnMetrics { loaded_seconds: None, ..own(1.0, 2.0) }));
    }
}
