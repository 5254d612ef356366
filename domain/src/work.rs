//! Proof of work: something that takes many tries to find and one to check.
//!
//! An answer is right when SHA-256 over the token, a dot and the answer begins with enough zero bits. About 2^bits answers
//! have to be tried, whoever tries.

use sha2::{Digest as _, Sha256};

/// The longest answer, in characters.
pub const ANSWER_CHARS_MAX: usize = 32;

/// With how many zero bits the hash over a token and an answer begins.
#[must_use]
pub fn zero_bits(token: &str, answer: &str) -> u32 {
    leading(begun(token).chain_update(answer))
}

/// The first answer, counting from zero, with at least so many zero bits.
#[must_use]
pub fn solve(token: &str, bits: u32) -> String {
    let begun = begun(token);
    let mut tries = (0_u64..).map(|number| number.to_string());
    tries.find(|answer| leading(begun.clone().chain_update(answer)) >= bits).unwrap_or_default()
}

fn begun(token: &str) -> Sha256 {
    Sha256::new_with_prefix(token).chain_update(b".")
}

fn leading(hash: Sha256) -> u32 {
    let digest = hash.finalize();
    let whole = digest.iter().take_while(|byte| **byte == 0).count();
    let rest = digest.get(whole).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(whole).unwrap_or(u32::MAX).saturating_mul(8).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_and_belongs_to_its_token() {
        for bits in [0, 1, 7, 8, 9, 12] {
            let answer = solve("a-token", bits);
            assert!(zero_bits("a-token", &answer) >= bits && answer.len() <= ANSWER_CHARS_MAX);
            assert!((0..answer.parse::<u64>().expect("a number")).all(|n| zero_bits("a-token", &n.to_string()) < bits));
        }
        assert!(zero_bits("another-token", &solve("a-token", 12)) < 12);
        // As any other implementation has it: SHA-256("tok.270") begins with 005.
        assert_eq!((zero_bits("tok", "270"), solve("tok", 8).as_str()), (9, "270"));
    }
}
