//! Where Go's arithmetic and number formats differ from Rust's.

/// `int64(x)` on amd64: whatever does not fit becomes the smallest integer.
#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked")]
pub(crate) fn to_i64(value: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&value) { value as i64 } else { i64::MIN }
}

/// `math.Max`: +Inf when either is, before all; else NaN when either is; of two zeros the positive one.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else {
        a.max(b)
    }
}

/// `math.Min`: -Inf when either is, before all; else NaN when either is; of two zeros the negative one.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

/// `strconv.FormatFloat(x, 'f', -1, 64)`: shortest digits, never an exponent.
pub(crate) fn plain(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    format!("{value}")
}

/// `%g`: shortest digits, an exponent below 1e-4 and from 1e6 on when there are more digits than fit.
pub(crate) fn general(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return plain(value);
    }
    let scientific = format!("{value:e}");
    shape(&scientific, 6, &plain(value))
}

/// `%.2g`.
pub(crate) fn general_two_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return plain(value);
    }
    let scientific = format!("{value:.1e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let trimmed = digits.trim_end_matches('0').trim_end_matches('.');
    let rounded: f64 = scientific.parse().unwrap_or(value);
    shape(&format!("{trimmed}e{exponent}"), 2, &plain(rounded))
}

/// Go's choice between both forms; Go's exponents have two digits at least.
fn shape(scientific: &str, precision: i32, fixed: &str) -> String {
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..precision).contains(&exponent) {
        return fixed.to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_go_prints_them() {
        assert_eq!(plain(1e21), "1000000000000000000000");
        assert_eq!(general(1.5), "1.5");
        assert_eq!(general(1e-5), "1e-05");
        assert_eq!(general(f64::INFINITY), "+Inf");
        assert_eq!(general_two_digits(0.000_012_34), "1.2e-05");
        assert_eq!(general_two_digits(123.0), "1.2e+02");
        assert_eq!(general_two_digits(2.0), "2");
    }

    #[test]
    fn infinity_goes_before_nan_and_zeros_have_signs() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!([max(nan, inf), max(inf, nan)], [inf, inf]);
        assert_eq!([min(nan, -inf), min(-inf, nan)], [-inf, -inf]);
        assert!(max(nan, -inf).is_nan() && min(1.0, nan).is_nan());
        let negative = |zero: f64| zero == 0.0 && zero.is_sign_negative();
        assert!(!negative(max(0.0, -0.0)) && !negative(max(-0.0, 0.0)));
        assert!(negative(min(0.0, -0.0)) && negative(min(-0.0, 0.0)) && negative(max(-0.0, -0.0)));
        assert_eq!([max(1.0, -2.0), min(1.0, -2.0)], [1.0, -2.0]);
    }

    #[test]
    fn what_fits_no_integer_becomes_the_smallest() {
        assert_eq!(to_i64(f64::NAN), i64::MIN);
        assert_eq!(to_i64(1e30), i64::MIN);
        assert_eq!(to_i64(-1.9), -1);
    }
}
