//! The scripts that decide inside Redis, composed at build time, and their loader.
