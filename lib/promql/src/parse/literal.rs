//! The values of number and string tokens.

/// Go's number syntax: decimal, `0x1F`, `0b1`, `0755` (octal), underscores between digits, exponents.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let syntax =
        || format!("error parsing number: strconv.ParseFloat: parsing {text:?}: invalid syntax");
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" => return Ok(f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    if !underscores_are_between_digits(&lower) {
        return Err(syntax());
    }
    let plain = lower.replace('_', "");
    if let Some(value) = integer(&plain) {
        return Ok(value);
    }
    if plain.starts_with("0x") {
        return Err(syntax());
    }
    let value: f64 = plain.parse().map_err(|_| syntax())?;
    if value.is_infinite() {
        return Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {text:?}: value out of range"
        ));
    }
    Ok(value)
}

/// A length of time in seconds.
pub(super) fn duration(text: &str) -> Result<f64, String> {
    let duration = model::duration::parse(text).map_err(|error| match unknown_unit(text) {
        Some(unit) => format!("unknown unit {unit:?} in duration {text:?}"),
        None => error.to_string(),
    })?;
    Ok(duration.as_secs_f64())
}

fn unknown_unit(text: &str) -> Option<&str> {
    const UNITS: [&str; 7] = ["ms", "s", "m", "h", "d", "w", "y"];
    let units = text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty());
    units.into_iter().find(|unit| !UNITS.contains(unit))
}

fn integer(plain: &str) -> Option<f64> {
    let (digits, radix) = match plain.as_bytes() {
        [b'0', b'x', ..] => (&plain[2..], 16),
        [b'0', _, ..] => (&plain[1..], 8),
        _ => (plain, 10),
    };
    #[expect(clippy::cast_precision_loss, reason = "Go converts the integer in the same way")]
    i64::from_str_radix(digits, radix).ok().map(|value| value as f64)
}

fn underscores_are_between_digits(lower: &str) -> bool {
    let hex = lower.starts_with("0x");
    // A base prefix counts as a digit.
    let (mut after_digit, mut after_underscore) = (hex, false);
    for c in lower.chars().skip(if hex { 2 } else { 0 }) {
        let digit = if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        if (c == '_' && !after_digit) || (c != '_' && !digit && after_underscore) {
            return false;
        }
        after_digit = digit;
        after_underscore = c == '_';
    }
    !after_underscore
}

/// The text between the quotes with its escapes resolved; the lexer has checked their syntax.
pub(super) fn unquote(token: &str) -> Result<String, String> {
    String::from_utf8(unquote_bytes(token)?).map_err(|_| invalid(token))
}

/// The same for texts that need be no UTF-8.
pub(super) fn unquote_bytes(token: &str) -> Result<Vec<u8>, String> {
    let quote = token.chars().next().unwrap_or('"');
    let body = &token[1..token.len() - 1];
    if quote == '`' || !body.contains('\\') {
        return Ok(body.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = unescape(&rest[at + 1..], &mut bytes).ok_or_else(|| invalid(token))?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn invalid(token: &str) -> String {
    format!("error unquoting string {token:?}: invalid UTF-8")
}

fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let first = *text.as_bytes().first()?;
    let simple = match first {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'"' | b'\'' => first,
        b'x' => return byte(text, 1, 2, 16, bytes),
        b'0'..=b'7' => return byte(text, 0, 3, 8, bytes),
        b'u' => return code_point(text, 4, bytes),
        b'U' => return code_point(text, 8, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(&text[1..])
}

fn byte<'a>(
    text: &'a str,
    skip: usize,
    digits: usize,
    radix: u32,
    bytes: &mut Vec<u8>,
) -> Option<&'a str> {
    bytes.push(u8::from_str_radix(text.get(skip..skip + digits)?, radix).ok()?);
    text.get(skip + digits..)
}

fn code_point<'a>(text: &'a str, digits: usize, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let c = char::from_u32(u32::from_str_radix(text.get(1..=digits)?, 16).ok()?)?;
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    text.get(digits + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_go() {
        for (text, value) in [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0xc", 12.0),
            ("0x_1F", 31.0),
            ("0755", 493.0),
            ("1_000", 1000.0),
            ("1e1_0", 1e10),
            ("08", 8.0),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(number(text).as_ref(), Ok(&value), "{text}");
        }
        for text in ["1e400", "1__0", "0x", "1_.5"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(unquote(r#""a\n\x41\u00e9\101\"""#).unwrap(), "a\nA\u{e9}A\"");
        assert_eq!(unquote(r"`a\n`").unwrap(), r"a\n");
        assert!(unquote(r#""\xff""#).is_err());
        assert_eq!(unquote_bytes(r#""a\xff""#).unwrap(), b"a\xff");
    }
}
