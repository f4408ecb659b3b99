//! Own cases; upstream's are run by `tests/it/parse_corpus.rs`.

use proptest::prelude::*;

use super::*;

fn check_error(query: &str, text: &str) {
    let error = parse_with(query, &ParseOptions::ALL).unwrap_err();
    assert_eq!(error.to_string(), text, "{query}");
}

fn check_print(query: &str, printed: &str) {
    let expr = parse_with(query, &ParseOptions::ALL).unwrap_or_else(|e| panic!("{query}: {e}"));
    assert_eq!(expr.to_string(), printed, "{query}");
}

#[test]
fn errors_say_where_and_in_prometheus_words() {
    for (query, text) in [
        ("", "unknown position: parse error: no expression found in input"),
        ("# nothing", "1:1: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
        ("((1)", "1:5: parse error: unclosed left parenthesis"),
        ("1 ==\n 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1\n+ *", "2:3: parse error: unexpected <op:*>"),
        ("foo{a=1}", "1:7: parse error: unexpected character inside braces: '1'"),
        (
            "foo{a}",
            "1:6: parse error: unexpected \"}\" in label matching, expected label matching operator",
        ),
        ("foo{", "1:5: parse error: unexpected end of input inside braces"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (
            "{a=~\".*\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "foo{__name__=\"bar\"}",
            "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\"",
        ),
        (
            "sum by foo (bar)",
            "1:8: parse error: unexpected identifier \"foo\" in grouping opts, expected \"(\"",
        ),
        ("sum foo", "1:5: parse error: unexpected identifier \"foo\""),
        ("sum by (a) foo", "1:12: parse error: unexpected identifier \"foo\" in aggregation"),
        ("sum(rate(a b))", "1:12: parse error: unexpected identifier \"b\" in aggregation"),
        ("sum(a) b", "1:8: parse error: unexpected identifier \"b\""),
        (
            "sum(foo[step])",
            "1:13: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("0deadbeef", "1:1: parse error: bad number or duration syntax: \"0de\""),
        ("foo[5mm]", "1:5: parse error: bad number or duration syntax: \"5mm\""),
        ("foo[5y1hs]", "1:5: parse error: unknown unit \"hs\" in duration \"5y1hs\""),
        (
            "topk(foo)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "rate(foo)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("nope(foo)", "1:1: parse error: unknown function with name \"nope\""),
        ("floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"),
        (
            "foo offset",
            "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        ("foo[5m] offset 1m offset 1m", "1:1: parse error: offset may not be set multiple times"),
        ("(foo)[5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("foo[0s]", "1:5: parse error: duration must be greater than 0"),
        ("foo @ bar", "1:7: parse error: unexpected identifier \"bar\" in @, expected timestamp"),
        (
            "1 and 1",
            "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
        ),
        (
            "foo or on(a) group_left() bar",
            "1:1: parse error: no grouping allowed for \"or\" operation",
        ),
        (
            "foo + on(a) group_left(a) bar",
            "1:5: parse error: label \"a\" must not occur in ON and GROUP clause at once",
        ),
        (
            "x{a=\"\\xff\"}",
            "1:5: parse error: error unquoting string \"\\\"\\\\xff\\\"\": invalid UTF-8",
        ),
        ("foo{a=~\"(\"}", "1:5: parse error: error parsing regexp: missing closing ): `(`"),
    ] {
        check_error(query, text);
    }
}

#[test]
fn experimental_parts_need_their_option() {
    for (query, text) in [
        ("mad_over_time(x[5m])", "1:1: parse error: function \"mad_over_time\" is not enabled"),
        (
            "x + fill(0) y",
            "1:1: parse error: binop fill modifiers are experimental and not enabled",
        ),
        ("x[5m] anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
        (
            "limitk(1, x)",
            "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
    ] {
        assert_eq!(parse(query).unwrap_err().to_string(), text);
        assert!(parse_with(query, &ParseOptions::ALL).is_ok(), "{query}");
    }
}

#[test]
fn printing_keeps_what_was_meant() {
    for (query, printed) in [
        ("SUM(a)BY(b,c)", "sum by (b, c) (a)"),
        ("sum without() (a)", "sum without () (a)"),
        ("x@-5", "x @ -5.000"),
        ("x offset -1h30m", "x offset -1h30m"),
        ("x[90s:] @ start() offset 1w", "x[1m30s:] @ start() offset 1w"),
        ("a- ignoring()group_left(x)c", "a - ignoring () group_left (x) c"),
        ("a==bool 1", "a == bool 1"),
        ("+Inf", "+Inf"),
        ("-x^2", "-x ^ 2"),
        ("2^3^4-5", "2 ^ 3 ^ 4 - 5"),
        ("{\"a.b\",'c d'=~\"e|f\"}", "{\"c d\"=~\"e|f\",__name__=\"a.b\"}"),
        ("x[5m+step()*2]", "x[5m + step() * 2]"),
        ("x{b='1',a='2',c!='3'}", "x{a=\"2\",b=\"1\",c!=\"3\"}"),
        ("'\\xff\\377\u{fc}'", "\"\\xff\\xff\u{fc}\""),
        ("x offset -720360h515ms", "x offset -30015d515ms"),
        ("x offset 0.0009999", "x"),
        ("x offset(5m)*2", "x offset (5m) * 2"),
        ("x offset(5m)*2@1*3", "x offset (5m) * 2 @ 1.000 * 3"),
        ("x offset(5m)@1*3", "x offset (5m) @ 1.000 * 3"),
        ("x offset(5m)@1==3", "x @ 1.000 offset (5m) == 3"),
        ("x offset+(5m)*2", "x offset +(5m) * 2"),
        ("-x offset+(5m)", "-x offset (5m)"),
        ("-x offset+(5m)*2", "-x offset +(5m) * 2"),
        ("y/x offset+(5m)*2", "y / x offset +(5m) * 2"),
        ("x offset-(5m)*2", "x offset -(5m) * 2"),
        ("x offset--5m*2", "x offset (5m * 2)"),
        ("x offset 5m*2", "x offset 5m * 2"),
        ("sum by (\"a.b\") (x)", "sum by (\"a.b\") (x)"),
        ("a atan2 on() b unless c", "a atan2 on () b unless c"),
        ("sum + by + offset", "sum + by + offset"),
        ("\"a\\tb\"", "\"a\\tb\""),
        ("300 + 5m", "300 + 5m"),
        ("a + fill_left(1) fill_right(-2) b", "a + fill_left (1) fill_right (-2) b"),
    ] {
        check_print(query, printed);
    }
}

#[test]
fn an_offset_without_parentheses_is_one_item() {
    let expr = parse("x offset 5m * 2").unwrap();
    assert!(matches!(expr, Expr::Binary(_)), "{expr:?}");
}

#[test]
fn every_node_knows_its_bytes() {
    let query = "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) / 2";
    let Expr::Binary(division) = parse(query).unwrap() else { panic!("no binary") };
    let of = |span: Span| &query[span.start as usize..span.end as usize];
    assert_eq!(of(division.span), query);
    let Expr::Aggregate(sum) = &division.left else { panic!("no aggregation") };
    assert_eq!(of(sum.span), "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m))");
    let Expr::Call(rate) = &sum.expr else { panic!("no call") };
    assert_eq!(of(rate.span), "rate(x{b=\"c\"}[5m] offset 1m)");
    assert_eq!(of(rate.arguments[0].span()), "x{b=\"c\"}[5m] offset 1m");
}

#[test]
fn selectors_of_the_api_are_matchers() {
    let texts = |text: &str| -> Vec<String> {
        parse_selector(text).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(texts("up{job=~\"a|b\"}"), ["job=~\"a|b\"", "__name__=\"up\""]);
    assert_eq!(texts("{\"up\"}"), ["__name__=\"up\""]);
    for text in ["", "{}", "rate(up[5m])", "up offset 5m", "up[5m]", "1", "up{"] {
        assert!(parse_selector(text).is_err(), "{text}");
    }
}

#[test]
fn hostile_nesting_and_length_are_errors() {
    let many = |piece: &str| piece.repeat(100_000);
    for query in [
        many("("),
        many("-") + "x",
        format!("{}1", many("1+")),
        format!("x{}", many("[1m:]")),
        format!("x{}", many("^x")),
        format!("x[{}1m]", many("-")),
        format!("x[{}1m", many("(")),
        format!("x[{}1m]", many("1+")),
        many("sum("),
        many("rate("),
        "x".repeat(MAX_LENGTH + 1),
    ] {
        assert!(parse(&query).is_err(), "{}", &query[..20]);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _verdict = parse_with(&text, &ParseOptions::ALL).is_ok();
    }

    #[test]
    fn what_looks_like_promql_prints_and_parses_back(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "x", "sum", "by", "(", ")", "[5m]", "[1h:]", "offset", "5m", "-", "+", "^", "@", "1", "end()", "rate(",
            "{a=\"b\"}", "on", "(a)", "group_left", "==", "bool", "and", "\"s\"", ",", "topk(", "0x1f", "[step()]",
        ]), 1..12)
    ) {
        let text = pieces.join(" ");
        if let Ok(expr) = parse_with(&text, &ParseOptions::ALL) {
            let printed = expr.to_string();
            let again = parse_with(&printed, &ParseOptions::ALL);
            prop_assert_eq!(again.map(|expr| expr.to_string()), Ok(printed));
        }
    }
}
