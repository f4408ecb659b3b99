//! Consul, Docker, Nomad and Eureka as scripts: routes, their answers, and what was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{AppendHeaders, IntoResponse, Response};
use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixListener};

/// A server whose answers a test sets by path. Cloneable.
#[derive(Clone, Default)]
pub(crate) struct Script {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    answers: HashMap<String, (StatusCode, u64, String)>,
    /// Paths with their queries, and headers.
    asked: Vec<(String, HeaderMap)>,
}

impl Script {
    /// Sets an answer; it gets a new index.
    pub fn set(&self, path: &str, body: impl Into<String>) {
        self.put(path, StatusCode::OK, body.into());
    }

    pub fn fail(&self, path: &str) {
        self.put(path, StatusCode::INTERNAL_SERVER_ERROR, String::new());
    }

    /// Sets an answer with the index of the first one.
    pub fn restore(&self, path: &str, body: impl Into<String>) {
        self.inner.lock().answers.insert(path.to_owned(), (StatusCode::OK, 10, body.into()));
    }

    fn put(&self, path: &str, status: StatusCode, body: String) {
        let mut inner = self.inner.lock();
        let index = inner.answers.get(path).map_or(10, |(_, index, _)| index + 1);
        inner.answers.insert(path.to_owned(), (status, index, body));
    }

    /// The first request for a path: its query, and its headers.
    pub fn asked(&self, path: &str) -> (String, HeaderMap) {
        let inner = self.inner.lock();
        let found = inner.asked.iter().find(|(uri, _)| uri.split('?').next() == Some(path));
        let (uri, headers) = found.unwrap_or_else(|| panic!("{path} was not asked for"));
        (uri.split_once('?').map_or("", |(_, query)| query).to_owned(), headers.clone())
    }

    pub fn was_asked(&self, passes: impl Fn(&str) -> bool) -> bool {
        self.inner.lock().asked.iter().any(|(uri, _)| passes(uri))
    }

    pub async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(handle).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        address
    }

    pub fn serve_socket(&self, path: &std::path::Path) {
        let listener = UnixListener::bind(path).unwrap();
        let app = Router::new().fallback(handle).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    }
}

/// Docker's own client puts the version of the API, with a dot in it, in front of a path.
fn unversioned(path: &str) -> &str {
    let versioned = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    versioned.unwrap_or(path)
}

/// What the clients of Consul and of Nomad want of every answer.
const KNOWN_LEADER: [(&str, &str); 5] = [
    ("x-consul-lastcontact", "0"),
    ("x-consul-knownleader", "true"),
    ("x-nomad-index", "10"),
    ("x-nomad-lastcontact", "0"),
    ("x-nomad-knownleader", "true"),
];

/// With `index=<current>` the answer waits for a change, as Consul does.
async fn handle(State(script): State<Script>, uri: Uri, headers: HeaderMap) -> Response {
    script.inner.lock().asked.push((uri.to_string(), headers));
    let wanted =
        uri.query().unwrap_or_default().split('&').find_map(|pair| {
            pair.strip_prefix("index=").map(|index| index.parse::<u64>().unwrap())
        });
    loop {
        let answer = script.inner.lock().answers.get(unversioned(uri.path())).cloned();
        match answer {
            None => return StatusCode::NOT_FOUND.into_response(),
            Some((StatusCode::OK, index, _)) if wanted == Some(index) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Some((status, index, body)) => {
                let index = AppendHeaders([("x-consul-index", index.to_string())]);
                return (status, AppendHeaders(KNOWN_LEADER), index, body).into_response();
            }
        }
    }
}
