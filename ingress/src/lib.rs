//! orderly-ingress
