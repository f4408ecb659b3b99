//! All windows at once against each window alone, by the formula as it is written down.

use proptest::prelude::*;

use super::*;

/// The samples of a window, each its time and value, by the formula; exclusive `start`, inclusive `end`.
fn expected(change: Change, window: &[(i64, f64)], start: i64, end: i64) -> Option<f64> {
    let [(first_time, first), .., (last_time, last)] = *window else { return None };
    let mut result = last - first;
    if change.counter {
        let falls = window.windows(2).filter(|pair| pair[1].1 < pair[0].1);
        result = falls.fold(result, |result, pair| result + pair[0].1);
    }
    let mut to_start = seconds(first_time - start);
    let mut to_end = seconds(end - last_time);
    let sampled = seconds(last_time - first_time);
    let gap = sampled / (window.len() - 1) as f64;
    if to_start >= gap * 1.1 {
        to_start = gap / 2.0;
    }
    if change.counter && result > 0.0 && first >= 0.0 {
        to_start = to_start.min(sampled * (first / result));
    }
    if to_end >= gap * 1.1 {
        to_end = gap / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    Some(result * if change.per_second { factor / seconds(end - start) } else { factor })
}

proptest! {
    #[test]
    fn changes_of_all_windows_are_those_of_each_window_alone(
        steps in prop::collection::vec(
            (
                prop_oneof![20 => Just(10_i64), 1 => 1_i64..80],
                prop_oneof![20 => 0.0..50.0_f64, 2 => Just(0.0), 1 => -500.0..0.0_f64],
            ),
            0..200,
        ),
        base in prop_oneof![Just(0.0), -100.0..1000.0_f64],
        first in -50_i64..50,
        stride in prop_oneof![4 => Just(10_i64), 2 => Just(30_i64), 1 => 0_i64..25],
        range in 1_i64..120,
        len in 1_usize..200,
        (counter, per_second) in any::<(bool, bool)>(),
    ) {
        let (mut time, mut value) = (0, base);
        let mut samples = Stored::default();
        for (gap, added) in steps {
            (time, value) = (time + gap, value + added);
            samples.timestamps.push(time);
            samples.values.push(value);
        }
        let change = Change { counter, per_second };
        let mut row = Row::none(len);
        let used = change.fill(&samples, Ends::new(first, stride), range, &mut row);
        let all: Vec<_> =
            samples.timestamps.iter().copied().zip(samples.values.iter().copied()).collect();
        let mut count = 0;
        for step in 0..len {
            let end = first + stride * step as i64;
            let start = end - range;
            let inside = |(time, _): &(i64, f64)| *time > start && *time <= end;
            let window: Vec<_> = all.iter().copied().filter(inside).collect();
            count += window.len() as u64;
            prop_assert_eq!(row.get(step), expected(change, &window, start, end), "step {}", step);
        }
        prop_assert_eq!(used, count);
    }
}
