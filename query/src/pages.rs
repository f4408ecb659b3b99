//! How large the pages of this process' memory are.

/// Asks for no huge pages: each thread that a query runs on would keep pages of 2 MiB for the little that it needs,
/// and memory would follow the number of threads and not what queries hold.
pub(crate) fn keep_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages cannot be turned off");
    }
}
