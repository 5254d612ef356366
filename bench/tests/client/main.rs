//! The load clients against a small in-process server that keeps its promises, or breaks one of them on purpose.

#[cfg(test)]
mod hospital;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod rush;
