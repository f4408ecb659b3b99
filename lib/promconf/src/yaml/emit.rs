//! A document back to text, so that a YAML parser sees the same values: plain scalars stay plain, all others are
//! double-quoted, collections are in block style.

use std::fmt::Write;

use saphyr_parser::Tag;

use super::{Node, Value};

/// Longest key that may stand before its colon (YAML allows 1024).
const MAX_SIMPLE_KEY: usize = 1000;

/// The document as text, which ends with a newline.
pub(crate) fn emit(node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Mapping(entries) if !entries.is_empty() && node.tag.is_none() => {
            mapping(&mut out, entries, 0, false);
        }
        Value::Sequence(items) if !items.is_empty() && node.tag.is_none() => {
            sequence(&mut out, items, 0, false);
        }
        _ => {
            out.push_str("---");
            value(&mut out, node, 0, 0);
        }
    }
    out
}

/// What follows `key:` or `-`, from its leading space to its newline; the two numbers are the indentation of a
/// mapping's keys and of a sequence's dashes.
fn value(out: &mut String, node: &Node, indent: usize, dashes: usize) {
    if let Some(tag) = &node.tag {
        out.push(' ');
        write_tag(out, tag);
    }
    match &node.value {
        Value::Scalar { text, plain } => {
            if !text.is_empty() || !*plain {
                out.push(' ');
                scalar(out, text, *plain);
            }
            out.push('\n');
        }
        Value::Sequence(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Mapping(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Value::Sequence(items) => {
            out.push('\n');
            sequence(out, items, dashes, false);
        }
        Value::Mapping(entries) => {
            out.push('\n');
            mapping(out, entries, indent, false);
        }
    }
}

fn mapping(out: &mut String, entries: &[(Node, Node)], indent: usize, mut inline: bool) {
    for (key, node) in entries {
        if !std::mem::take(&mut inline) {
            spaces(out, indent);
        }
        let explicit =
            key.scalar().is_none_or(|text| text.len() > MAX_SIMPLE_KEY || text.contains('\n'));
        if explicit {
            out.push('?');
            value(out, key, indent + 2, indent + 2);
            spaces(out, indent);
        } else {
            if let Some(tag) = &key.tag {
                write_tag(out, tag);
                out.push(' ');
            }
            if let Value::Scalar { text, plain } = &key.value {
                scalar(out, text, *plain);
            }
            // `"": x` needs its quotes, a plain empty key its colon alone.
        }
        out.push(':');
        // A sequence below a key needs no indentation of its own.
        value(out, node, indent + 2, indent);
    }
}

fn sequence(out: &mut String, items: &[Node], indent: usize, mut inline: bool) {
    for item in items {
        if !std::mem::take(&mut inline) {
            spaces(out, indent);
        }
        out.push('-');
        match &item.value {
            Value::Mapping(entries) if !entries.is_empty() && item.tag.is_none() => {
                out.push(' ');
                mapping(out, entries, indent + 2, true);
            }
            Value::Sequence(items) if !items.is_empty() && item.tag.is_none() => {
                out.push(' ');
                sequence(out, items, indent + 2, true);
            }
            _ => value(out, item, indent + 2, indent + 2),
        }
    }
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

fn write_tag(out: &mut String, tag: &Tag) {
    if tag.is_yaml_core_schema() {
        out.push_str("!!");
        out.push_str(&tag.suffix);
    } else if tag.handle == "!" || (tag.handle.is_empty() && tag.suffix == "!") {
        out.push('!');
        out.push_str(tag.suffix.trim_start_matches('!'));
    } else {
        out.push_str("!<");
        out.push_str(&tag.handle);
        out.push_str(&tag.suffix);
        out.push('>');
    }
}

fn scalar(out: &mut String, text: &str, plain: bool) {
    // A plain scalar with a line break was folded from several lines: a string in any case.
    if plain && !text.chars().any(needs_escape) && !is_markup(text) {
        out.push_str(text);
    } else {
        quote(out, text);
    }
}

/// Text that a parser would not take for a plain scalar where we write it, though it was one where it stood (a lenient
/// parser reads `{a: |<line break>b}` so). It is a string in any case.
fn is_markup(text: &str) -> bool {
    text.starts_with([
        '|', '>', '%', '@', '`', '"', '\'', '&', '*', '!', '#', '{', '}', '[', ']', ',',
    ]) || text.starts_with("- ")
        || text.starts_with("? ")
        || text.ends_with(':')
        || [": ", " #"].iter().any(|mark| text.contains(mark))
}

/// Characters that cannot stand for themselves, for YAML 1.1 readers included.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if needs_escape(c) => {
                let _infallible = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
