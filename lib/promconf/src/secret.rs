//! Secrets, which no log and no debug output shows.

use std::fmt;

/// A password, token or key. [`Self::expose`] is the only way to its text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text: for the request that needs it, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A URL for logs, errors and debug output: its password as `xxxxx`, as Prometheus shows it.
#[must_use]
pub fn redacted_url(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return "<invalid URL>".to_owned() };
    if parsed.password().is_none() {
        return url.to_owned();
    }
    match parsed.set_password(Some("xxxxx")) {
        Ok(()) => parsed.to_string(),
        Err(()) => "<URL with a password>".to_owned(),
    }
}

/// What Prometheus says against a configuration, without the values that it quotes (go-yaml's
/// "cannot unmarshal !!str `value` into …"): one in the wrong place may be a secret.
#[must_use]
pub fn without_values(complaint: &str) -> String {
    let (mut out, mut rest) = (String::new(), complaint);
    while let Some((before, after)) = rest.split_once("cannot unmarshal !!") {
        out.push_str(before);
        out.push_str("cannot unmarshal !!");
        rest = after;
        // The kind of value, then the value; one of several lines is cut off.
        let Some((kind, value)) = after.split_once(" `") else { continue };
        if kind.contains(char::is_whitespace) {
            continue;
        }
        out.push_str(kind);
        rest = value.split_once("` into ").map_or("", |(_, target)| target);
        out.push_str(" into ");
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden() {
        assert_eq!(redacted_url("http://u:p@h/x"), "http://u:xxxxx@h/x");
        assert_eq!(redacted_url("http://h/x?a=b"), "http://h/x?a=b");
        assert_eq!(redacted_url("/u:p@h"), "<invalid URL>");
    }

    #[test]
    fn values_in_complaints_are_hidden() {
        let said = "yaml: unmarshal errors:\n  line 4: cannot unmarshal !!str `s3`cret` into config.A\n  line 5: \
                    cannot unmarshal !!seq into string\n  line 6: cannot unmarshal !!int `12` into bool";
        let shown = "yaml: unmarshal errors:\n  line 4: cannot unmarshal !!str into config.A\n  line 5: \
                     cannot unmarshal !!seq into string\n  line 6: cannot unmarshal !!int into bool";
        assert_eq!(without_values(said), shown);
        assert_eq!(without_values("field `x` not found"), "field `x` not found");
        assert_eq!(without_values("cannot unmarshal !!str `cut"), "cannot unmarshal !!str into ");
    }
}

/// A server's URL, which may hold a password: shown through [`redacted_url`].
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// As written, with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redacted_url(&self.0))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted_url(&self.0))
    }
}
