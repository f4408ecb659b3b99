//! A TCP line that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Carries connections to a port on this machine. Ends when dropped.
#[derive(Debug)]
pub(super) struct Line {
    /// `host:port` of its near end.
    pub(super) address: String,
    cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Line {
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, is_cut) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, is_cut.clone()));
            }
        });
        Self { address, cut, accepting }
    }

    /// From now on nothing gets through, and nobody is told: connections stay open and are silent.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub(super) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A connection, from when the line is whole until an end closes it. What was open over a cut is closed after it. Errors
/// of the channel say that the line is gone.
async fn carry(mut near: TcpStream, port: u16, mut is_cut: watch::Receiver<bool>) {
    if is_cut.wait_for(|is_cut| !is_cut).await.is_err() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ends = copy_bidirectional(&mut near, &mut far) => {}
        cut = is_cut.wait_for(|is_cut| *is_cut) => {
            if cut.is_err() {
                return;
            }
        }
    }
    drop(is_cut.wait_for(|is_cut| !is_cut).await);
}
