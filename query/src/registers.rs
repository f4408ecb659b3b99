//! Vector registers as code without AVX needs them.

use std::hint::black_box;

/// Longer than a vector, so that it is searched with AVX2 where there is AVX2.
static TEXT: [u8; 64] = [b'-'; 64];

/// Marks the upper halves of the vector registers as unused.
///
/// hyper's parser of request heads (httparse 1.10) leaves them in use: its AVX2 functions jump into others without
/// `vzeroupper`. From then on each SSE instruction of the thread waits for what its target register held before, and
/// writing numbers takes seven times as long. A search with AVX2 ends with the missing instruction.
pub(crate) fn settle() {
    black_box(memchr::memchr(b'+', black_box(&TEXT)));
}
