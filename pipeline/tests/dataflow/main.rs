//! The whole dataflow over the real embedded edges.

#[cfg(test)]
mod decides;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod retention;
