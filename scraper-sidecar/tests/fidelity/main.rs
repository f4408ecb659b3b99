//! Coordinator, sidecar and Prometheus together: what Prometheus makes of every file of `examples/corpus` is the same
//! as with the file as it stands, no secret appears where it was not before, and an edit of the file costs no scrape.

#[cfg(test)]
mod checked;
#[cfg(test)]
mod coordinated;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod edits;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod many;
#[cfg(test)]
mod observation;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod scraped;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shard;
