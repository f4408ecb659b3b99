//! A scrape target whose page a test writes, and that remembers how it was asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Oldest requests are forgotten beyond this.
const REMEMBERED_REQUESTS: usize = 10_000;

/// One scrape, as it arrived.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub at: Instant,
    pub path: String,
    /// Decoded; of repeated parameters the last.
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
}

#[derive(Debug)]
struct Script {
    status: StatusCode,
    content_type: String,
    body: String,
    delay: Duration,
    scrapes: Vec<Scrape>,
}

/// An HTTP server on loopback that answers every path with one page. Stops when dropped.
#[derive(Debug)]
pub struct Target {
    address: String,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl Target {
    /// Serves `body` as text format 0.0.4.
    pub async fn start(body: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a loopback port");
        let address = listener.local_addr().expect("bound address").to_string();
        let script = Arc::new(Mutex::new(Script {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8".to_owned(),
            body: body.into(),
            delay: Duration::ZERO,
            scrapes: Vec::new(),
        }));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("serve the target");
        });
        Self { address, script, server }
    }

    /// `127.0.0.1:<port>`, as `__address__` wants it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The page from now on.
    pub fn set_body(&self, body: impl Into<String>) {
        self.script.lock().body = body.into();
    }

    /// The content type from now on.
    pub fn set_content_type(&self, content_type: impl Into<String>) {
        self.script.lock().content_type = content_type.into();
    }

    /// The status from now on; other than 200 makes a scrape fail.
    pub fn set_status(&self, status: u16) {
        self.script.lock().status = StatusCode::from_u16(status).expect("an HTTP status");
    }

    /// How long an answer is held back from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.script.lock().delay = delay;
    }

    /// What was asked so far, oldest first.
    #[must_use]
    pub fn scrapes(&self) -> Vec<Scrape> {
        self.script.lock().scrapes.clone()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let scrape = Scrape {
        at: Instant::now(),
        path: request.uri().path().to_owned(),
        query: query_of(&request),
        headers: request.headers().clone(),
    };
    let (delay, response) = {
        let mut script = script.lock();
        if script.scrapes.len() == REMEMBERED_REQUESTS {
            script.scrapes.remove(0);
        }
        script.scrapes.push(scrape);
        let content_type = [(header::CONTENT_TYPE, script.content_type.clone())];
        (script.delay, (script.status, content_type, script.body.clone()).into_response())
    };
    tokio::time::sleep(delay).await;
    response
}

fn query_of(request: &Request) -> HashMap<String, String> {
    axum::extract::Query::try_from_uri(request.uri()).map(|query| query.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_target_serves_its_page_and_remembers_who_asked() {
        crate::init();
        let target = Target::start("a 1\n").await;
        let client = svc::http::client(Duration::from_secs(10)).unwrap();
        let url = format!("http://{}/metrics?module=x%20y", target.address());
        let page = client.get(&url).header("accept", "any").send().await.unwrap();
        assert_eq!(page.text().await.unwrap(), "a 1\n");
        target.set_status(500);
        assert_eq!(client.get(&url).send().await.unwrap().status(), 500);
        let scrapes = target.scrapes();
        assert_eq!(scrapes.len(), 2);
        assert_eq!(scrapes[0].path, "/metrics");
        assert_eq!(scrapes[0].query["module"], "x y");
        assert_eq!(scrapes[0].headers["accept"], "any");
    }
}
