//! The parser and printers of PromQL. Inputs are made of the queries of our own scripts (and of upstream's, when they
//! lie beside the repository): parts of one in place of parts of another, calls and operators around them, tokens and
//! bytes put in and taken out.

use std::path::{Path, PathBuf};

use promql::ast::{Expr, Span, ValueType};
use promql::parse::{ParseOptions, function, parse_with};

use crate::Target;
use crate::random::{Random, mutate};

/// Longest input that is made, bytes; few are nearly as long.
const MAX_INPUT: usize = 16 << 10;

const TOKENS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "!=",
    "==",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "<",
    ">",
    "</",
    ">/",
    "<=",
    ">=",
    "@",
    "and",
    "or",
    "unless",
    "atan2",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "fill_right",
    "by",
    "without",
    "offset",
    "anchored",
    "smoothed",
    "start()",
    "end()",
    "step()",
    "range()",
    "min_of(",
    "max_of(",
    "Inf",
    "NaN",
    "0x1F",
    "1_000",
    "1e400",
    "1e-400",
    "00",
    "9223372036854775808",
    "5m",
    "1y",
    "300y",
    "1ms",
    "0s",
    ".5",
    "1.",
    "sum",
    "topk",
    "x",
    "{}",
    "\"\"",
    "'a\\xff'",
    "`r`",
    "\"\\u00fc\"",
    "\u{fffd}",
    "\u{10ffff}",
    "#",
    "\n",
    "\t",
    "\0",
    "[5m]",
    "[1h:]",
    "[1h:5m]",
    " offset 5m",
    " offset -1h",
    " offset (5m)",
    " offset +(5m*2)",
    " offset --5",
    " @ 5",
    " @ -1.5",
    " @ start()",
    " anchored",
    " smoothed",
    "{a=\"b\"}",
    "{__name__=\"x\"}",
];

const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "== bool",
    "and",
    "or",
    "unless",
    "</",
    ">/",
    "+ on (a)",
    "* ignoring (a, b) group_left (c)",
    "/ on () group_right",
    "- fill (1)",
    "== on (a) fill_left (NaN)",
    "or on (a)",
];

const AGGREGATIONS: &[&str] = &[
    "sum(",
    "avg by (a) (",
    "count without () (",
    "topk(2, ",
    "quantile by (le) (0.5, ",
    "count_values(\"v\", ",
    "limit_ratio(-0.5, ",
    "stddev without (\"x.y\") (",
];

/// See the module.
#[derive(Debug)]
pub struct Parser {
    queries: Vec<String>,
    /// Parts of them by type.
    parts: Vec<(ValueType, String)>,
}

impl Parser {
    /// Collects the queries.
    #[must_use]
    pub fn new() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let upstream = root.join("../../shared/conformance");
        let mut queries = Vec::new();
        for folder in [
            root.join("lib/promql/testdata"),
            root.join("../shared/conformance/promqltest"),
            upstream.join("promqltest"),
        ] {
            queries.extend(evaluated(&folder));
        }
        queries.sort_unstable();
        queries.dedup();
        let mut parts = Vec::new();
        for query in &queries {
            if let Ok(expr) = parse_with(query, &ParseOptions::ALL) {
                collect(&expr, query, &mut parts);
            }
        }
        parts.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        parts.dedup();
        Self { queries, parts }
    }

    /// A part of some query, of a type if there is one.
    fn part(&self, random: &mut Random, wanted: Option<ValueType>) -> &str {
        for _ in 0..20 {
            let (kind, text) = random.pick(&self.parts);
            if wanted.is_none_or(|wanted| wanted == *kind) {
                return text;
            }
        }
        "x"
    }

    /// Another part in place of one.
    fn swap(&self, random: &mut Random, query: &str) -> String {
        let mut spans = Vec::new();
        if let Ok(expr) = parse_with(query, &ParseOptions::ALL) {
            walk(&expr, &mut |expr| spans.push((expr.span(), expr.value_type())));
        }
        if spans.is_empty() {
            return query.to_owned();
        }
        let (Span { start, end }, kind) = *random.pick(&spans);
        let wanted = (!random.once_in(8)).then_some(kind);
        let part = self.part(random, wanted);
        format!("{}{part}{}", &query[..start as usize], &query[end as usize..])
    }

    /// A call with it among the arguments.
    fn call(&self, random: &mut Random, query: &str) -> String {
        let signature = random.pick(function::FUNCTIONS);
        let mut arguments: Vec<&str> =
            signature.arguments.iter().map(|kind| self.part(random, Some(*kind))).collect();
        if signature.variadic != 0 && random.once_in(2) {
            arguments.push(self.part(random, signature.arguments.last().copied()));
        }
        let at = random.below(arguments.len());
        if let Some(argument) = arguments.get_mut(at) {
            *argument = query;
        }
        format!("{}({})", signature.name, arguments.join(","))
    }

    fn grow(&self, random: &mut Random, query: String) -> String {
        match random.below(12) {
            0 | 1 => self.swap(random, &query),
            2 => self.call(random, &query),
            3 => format!("{query} {} {}", random.pick(OPERATORS), self.part(random, None)),
            4 => format!("{} {} {query}", self.part(random, None), random.pick(OPERATORS)),
            5 => format!("{}{query})", random.pick(AGGREGATIONS)),
            6 => format!("{}{query}", random.pick(&["-", "+", "--", " "])),
            7 => format!("({query})"),
            8 => format!("{query}{}", random.pick(TOKENS)),
            9 => {
                let at = (0..=random.below(query.len() + 1))
                    .rev()
                    .find(|at| query.is_char_boundary(*at));
                let (before, after) = query.split_at(at.unwrap_or(0));
                format!("{before}{}{after}", random.pick(TOKENS))
            }
            10 => {
                let mut bytes = query.into_bytes();
                mutate(random, &mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => number(random, &query),
        }
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Target for Parser {
    fn name(&self) -> &'static str {
        "parser"
    }

    fn input(&self, random: &mut Random) -> Vec<u8> {
        if random.once_in(500) {
            return nested(random).into_bytes();
        }
        let mut query = random.pick(&self.queries).clone();
        for _ in 0..random.below(8) {
            query = self.grow(random, query);
            if query.len() > MAX_INPUT {
                break;
            }
        }
        query.into_bytes()
    }

    fn check(&self, input: &[u8]) -> Result<(), String> {
        check(&String::from_utf8_lossy(input))
    }
}

/// What has to hold of any text.
fn check(text: &str) -> Result<(), String> {
    let stable = promql::parse(text);
    if let Err(error) = promql::parse_selector(text) {
        check_span(text, error.span)?;
    }
    let expr = match parse_with(text, &ParseOptions::ALL) {
        Ok(expr) => expr,
        Err(error) => {
            if stable.is_ok() {
                return Err(format!("only the stable language takes it: {error}"));
            }
            return check_span(text, error.span);
        }
    };
    if let Ok(stable) = stable
        && format!("{stable:?}") != format!("{expr:?}")
    {
        return Err("the stable language reads another tree".to_owned());
    }
    let mut spans = Ok(());
    walk(&expr, &mut |expr| {
        if spans.is_ok() {
            spans = check_span(text, expr.span());
        }
    });
    spans?;
    let _text = promql::describe(&expr).to_string();
    let printed = expr.to_string();
    let again = parse_with(&printed, &ParseOptions::ALL)
        .map_err(|error| format!("printed as {printed:?}, which is refused: {error}"))?;
    if again.to_string() != printed {
        return Err(format!("printed as {printed:?} and then as {:?}", again.to_string()));
    }
    let lines = promql::pretty(&expr);
    let again = parse_with(&lines, &ParseOptions::ALL)
        .map_err(|error| format!("printed as {lines:?}, which is refused: {error}"))?;
    if again.to_string() != printed || promql::pretty(&again) != lines {
        return Err(format!("printed as {lines:?} and then as {:?}", promql::pretty(&again)));
    }
    Ok(())
}

fn check_span(text: &str, span: Span) -> Result<(), String> {
    match text.get(span.start as usize..span.end as usize) {
        Some(_) => Ok(()),
        None => Err(format!("the span {span:?} is no part of it")),
    }
}

/// The queries of the scripts in a folder; none when it is not there.
fn evaluated(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let texts = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let mut queries = Vec::new();
    for text in texts {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let skipped = match words.as_slice() {
                ["eval", "instant", "at", ..] => 4,
                ["eval", "range", "from", ..] => 8,
                _ => continue,
            };
            queries.push(words.get(skipped..).unwrap_or_default().join(" "));
        }
    }
    queries
}

fn collect(expr: &Expr, query: &str, parts: &mut Vec<(ValueType, String)>) {
    walk(expr, &mut |expr| {
        let span = expr.span();
        if let Some(text) = query.get(span.start as usize..span.end as usize) {
            parts.push((expr.value_type(), text.to_owned()));
        }
    });
}

fn walk(expr: &Expr, visit: &mut impl FnMut(&Expr)) {
    visit(expr);
    match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Selector(_) | Expr::Matrix(_) => {}
        Expr::Subquery(subquery) => walk(&subquery.expr, visit),
        Expr::Unary(unary) => walk(&unary.expr, visit),
        Expr::Paren(paren) => walk(&paren.expr, visit),
        Expr::Binary(binary) => {
            walk(&binary.left, visit);
            walk(&binary.right, visit);
        }
        Expr::Aggregate(aggregate) => {
            aggregate.parameter.iter().for_each(|parameter| walk(parameter, visit));
            walk(&aggregate.expr, visit);
        }
        Expr::Call(call) => call.arguments.iter().for_each(|argument| walk(argument, visit)),
    }
}

/// Another number in place of the first one at or after some place.
fn number(random: &mut Random, query: &str) -> String {
    let made = match random.below(5) {
        0 => random.number().to_string(),
        1 => random.float().to_string(),
        2 => format!("{:#x}", random.next() >> random.below(64)),
        3 => format!("{}h{}ms", random.below(100), random.below(5000)),
        _ => format!("{}e{}", random.below(100), random.below(700) as i64 - 350),
    };
    let from = random.below(query.len().max(1));
    let Some(at) = query.bytes().enumerate().skip(from).find(|(_, b)| b.is_ascii_digit()) else {
        return format!("{query} + {made}");
    };
    let rest = query[at.0..].trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{}{made}{rest}", &query[..at.0])
}

/// Deep or long ones.
fn nested(random: &mut Random) -> String {
    let (before, open, middle, close, after) = *random.pick(&[
        ("", "(", "x", ")", ""),
        ("", "-", "x", "", ""),
        ("", "sum(", "x", ")", ""),
        ("", "1+", "x", "", ""),
        ("", "1^", "x", "", ""),
        ("", "", "x", "[5m:]", ""),
        ("", "x or ", "x", "", ""),
        ("", "max_over_time(", "x", "[5m:])", ""),
        ("", "(x offset (1)@1+", "x", ")", ""),
        ("x[", "(", "1", ")", "]"),
        ("x[", "-", "1", "", "]"),
        ("x[", "1+", "1", "", "]"),
        ("x[", "max_of(1,", "1", ")", "]"),
        ("x offset ", "-(", "1", ")", ""),
        ("x offset ", "(", "1", ")", "+1"),
    ]);
    let most = 1 << random.below(12);
    let times = random.below(most);
    format!("{before}{}{middle}{}{after}", open.repeat(times), close.repeat(times))
}
