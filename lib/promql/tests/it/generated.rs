//! Generated queries of every construct: they parse, print and parse back; broken ones never panic.
//!
//! `PROPTEST_CASES=100000` runs more of them: cases are queries that the parser accepts.

use promql::parse::{ParseOptions, function, parse_with};
use promql::{ast::ValueType, pretty};
use proptest::prelude::*;

use crate::parse_corpus::shape;

fn cases() -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        // What the parser refuses is no case; see `most_generated_queries_are_accepted`.
        max_global_rejects: u32::MAX,
        ..ProptestConfig::with_cases(wanted.unwrap_or(2000))
    }
}

fn one_of(texts: &[&'static str]) -> impl Strategy<Value = String> + Clone + use<> {
    prop::sample::select(texts.to_vec()).prop_map(str::to_owned)
}

fn label() -> impl Strategy<Value = String> + Clone + use<> {
    one_of(&["a", "job", "le", "by", "sum", "offset", "\"with.dot\"", "\"ü\"", "instance"])
}

fn labels() -> impl Strategy<Value = String> + Clone + use<> {
    prop::collection::vec(label(), 0..3).prop_map(|labels| format!("({})", labels.join(", ")))
}

fn length() -> impl Strategy<Value = String> + Clone + use<> {
    one_of(&[
        "5m",
        "1h30m",
        "300",
        "0x1f",
        "1.5",
        "(5m * 2)",
        "(step() + 1s)",
        "max_of(step(), 1m)",
        "1y2w3d4h5m6s7ms",
    ])
}

fn number() -> impl Strategy<Value = String> + Clone + use<> {
    prop_oneof![
        one_of(&[
            "1", "0", "1e3", "0x1F", "Inf", "NaN", "5m", "1_000", ".5", "1e-300", "1e300", "007"
        ]),
        any::<u32>().prop_map(|n| n.to_string()),
        (0.0..1e9_f64).prop_map(|n| n.to_string()),
    ]
}

fn text() -> impl Strategy<Value = String> + Clone + use<> {
    one_of(&["\"\"", "'a\"b'", "\"\\n\\u00fc\"", "`raw\\`", "\"$1\"", "\"x.y\""])
}

fn matcher() -> impl Strategy<Value = String> + Clone + use<> {
    (label(), one_of(&["=", "!=", "=~", "!~"]), one_of(&["\"x\"", "'y'", "\"a.*|b\"", "\"\""]))
        .prop_map(|(name, op, value)| format!("{name}{op}{value}"))
}

fn bare_selector() -> impl Strategy<Value = String> + Clone + use<> {
    let name = one_of(&[
        "up",
        "job:x:rate5m",
        "sum",
        "by",
        "on",
        "start",
        "http_requests_total",
        "_",
        "bool",
    ]);
    let matchers = prop::collection::vec(matcher(), 0..3);
    prop_oneof![
        (name, matchers.clone()).prop_map(|(name, m)| format!("{name}{{{}}}", m.join(","))),
        matchers.prop_map(|m| format!(
            "{{\"utf8.name\"{}{}}}",
            if m.is_empty() { "" } else { "," },
            m.join(",")
        )),
    ]
}

fn shift() -> impl Strategy<Value = String> + Clone + use<> {
    let at = one_of(&["", " @ 5", " @ -7.125", " @ start()", " @ end()"]);
    let offset = one_of(&[
        "",
        "",
        " offset 5m",
        " offset -1h",
        " offset 1h30m",
        " offset 0x10",
        " offset step()",
        " offset -range()",
        " offset max_of(step(), 1m)",
        " offset (5m)",
        " offset +(5m)",
        " offset -(5m * 2)",
        " offset (step() + 1s)",
        " offset (5m) * 2",
        " offset (-2 ^ 2) - step() % 3",
        " offset --5",
        " offset --5 + 3",
        " offset -+step() * 2",
        " offset --2 ^ 2",
    ]);
    (at, offset, any::<bool>()).prop_map(|(at, offset, turned)| {
        if turned { format!("{offset}{at}") } else { format!("{at}{offset}") }
    })
}

fn matching() -> impl Strategy<Value = String> + Clone + use<> {
    let group = one_of(&[
        "",
        " group_left",
        " group_right (a)",
        " group_left ()",
        " fill (1)",
        " fill_left (-2) fill_right (3)",
    ]);
    prop_oneof![
        2 => Just(String::new()),
        3 => (one_of(&["on", "ignoring"]), labels(), group).prop_map(|(word, labels, group)| {
            // A label of `on` must not be copied, too.
            let labels = if word == "on" && group.contains("(a)") { "(job)".to_owned() } else { labels };
            format!("{word} {labels}{group}")
        }),
    ]
}

/// Texts of the three types that nest, out of texts of smaller ones.
#[derive(Debug, Clone)]
struct Pool {
    scalar: String,
    vector: String,
    matrix: String,
}

fn leaf() -> impl Strategy<Value = Pool> {
    (number(), bare_selector(), shift(), length(), one_of(&["", " anchored", " smoothed"]))
        .prop_map(|(scalar, selector, shift, length, border)| Pool {
            scalar,
            vector: format!("{selector}{shift}"),
            matrix: format!("{selector}[{length}]{border}{shift}"),
        })
}

fn call(signature: &function::Signature, pool: &Pool, text: &str, extra: usize) -> String {
    let mut arguments = Vec::new();
    let fixed = signature.arguments.len();
    let wanted = match signature.variadic {
        0 => fixed,
        n if n > 0 => fixed - 1 + extra.min(usize::try_from(n).unwrap()),
        _ => fixed + extra,
    };
    for at in 0..wanted.max(fixed.saturating_sub(1)) {
        arguments.push(match signature.arguments[at.min(fixed - 1)] {
            ValueType::Scalar => pool.scalar.clone(),
            ValueType::String => text.to_owned(),
            ValueType::Vector if signature.name == "info" && at == 1 => "{a=\"b\"}".to_owned(),
            ValueType::Vector => pool.vector.clone(),
            ValueType::Matrix => pool.matrix.clone(),
        });
    }
    format!("{}({})", signature.name, arguments.join(", "))
}

fn aggregation(pool: &Pool, op: &str, word: &str, labels: &str, before: bool) -> String {
    let parameter = match op {
        "count_values" => "\"label\", ".to_owned(),
        "topk" | "bottomk" | "quantile" | "limitk" | "limit_ratio" => format!("{}, ", pool.scalar),
        _ => String::new(),
    };
    let inside = format!("({parameter}{})", pool.vector);
    match (word, before) {
        ("", _) => format!("{op}{inside}"),
        (word, true) => format!("{op} {word} {labels} {inside}"),
        (word, false) => format!("{op}{inside} {word} {labels}"),
    }
}

fn grown(inner: impl Strategy<Value = Pool> + Clone + 'static) -> impl Strategy<Value = Pool> {
    let functions: Vec<&'static function::Signature> = function::FUNCTIONS.iter().collect();
    let called = (inner.clone(), prop::sample::select(functions), text(), 0..3_usize).prop_map(
        |(pool, signature, text, extra)| {
            let made = call(signature, &pool, &text, extra);
            match signature.returns {
                ValueType::Scalar => Pool { scalar: made, ..pool },
                _ => Pool { vector: made, ..pool },
            }
        },
    );
    let ops = one_of(&[
        "sum",
        "avg",
        "count",
        "min",
        "max",
        "group",
        "stddev",
        "stdvar",
        "topk",
        "bottomk",
        "count_values",
        "quantile",
        "limitk",
        "limit_ratio",
    ]);
    let aggregated = (inner.clone(), ops, one_of(&["", "by", "without"]), labels(), any::<bool>())
        .prop_map(|(pool, op, word, labels, before)| Pool {
            vector: aggregation(&pool, &op, &word, &labels, before),
            ..pool
        });
    let signs = one_of(&["+", "-", "*", "/", "%", "^", "atan2"]);
    let arithmetic = (inner.clone(), inner.clone(), signs.clone(), matching()).prop_map(
        |(a, b, op, matching)| Pool {
            scalar: format!("{} {op} {}", a.scalar, b.scalar),
            vector: format!("{} {op} {matching} {}", a.vector, b.vector),
            matrix: a.matrix,
        },
    );
    let compared =
        (inner.clone(), inner.clone(), one_of(&["==", "!=", "<", ">=", "</", ">/"]), any::<bool>())
            .prop_map(|(a, b, op, bool)| {
                let word = if bool && !op.contains('/') { "bool" } else { "" };
                Pool { vector: format!("{} {op} {word} {}", a.vector, b.scalar), ..a }
            });
    let set = (
        inner.clone(),
        inner.clone(),
        one_of(&["and", "or", "unless", "and on (a)", "or ignoring ()"]),
    )
        .prop_map(|(a, b, op)| Pool { vector: format!("{} {op} {}", a.vector, b.vector), ..a });
    let wrapped = (inner.clone(), one_of(&["-", "+", "(", "-("])).prop_map(|(pool, sign)| {
        let close = if sign.contains('(') { ")" } else { "" };
        Pool {
            scalar: format!("{sign}{}{close}", pool.scalar),
            vector: format!("{sign}{}{close}", pool.vector),
            ..pool
        }
    });
    let subquery = (inner, length(), prop_oneof![Just(String::new()), length()], shift()).prop_map(
        |(pool, range, step, shift)| Pool {
            matrix: format!("({})[{range}:{step}]{shift}", pool.vector),
            ..pool
        },
    );
    prop_oneof![3 => called, 2 => aggregated, 2 => arithmetic, 1 => compared, 1 => set, 1 => wrapped, 2 => subquery]
}

fn query() -> impl Strategy<Value = String> + Clone + use<> {
    leaf().boxed().prop_recursive(5, 24, 3, |inner| grown(inner).boxed()).prop_flat_map(|pool| {
        prop::sample::select(vec![pool.vector.clone(), pool.vector, pool.scalar, pool.matrix])
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_generated_query_prints_as_what_prints_the_same(query in query()) {
        // Some combinations are against the rules; what is accepted has to hold.
        let Ok(expr) = parse_with(&query, &ParseOptions::ALL) else {
            return Err(TestCaseError::reject("against the rules"));
        };
        let printed = expr.to_string();
        let again = parse_with(&printed, &ParseOptions::ALL);
        prop_assert_eq!(again.as_ref().map(ToString::to_string), Ok(printed.clone()), "of {}", query);
        // An offset that begins with two signs and goes on is printed with parentheses of its own.
        if let Ok(again) = again && !query.contains("offset --") && !query.contains("offset -+") {
            prop_assert_eq!(shape(&again), shape(&expr), "of {}", query);
        }
        let lines = pretty(&expr);
        let again = parse_with(&lines, &ParseOptions::ALL).map(|expr| expr.to_string());
        prop_assert_eq!(again, Ok(printed), "pretty, of {}", query);
    }

    #[test]
    fn a_broken_query_is_an_error_and_no_panic(
        query in query(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = query.into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 if at < bytes.len() => { bytes.remove(at); }
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.insert(at, byte),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(expr) = parse_with(&text, &ParseOptions::ALL) {
            let printed = expr.to_string();
            let again = parse_with(&printed, &ParseOptions::ALL).map(|expr| expr.to_string());
            prop_assert_eq!(again, Ok(printed));
        }
    }

    #[test]
    fn arbitrary_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _verdict = parse_with(&String::from_utf8_lossy(&bytes), &ParseOptions::ALL).is_ok();
    }
}

#[test]
fn most_generated_queries_are_accepted() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..200 {
        let query = query().new_tree(&mut runner).unwrap().current();
        accepted += usize::from(parse_with(&query, &ParseOptions::ALL).is_ok());
    }
    assert!(accepted > 120, "only {accepted} of 200");
}
