//! Accepts and rejects what upstream's parser tests accept and reject, and prints what parses back.

use promql::ast::{Expr, VectorSelector};
use promql::parse::{ParseOptions, parse_with};

use crate::conformance::corpus;

/// `[{"src": …, "q": "…", "fail": bool}, …]`: only what this file needs of JSON.
fn cases(text: &str) -> Vec<(String, bool)> {
    let mut cases = Vec::new();
    for part in text.split("\"q\": ").skip(1) {
        let mut query = String::new();
        let mut chars = part[1..].chars();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => match chars.next().unwrap() {
                    'n' => query.push('\n'),
                    't' => query.push('\t'),
                    'r' => query.push('\r'),
                    'u' => {
                        let hex: String = chars.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&hex, 16).unwrap();
                        query.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    c => query.push(c),
                },
                c => query.push(c),
            }
        }
        let rest = chars.as_str();
        let fail = rest[rest.find("\"fail\": ").unwrap() + 8..].starts_with("true");
        cases.push((query, fail));
    }
    cases
}

/// Cases whose text the corpus holds cut short or with other bytes, with the bytes of upstream's test. What is no UTF-8
/// reaches a parser as U+FFFD.
const DAMAGED: &[(&str, &[u8])] = &[
    ("`", br#"`\a\b\f\n\r\t\v\\\"\' - \xFF\377\u1234\U00010111\U0001011111\xe2\x98\xba`"#),
    ("label_replace(a, `b`, `c\u{ff}`, `d`, `.*`)", b"label_replace(a, `b`, `c\xff`, `d`, `.*`)"),
    ("some_metric{a=\"\u{ff}\"}", b"some_metric{a=\"\xff\"}"),
    ("{'foo\\'bar', ", b"{'foo\\'bar', `a\\dos\\path`=\"boo\"}"),
];

/// A tree without its positions, its matchers in the order in which they are printed.
pub fn shape(expr: &Expr) -> String {
    let mut expr = expr.clone();
    sort_matchers(&mut expr);
    let text = format!("{expr:?}");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        rest = &rest[at + rest[at..].find('}').unwrap() + 1..];
    }
    out + rest
}

fn sort_matchers(expr: &mut Expr) {
    let sort = |selector: &mut VectorSelector| selector.matchers.sort_by_key(ToString::to_string);
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Selector(selector) => sort(selector),
        Expr::Matrix(matrix) => sort(&mut matrix.selector),
        Expr::Subquery(subquery) => sort_matchers(&mut subquery.expr),
        Expr::Unary(unary) => sort_matchers(&mut unary.expr),
        Expr::Paren(paren) => sort_matchers(&mut paren.expr),
        Expr::Binary(binary) => {
            sort_matchers(&mut binary.left);
            sort_matchers(&mut binary.right);
        }
        Expr::Aggregate(aggregate) => {
            sort_matchers(&mut aggregate.expr);
            aggregate.parameter.iter_mut().for_each(sort_matchers);
        }
        Expr::Call(call) => call.arguments.iter_mut().for_each(sort_matchers),
    }
}

#[test]
fn upstreams_parser_cases_get_upstreams_verdict() {
    let Some(folder) = corpus("promql-parse") else { return };
    let text = std::fs::read_to_string(folder.join("parse_test.json")).unwrap();
    let cases = cases(&text);
    assert!(cases.len() >= 354, "only {} cases were read", cases.len());
    let mut different = Vec::new();
    for (query, fail) in &cases {
        let damaged = DAMAGED.iter().find(|(text, _)| text == query);
        let query = damaged.map_or(query.as_bytes(), |(_, bytes)| bytes);
        let query = String::from_utf8_lossy(query);
        let parsed = parse_with(&query, &ParseOptions::ALL);
        if parsed.is_err() != *fail {
            different.push(query.to_string());
        }
        if let Ok(expr) = parsed {
            let printed = expr.to_string();
            let again = parse_with(&printed, &ParseOptions::ALL)
                .unwrap_or_else(|error| panic!("{query:?} printed as {printed:?}: {error}"));
            assert_eq!(shape(&again), shape(&expr), "{query:?} printed as {printed:?}");
            assert_eq!(again.to_string(), printed, "{query:?}");
            let lines = promql::pretty(&expr);
            let again = parse_with(&lines, &ParseOptions::ALL)
                .unwrap_or_else(|error| panic!("{query:?} printed as {lines:?}: {error}"));
            assert_eq!(promql::pretty(&again), lines, "{query:?}");
        }
    }
    println!("{} of {} verdicts as upstream", cases.len() - different.len(), cases.len());
    assert!(different.is_empty(), "another verdict than upstream's: {different:#?}");
}
