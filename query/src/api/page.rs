//! The page for people: who is asked, how they are, and a form to try a query.

use std::fmt::Write;

use axum::extract::State;
use axum::response::Html;
use url::Url;

use super::Api;
use super::params::{Params, now};
use super::query::{Outcome, Times, outcome};
use super::respond::ApiError;
use crate::endpoints::{Health, Member, View};

mod result;

const STYLE: &str = include_str!("page.css");

/// Queries to start with.
const EXAMPLES: [&str; 4] = [
    "count by (job) (up)",
    "up == 0",
    "topk(10, scrape_samples_scraped)",
    "sum by (job) (scrape_samples_post_metric_relabeling)",
];

/// The page, with the answer to `query` when there is one.
pub(super) async fn page(State(api): State<Api>, params: Params) -> Html<String> {
    let query = params.get("query");
    let answer = match (query, params.time("time")) {
        (None, _) => None,
        (Some(_), Err(error)) => Some(Err(error)),
        (Some(_), Ok(time)) => {
            let times = Times::Instant(time.unwrap_or_else(now));
            Some(outcome(&api, &params, times).await)
        }
    };
    let frame = Frame { prefix: &api.prefix, coordinators: &api.coordinators };
    Html(frame.render(api.source.view().as_deref(), query, answer))
}

/// What stays the same from request to request.
struct Frame<'a> {
    prefix: &'a str,
    coordinators: &'a [Url],
}

impl Frame<'_> {
    fn render(
        &self,
        view: Option<&View>,
        query: Option<&str>,
        answer: Option<Result<Outcome, ApiError>>,
    ) -> String {
        let mut out = String::new();
        self.head(&mut out, query);
        if let Some(answer) = answer {
            result::show(&mut out, answer);
        }
        if let Some(view) = view {
            endpoints(&mut out, view);
        }
        out.push_str("</main></body></html>");
        out
    }

    fn head(&self, out: &mut String, query: Option<&str>) {
        let prefix = self.prefix;
        push(
            out,
            format_args!(
                "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Shoal query</title>\
                 <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
                 <header><div><h1><a href=\"{prefix}/\">Shoal</a> <small>query</small></h1><nav>"
            ),
        );
        for url in self.coordinators {
            push(out, format_args!("<a href=\"{}\">coordinator</a>", escape(url.as_str())));
        }
        let links = [
            ("/api/v1/targets", "targets"),
            ("/api/v1/stores", "stores"),
            ("/api/v1/queries", "running queries"),
            ("/api/v1/labels", "labels"),
            ("/api/v1/status/flags", "flags"),
        ];
        for (path, text) in links {
            push(out, format_args!("<a href=\"{prefix}{path}\">{text}</a>"));
        }
        let shown = escape(query.unwrap_or(EXAMPLES[0]));
        push(
            out,
            format_args!(
                "<a href=\"/metrics\">metrics</a></nav></div></header><main>\
                 <form action=\"{prefix}/\"><input name=\"query\" value=\"{shown}\" aria-label=\"PromQL\" \
                 placeholder=\"PromQL\" autofocus spellcheck=\"false\" autocomplete=\"off\">\
                 <button>Query</button></form>"
            ),
        );
        if query.is_none() {
            out.push_str("<p class=\"examples\">");
            for example in EXAMPLES {
                let encoded: String =
                    url::form_urlencoded::byte_serialize(example.as_bytes()).collect();
                let text = escape(example);
                push(
                    out,
                    format_args!("<a href=\"{prefix}/?query={encoded}\"><code>{text}</code></a> "),
                );
            }
            out.push_str("</p>");
        }
    }
}

fn endpoints(out: &mut String, view: &View) {
    let up = view.members.iter().filter(|m| m.status().health == Health::Up).count();
    let all = view.members.len();
    push(out, format_args!("<h2>Endpoints <small>{up} of {all} healthy</small></h2>"));
    for problem in &view.problems {
        let text = escape(&problem.to_string());
        push(out, format_args!("<p class=\"note warn\">{text}</p>"));
    }
    if view.members.is_empty() {
        out.push_str(
            "<p class=\"note\">None yet. Name some with <code>--endpoint</code>, or a coordinator with \
             <code>--endpoint.coordinator</code>.</p>",
        );
        return;
    }
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>State<th>Endpoint<th>Kind<th>External labels<th>From<th>To\
         </thead><tbody>",
    );
    for member in &view.members {
        row(out, member, view.expects(member));
    }
    out.push_str("</tbody></table></div>");
}

fn row(out: &mut String, member: &Member, expected: bool) {
    let status = member.status();
    let (class, state) = match (status.health, expected) {
        (Health::Up, true) => ("good", "up"),
        (Health::Up, false) => ("", "leaving"),
        (Health::Down, _) => ("bad", "down"),
        (Health::Unknown, _) => ("", "not checked"),
    };
    let info = status.info.as_ref();
    let labels: Vec<String> = info
        .map(|info| info.label_sets.iter().map(|set| escape(&set.to_string())).collect())
        .unwrap_or_default();
    let error = status.last_error.as_deref().map(|error| {
        let error = escape(error);
        format!("<br><small class=\"bad\">{error}</small>")
    });
    let cells = [
        format!("<span class=\"state {class}\">{state}</span>"),
        escape(&member.name) + error.as_deref().unwrap_or_default(),
        escape(info.map_or("", |info| &info.component)),
        format!("<span class=\"series\">{}</span>", labels.join("<br>")),
        info.map_or(String::new(), |info| time(info.min_time)),
        info.map_or(String::new(), |info| time(info.max_time)),
    ];
    out.push_str("<tr>");
    for cell in cells {
        push(out, format_args!("<td>{cell}"));
    }
}

/// Times beyond the calendar are how endpoints say "no bound".
fn time(milliseconds: i64) -> String {
    let year = 365 * 86_400_000;
    match jiff::Timestamp::from_millisecond(milliseconds) {
        Ok(time) if (0..200 * year).contains(&milliseconds) => {
            time.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => "–".to_owned(),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _infallible = out.write_fmt(text);
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warning::Warning;

    #[test]
    fn what_others_say_cannot_become_markup() {
        let problem = Warning::Discovery {
            source: "coordinator <script>".to_owned(),
            reason: "\"a\" & 'b'".to_owned(),
        };
        let view = View { problems: vec![problem], ..View::default() };
        let coordinators = [Url::parse("http://127.0.0.1:9091").unwrap()];
        let frame = Frame { prefix: "/x", coordinators: &coordinators };
        let answer = Err(ApiError::bad_data("no <b>query</b>"));
        let page = frame.render(Some(&view), Some("a > \"<b>\""), Some(answer));
        for part in [
            "coordinator &lt;script&gt;",
            "&quot;a&quot; &amp; &#39;b&#39;",
            "action=\"/x/\"",
            "value=\"a &gt; &quot;&lt;b&gt;&quot;\"",
            "no &lt;b&gt;query&lt;/b&gt;",
            "href=\"http://127.0.0.1:9091/\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn unbounded_times_are_not_spelled_out() {
        assert_eq!(time(i64::MAX), "–");
        assert_eq!(time(i64::MIN), "–");
        assert_eq!(time(1_700_000_000_000), "2023-11-14 22:13:20");
    }
}
