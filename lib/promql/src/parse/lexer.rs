//! Text to tokens (promql/parser/lex.go), in one pass and without recursion.
//!
//! What is legal depends on where we are: inside braces names are never keywords, inside brackets only lengths of
//! time are expected. The first error ends the tokens.

use super::keyword::{Keyword, keyword, length_keyword};
use crate::ast::{AggregateOp, BinaryOp, Span};

/// A token and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    End,
    /// What is wrong.
    Error(String),
    Name,
    /// A name with a colon.
    MetricName,
    Text,
    Number,
    Duration,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Comma,
    Colon,
    At,
    /// `=`
    Equal,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
}

/// All tokens of a text; the last one is `End` or `Error`.
pub(super) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, ..Lexer::default() };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        lexer.start = lexer.at;
        let kind = lexer.token().unwrap_or_else(Kind::Error);
        let last = matches!(kind, Kind::End | Kind::Error(_));
        tokens.push(Token { kind, span: lexer.span() });
        if last {
            return tokens;
        }
    }
}

#[derive(Default)]
struct Lexer<'a> {
    text: &'a str,
    start: usize,
    at: usize,
    parens: u32,
    in_braces: bool,
    in_brackets: bool,
    /// Directly after `[`, before the first number.
    in_length: bool,
    got_colon: bool,
    got_length: bool,
}

type Lexed = Result<Kind, String>;

impl Lexer<'_> {
    fn span(&self) -> Span {
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: position(self.start), end: position(self.at) }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.next();
        }
        found
    }

    fn sees(&self, set: &str) -> bool {
        self.peek().is_some_and(|c| set.contains(c))
    }

    fn word(&self) -> &str {
        &self.text[self.start..self.at]
    }

    fn skip_while(&mut self, test: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&test) {
            self.next();
        }
    }

    fn skip_blank(&mut self) {
        loop {
            self.skip_while(is_space);
            if self.in_length || self.peek() != Some('#') {
                return;
            }
            self.skip_while(|c| c != '\n' && c != '\r');
        }
    }

    fn token(&mut self) -> Lexed {
        if self.in_braces {
            self.brace_token()
        } else if self.in_length {
            self.length_token()
        } else {
            self.statement_token()
        }
    }

    fn statement_token(&mut self) -> Lexed {
        let Some(c) = self.next() else { return self.end() };
        Ok(match c {
            ',' => Kind::Comma,
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '^' => Kind::Operator(BinaryOp::Pow),
            '@' => Kind::At,
            '=' | '!' | '<' | '>' => return self.comparison(c),
            c if c.is_ascii_digit() || (c == '.' && self.sees("0123456789")) => {
                self.at -= 1;
                return self.number_or_duration();
            }
            '"' | '\'' | '`' => return self.string(c),
            c if is_alpha(c) || c == ':' => return self.word_token(c),
            '(' | ')' => return self.paren(c),
            '{' => {
                self.in_braces = true;
                Kind::LeftBrace
            }
            '[' => return self.left_bracket(),
            ']' if !self.in_brackets => return Err("unexpected right bracket ']'".to_owned()),
            ']' => {
                self.in_brackets = false;
                Kind::RightBracket
            }
            c => return Err(format!("unexpected character: {c:?}")),
        })
    }

    fn end(&self) -> Lexed {
        if self.parens != 0 {
            return Err("unclosed left parenthesis".to_owned());
        }
        if self.in_brackets {
            return Err("unclosed left bracket".to_owned());
        }
        Ok(Kind::End)
    }

    fn paren(&mut self, c: char) -> Lexed {
        if c == '(' {
            self.parens += 1;
            return Ok(Kind::LeftParen);
        }
        if self.parens == 0 {
            // Upstream has emitted the parenthesis before it complains, so the place is behind it.
            self.start = self.at;
            return Err("unexpected right parenthesis ')'".to_owned());
        }
        self.parens -= 1;
        Ok(Kind::RightParen)
    }

    fn left_bracket(&mut self) -> Lexed {
        if self.in_brackets {
            return Err("unexpected left bracket '['".to_owned());
        }
        self.got_colon = false;
        self.in_brackets = true;
        self.in_length = true;
        Ok(Kind::LeftBracket)
    }

    fn comparison(&mut self, c: char) -> Lexed {
        let second = self.peek();
        let operator = match (c, second) {
            ('=', Some('=')) => BinaryOp::Eq,
            ('!', Some('=')) => BinaryOp::Ne,
            ('<', Some('=')) => BinaryOp::Le,
            ('>', Some('=')) => BinaryOp::Ge,
            ('<', Some('/')) => BinaryOp::TrimUpper,
            ('>', Some('/')) => BinaryOp::TrimLower,
            ('<', _) => return Ok(Kind::Operator(BinaryOp::Lt)),
            ('>', _) => return Ok(Kind::Operator(BinaryOp::Gt)),
            ('=', Some('~')) => return Err("unexpected character after '=': '~'".to_owned()),
            ('=', _) => return Ok(Kind::Equal),
            (_, Some(other)) => return Err(format!("unexpected character after '!': {other:?}")),
            // What Go prints for "no character".
            (_, None) => return Err("unexpected character after '!': '\u{fffd}'".to_owned()),
        };
        self.next();
        Ok(Kind::Operator(operator))
    }

    fn word_token(&mut self, c: char) -> Lexed {
        if !self.in_brackets {
            self.skip_while(|c| is_alpha(c) || c.is_ascii_digit() || c == ':');
            return Ok(self.classify());
        }
        if c == ':' {
            if self.got_colon {
                return Err("unexpected colon ':'".to_owned());
            }
            self.got_colon = true;
            return Ok(Kind::Colon);
        }
        self.scan_length_keyword()
            .ok_or_else(|| format!("unexpected character: {c:?}, expected ':'"))
    }

    fn classify(&self) -> Kind {
        let word = self.word();
        match keyword(word) {
            Some(Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.text[self.at..].trim_start_matches(is_space).starts_with('(') =>
            {
                Kind::Name
            }
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricName,
            None => Kind::Name,
        }
    }

    fn scan_length_keyword(&mut self) -> Option<Kind> {
        self.skip_while(is_alpha);
        length_keyword(&self.word().to_ascii_lowercase())
    }

    fn brace_token(&mut self) -> Lexed {
        let Some(c) = self.next() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        Ok(match c {
            c if is_alpha(c) => {
                self.skip_while(|c| is_alpha(c) || c.is_ascii_digit());
                Kind::Name
            }
            ',' => Kind::Comma,
            '"' | '\'' | '`' => return self.string(c),
            '=' if self.accept("~") => Kind::Matches,
            '=' => Kind::Equal,
            '!' if self.accept("~") => Kind::NotMatches,
            '!' if self.accept("=") => Kind::Operator(BinaryOp::Ne),
            '!' => {
                let other = self.peek().unwrap_or('\u{fffd}');
                return Err(format!("unexpected character after '!' inside braces: {other:?}"));
            }
            '{' => return Err("unexpected left brace '{'".to_owned()),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            c => return Err(format!("unexpected character inside braces: {c:?}")),
        })
    }

    fn length_token(&mut self) -> Lexed {
        let Some(c) = self.next() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        Ok(match c {
            ']' => {
                self.in_brackets = false;
                self.in_length = false;
                Kind::RightBracket
            }
            ':' if !self.got_length => {
                return Err("unexpected colon before duration in duration expression".to_owned());
            }
            ':' if self.got_colon => {
                return Err("unexpected repeated colon in duration expression".to_owned());
            }
            ':' => {
                self.got_colon = true;
                Kind::Colon
            }
            '(' | ')' => return self.paren(c),
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '^' => Kind::Operator(BinaryOp::Pow),
            ',' => Kind::Comma,
            c if c.is_ascii_digit() || (c == '.' && self.sees("0123456789")) => {
                self.at -= 1;
                self.got_length = true;
                self.in_length = false;
                return self.number_or_duration();
            }
            c => match "srm".contains(c.to_ascii_lowercase()).then(|| self.scan_length_keyword()) {
                Some(Some(kind)) => kind,
                _ => return Err(format!("unexpected character in duration expression: {c:?}")),
            },
        })
    }

    /// `"…"`, `'…'` with escapes, or a raw one between backticks. Only checks; `unquote` reads it.
    fn string(&mut self, quote: char) -> Lexed {
        loop {
            match self.next() {
                None if quote == '`' => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some(c) if c == quote => return Ok(Kind::Text),
                Some('\n') if quote != '`' => return Err("unterminated quoted string".to_owned()),
                Some('\\') if quote != '`' => self.escape(quote)?,
                Some('\u{fffd}') => return Err("invalid UTF-8 rune".to_owned()),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), String> {
        let unterminated = || "escape sequence not terminated".to_owned();
        let first = self.next().ok_or_else(unterminated)?;
        let (digits, radix, largest) = match first {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => {
                self.at -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            c => return Err(format!("unknown escape sequence {}", go_code_point(c))),
        };
        let mut code: u64 = 0;
        for _ in 0..digits {
            let c = self.next().ok_or_else(unterminated)?;
            let digit = c.to_digit(radix).ok_or_else(|| {
                format!("illegal character {} in escape sequence", go_code_point(c))
            })?;
            code = code * u64::from(radix) + u64::from(digit);
        }
        if code > largest || (0xd800..0xe000).contains(&code) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Lexed {
        if self.scan_number() {
            return Ok(Kind::Number);
        }
        if self.scan_rest_of_duration() {
            return Ok(Kind::Duration);
        }
        Err(format!("bad number or duration syntax: {:?}", self.word()))
    }

    /// Leaves the position where the number stopped making sense, so that a duration can go on from there.
    fn scan_number(&mut self) -> bool {
        let mut digits = "0123456789";
        if self.accept("0") && self.accept("xX") {
            self.accept("_");
            digits = "0123456789abcdefABCDEF";
        }
        let hex = digits.len() > 10;
        let (mut dot, mut exponent) = (false, false);
        while self.sees(digits) || self.sees("._eE") {
            if self.sees(".") {
                self.next();
                if dot || hex || self.accept("_.") {
                    return false;
                }
                dot = true;
            } else if self.sees("eE") && !hex {
                self.next();
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept("+-");
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept("_") {
                if self.accept("._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                self.skip_while(|c| digits.contains(c));
            }
        }
        self.at > self.start && !self.peek().is_some_and(|c| is_alpha(c) || c.is_ascii_digit())
    }

    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.sees("0123456789") {
            self.skip_while(|c| c.is_ascii_digit());
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        let goes_on = self.peek().is_some_and(|c| is_alpha(c) || c.is_ascii_digit());
        if goes_on {
            // What is one too many is shown in the error.
            self.next();
        }
        !goes_on
    }
}

/// `U+0041 'A'`, as Go's `%#U`.
fn go_code_point(c: char) -> String {
    format!("U+{:04X} {c:?}", c as u32)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}
