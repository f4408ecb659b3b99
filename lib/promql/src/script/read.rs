//! Text to commands.

use model::{Labels, MatchType};

use super::histogram::Written;

/// One command of a script.
#[derive(Debug)]
pub enum Command {
    Clear,
    Load { step: i64, series: Vec<Line>, with_nhcb: bool },
    Eval(Box<Eval>),
}

/// Labels and values; `None` is a gap.
#[derive(Debug, Clone)]
pub struct Line {
    pub labels: Labels,
    pub values: Vec<Option<f64>>,
    /// From a line `…@st`: milliseconds from the time of each sample back or forth to its start.
    pub starts: Vec<Option<i64>>,
    /// Native histograms among the values, where they are 0.
    pub histograms: Vec<Written>,
}

/// What is evaluated, and when.
#[derive(Debug, Clone, Copy)]
pub enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// A text that has to be met.
#[derive(Debug, Clone)]
pub enum Text {
    Any,
    Exact(String),
    Regex(String),
}

/// A query and what is expected of it.
#[derive(Debug)]
pub struct Eval {
    pub line: usize,
    pub query: String,
    pub times: Times,
    /// Of a range vector as the answer of an instant query.
    pub answer_times: Option<Times>,
    pub ordered: bool,
    pub fail: Option<Text>,
    pub warn: Vec<Text>,
    pub info: Vec<Text>,
    pub no_warn: bool,
    pub no_info: bool,
    pub scalar: Option<f64>,
    pub string: Option<String>,
    pub series: Vec<Line>,
}

pub type Result<T> = std::result::Result<T, String>;

/// All commands of a script. An error names the line.
pub fn script(text: &str) -> Result<Vec<Command>> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let word = line.split([' ', '\t']).next().unwrap_or("");
        let block = block(&lines, at + 1);
        let command = match word {
            "" => None,
            "clear" => Some(Command::Clear),
            word if word.starts_with("load") => Some(load(line, &block)?),
            word if word.starts_with("eval") => {
                Some(Command::Eval(Box::new(eval(at + 1, line, &block)?)))
            }
            _ => return Err(format!("line {}: unknown command {line:?}", at + 1)),
        };
        at += if command.is_some() && word != "clear" { block.len() } else { 0 } + 1;
        commands.extend(command);
    }
    Ok(commands)
}

/// The lines up to the next blank one.
fn block<'a>(lines: &[&'a str], from: usize) -> Vec<&'a str> {
    lines[from.min(lines.len())..].iter().take_while(|line| !line.is_empty()).copied().collect()
}

pub fn milliseconds(text: &str) -> Result<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let length = match rest.parse::<f64>() {
        Ok(seconds) => (seconds * 1000.0) as i64,
        Err(_) => model::duration::parse(rest)
            .map_err(|error| error.to_string())?
            .as_millis()
            .try_into()
            .map_err(|_| "too long".to_owned())?,
    };
    Ok(sign * length)
}

fn load(line: &str, block: &[&str]) -> Result<Command> {
    let step = line.split_whitespace().nth(1).ok_or("load without a step")?;
    let mut series = Vec::new();
    let mut starts = None;
    for line in block {
        if let Some(found) = super::start::line(line)? {
            starts = Some(found);
        } else if let Some(mut read) = series_line(line)? {
            read.starts = starts.take().unwrap_or_default();
            if !read.starts.is_empty() && read.starts.len() != read.values.len() {
                return Err(format!("{line}: not as many samples as starts"));
            }
            series.push(read);
        }
    }
    if starts.is_some() {
        return Err("starts without samples".to_owned());
    }
    let with_nhcb = line.starts_with("load_with_nhcb");
    Ok(Command::Load { step: milliseconds(step)?, series, with_nhcb })
}

fn eval(number: usize, line: &str, block: &[&str]) -> Result<Eval> {
    let (word, rest) = line.split_once([' ', '\t']).ok_or("eval without a query")?;
    let rest = rest.trim_start();
    let (times, query) = if let Some(rest) = rest.strip_prefix("instant") {
        let rest = rest.trim_start().strip_prefix("at").ok_or("instant without a time")?;
        let (at, query) = word_of(rest);
        (Times::Instant(milliseconds(at)?), query)
    } else {
        let rest = rest.strip_prefix("range").ok_or("neither instant nor range")?;
        range_times(rest)?
    };
    let mut eval = Eval {
        line: number,
        query: query.to_owned(),
        times,
        answer_times: None,
        ordered: word.ends_with("_ordered"),
        fail: word.ends_with("_fail").then_some(Text::Any),
        warn: if word.ends_with("_warn") { vec![Text::Any] } else { Vec::new() },
        info: if word.ends_with("_info") { vec![Text::Any] } else { Vec::new() },
        no_warn: false,
        no_info: false,
        scalar: None,
        string: None,
        series: Vec::new(),
    };
    for line in block {
        expectation(&mut eval, line)
            .map_err(|error| format!("line {number}: {line:?}: {error}"))?;
    }
    consistent(&eval).map_err(|error| format!("line {number}: {error}"))?;
    Ok(eval)
}

/// What upstream refuses: a vector of more than one time, expectations that exclude each other.
fn consistent(eval: &Eval) -> Result<()> {
    let is_instant = matches!(eval.times, Times::Instant(_)) && eval.answer_times.is_none();
    if is_instant && eval.series.iter().any(|line| line.values.len() > 1) {
        return Err("several values at one time; is it `expect range vector`?".to_owned());
    }
    if eval.no_warn && !eval.warn.is_empty() || eval.no_info && !eval.info.is_empty() {
        return Err("is to say something and nothing".to_owned());
    }
    Ok(())
}

fn word_of(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// `from A to B step C …`
fn range_times(text: &str) -> Result<(Times, &str)> {
    let mut rest = text;
    let mut found = [0; 3];
    for (place, name) in found.iter_mut().zip(["from", "to", "step"]) {
        let (word, after) = word_of(rest);
        if word != name {
            return Err(format!("expected {name:?}, got {word:?}"));
        }
        let (value, after) = word_of(after);
        *place = milliseconds(value)?;
        rest = after;
    }
    let [start, end, step] = found;
    Ok((Times::Range { start, end, step }, rest))
}

fn expectation(eval: &mut Eval, line: &str) -> Result<()> {
    if let Some(text) = line.strip_prefix("expected_fail_message") {
        eval.fail = Some(Text::Exact(text.trim().to_owned()));
    } else if let Some(text) = line.strip_prefix("expected_fail_regexp") {
        eval.fail = Some(Text::Regex(text.trim().to_owned()));
    } else if let Some(rest) = line.strip_prefix("expect range vector") {
        eval.answer_times = Some(range_times(rest)?.0);
    } else if let Some(rest) = line.strip_prefix("expect string") {
        let parsed = crate::parse(rest.trim()).map_err(|error| error.to_string())?;
        let crate::ast::Expr::String(text) = parsed else { return Err("no string".to_owned()) };
        eval.string = Some(text.value);
    } else if let Some(rest) = line.strip_prefix("expect ") {
        let (kind, rest) = word_of(rest);
        let text = match rest.split_once(':') {
            Some(("msg", text)) => Text::Exact(text.trim().to_owned()),
            Some(("regex", text)) => Text::Regex(text.trim().to_owned()),
            _ if rest.is_empty() => Text::Any,
            _ => return Err(format!("neither `msg:` nor `regex:` in {rest:?}")),
        };
        match kind {
            "fail" if eval.fail.as_ref().is_some_and(|text| !matches!(text, Text::Any)) => {
                return Err("is to fail in two ways".to_owned());
            }
            "ordered" => eval.ordered = true,
            "fail" => eval.fail = Some(text),
            "warn" => eval.warn.push(text),
            "info" => eval.info.push(text),
            "no_warn" => eval.no_warn = true,
            "no_info" => eval.no_info = true,
            _ => return Err(format!("unknown expectation {kind:?}")),
        }
    } else if let Some(value) = number(line) {
        eval.scalar = Some(value);
    } else {
        eval.series.extend(series_line(line)?);
    }
    Ok(())
}

/// `name{a="b"} 1 2+3x4 _ stale`; `None` for start timestamps (`…@st`), which are no samples.
fn series_line(line: &str) -> Result<Option<Line>> {
    let end = end_of_labels(line);
    let (metric, values) = line.split_at(end);
    if values.starts_with("@st") {
        return Ok(None);
    }
    let labels = labels(metric.trim())?;
    let mut histograms = Vec::new();
    let mut out = Vec::new();
    let mut rest = values.trim_start();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            rest = super::histogram::points(rest, &mut out, &mut histograms)?;
            continue;
        }
        let (word, after) = word_of(rest);
        points(word, &mut out)?;
        rest = after;
    }
    Ok(Some(Line { labels, values: out, starts: Vec::new(), histograms }))
}

/// The first space (or `@st`) that is neither in braces nor in quotes.
pub(super) fn end_of_labels(line: &str) -> usize {
    let (mut quote, mut braces, mut escaped) = (None, 0, false);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') => braces -= 1,
            (None, ' ' | '\t' | '@') if braces == 0 => return at,
            _ => {}
        }
    }
    line.len()
}

fn labels(metric: &str) -> Result<Labels> {
    if metric == "{}" {
        return Ok(Labels::empty());
    }
    // A matcher that excludes nothing may stand alone in a series' labels, but not in a selector.
    let named = match metric.strip_prefix('{') {
        Some(rest) => format!("{{__padding__=\"1\",{rest}"),
        None => metric.to_owned(),
    };
    let matchers = crate::parse_selector(&named).map_err(|error| format!("{metric}: {error}"))?;
    if matchers.iter().any(|matcher| matcher.kind != MatchType::Equal) {
        return Err(format!("{metric}: not all labels have a value"));
    }
    let pairs = matchers.into_iter().filter(|matcher| matcher.name != "__padding__");
    Ok(Labels::from_pairs(pairs.map(|matcher| (matcher.name, matcher.value))))
}

/// A scalar as expected answer.
fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().strip_prefix("0x") {
        Some(hex) => Some(i64::from_str_radix(hex, 16).ok()? as f64),
        None => text.parse().ok(),
    }
}

/// `1`, `1x3` (four times 1), `1+2x3` (1 3 5 7), `_`, `_x3` (three gaps), `stale`.
fn points(word: &str, out: &mut Vec<Option<f64>>) -> Result<()> {
    let error = || format!("no points: {word:?}");
    if let Some(rest) = word.strip_prefix('_') {
        let count = match rest.strip_prefix('x') {
            Some(count) => count.parse::<usize>().map_err(|_| error())?,
            None => 1,
        };
        out.extend(std::iter::repeat_n(None, count));
        return Ok(());
    }
    if word == "stale" {
        out.push(Some(model::stale_marker()));
        return Ok(());
    }
    if let Ok(value) = word.parse() {
        out.push(Some(value));
        return Ok(());
    }
    let (formula, count) = word.rsplit_once('x').ok_or_else(error)?;
    let count: usize = count.parse().map_err(|_| error())?;
    if formula == "stale" {
        out.extend(std::iter::repeat_n(Some(model::stale_marker()), count + 1));
        return Ok(());
    }
    let (mut value, step) = match formula.parse::<f64>() {
        Ok(value) => (value, 0.0),
        Err(_) => formula
            .char_indices()
            .skip(1)
            .filter(|(_, c)| matches!(c, '+' | '-'))
            .find_map(|(at, _)| {
                Some((formula[..at].parse::<f64>().ok()?, formula[at..].parse::<f64>().ok()?))
            })
            .ok_or_else(error)?,
    };
    for _ in 0..=count {
        out.push(Some(value));
        value += step;
    }
    Ok(())
}
