//! The operators, one by one, over the in-process ledger.

#[cfg(test)]
mod admit;
#[cfg(test)]
mod commit;
#[cfg(test)]
mod decode;
#[cfg(test)]
mod dedup;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod neighbours;
