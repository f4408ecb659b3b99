//! The kept cases, a short run of every target, and that the loop finds what is there to be found.

use std::path::Path;
use std::time::Duration;

use fuzz::memory::Counted;
use fuzz::random::Random;
use fuzz::{Limits, Target, replay, run, targets};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Unoptimised code, on a machine that builds other things.
const PATIENT: Limits = Limits { time: Duration::from_secs(20), ..Limits::DEFAULT };

#[test]
fn every_kept_case_is_read_rightly() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    for target in targets() {
        let (wrong, count) = replay(&*target, &cases, PATIENT).unwrap();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", target.name());
        assert!(count > 0, "{} has no cases", target.name());
    }
}

#[test]
fn a_short_run_of_every_target_finds_nothing() {
    for target in targets() {
        let time = Duration::from_secs(2);
        let summary = run(&*target, (7, 0), time, PATIENT, |_| {}).unwrap();
        assert!(summary.inputs > 10, "{}: {summary:?}", target.name());
    }
}

#[test]
fn an_input_depends_on_its_seed_and_number_only() {
    for target in targets() {
        let input = |number| target.input(&mut Random::new(7, number));
        for number in 0..50 {
            assert_eq!(input(number), input(number), "{}", target.name());
        }
        assert!((0..50).any(|number| input(number) != input(0)), "{}", target.name());
    }
}

/// Reads a byte wrongly.
struct Broken(fn() -> Result<(), String>);

impl Target for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn input(&self, random: &mut Random) -> Vec<u8> {
        (0..random.below(40)).map(|_| random.next() as u8).collect()
    }

    fn check(&self, input: &[u8]) -> Result<(), String> {
        if input.contains(&7) { (self.0)() } else { Ok(()) }
    }
}

#[test]
fn what_is_read_wrongly_is_found_and_made_small() {
    let found =
        |wrong| run(&Broken(wrong), (1, 0), Duration::from_secs(60), PATIENT, |_| {}).unwrap_err();
    let told = found(|| Err("a seven".to_owned()));
    assert_eq!((told.problem.as_str(), &told.input[..]), ("a seven", &[7][..]));
    let panicked = found(|| panic!("on purpose"));
    assert!(panicked.problem.contains("on purpose"), "{}", panicked.problem);
    assert_eq!(panicked.input, [7]);
    let greedy = found(|| {
        let _bytes = std::hint::black_box(vec![1_u8; 6 << 20]);
        Ok(())
    });
    assert!(greedy.problem.contains("bytes of memory"), "{}", greedy.problem);
}
