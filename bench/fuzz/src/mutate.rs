//! Makes inputs that are nearly right.

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::INPUT_BYTES_MAX;

/// How many times an input is changed at most.
const CHANGES_MAX: usize = 6;

/// Numbers and texts at which programs stumble.
const PIECES: [&[u8]; 30] = [
    b"",
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"\"\"",
    b"{}",
    b"[]",
    b"9223372036854775808",
    b"18446744073709551616",
    b"4294967296",
    b"1.5",
    b"-0.0",
    b"\\u0000",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"\xe6\x9d\x8e",
    b"\0",
    b"\xff\xff\xff\xff\x0f",
    b"\x80",
    b"2026-13-45T25:61:61Z",
    b"0001-01-01",
    b"Asia/Shanghai",
    b"24:00",
    b".",
    b",",
    b"\n",
    b"=",
];

/// One of the pool, changed.
pub(crate) fn mutated(pool: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = one(pool, random).to_vec();
    for _ in 0..random.random_range(1..=CHANGES_MAX) {
        change(&mut input, pool, random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn one<'a, T>(of: &'a [T], random: &mut StdRng) -> &'a T {
    &of[random.random_range(0..of.len())]
}

/// A place in an input, its end included.
fn place(input: &[u8], random: &mut StdRng) -> usize {
    random.random_range(0..=input.len())
}

/// A part of an input, mostly a short one.
fn part(input: &[u8], random: &mut StdRng) -> std::ops::Range<usize> {
    let start = place(input, random);
    let most = if random.random_bool(0.8) { 8 } else { input.len() };
    let length = random.random_range(0..=most.min(input.len() - start));
    start..start + length
}

fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut StdRng) {
    match random.random_range(0..9) {
        0 if !input.is_empty() => {
            let at = random.random_range(0..input.len());
            input[at] ^= 1 << random.random_range(0..8);
        }
        1 if !input.is_empty() => {
            let at = random.random_range(0..input.len());
            input[at] = random.random();
        }
        2 => {
            let at = place(input, random);
            input.insert(at, random.random());
        }
        3 => {
            let range = part(input, random);
            input.drain(range);
        }
        4 => {
            let copy = input[part(input, random)].to_vec();
            let at = place(input, random);
            input.splice(at..at, copy);
        }
        // A number for a number, a word for a word.
        5 => {
            let range = part(input, random);
            input.splice(range, one(&PIECES, random).iter().copied());
        }
        6 => {
            let other = one(pool, random);
            let copy = other[part(other, random)].to_vec();
            let range = part(input, random);
            input.splice(range, copy);
        }
        7 => {
            let other = one(pool, random);
            let (head, tail) = (place(input, random), place(other, random));
            input.truncate(head);
            input.extend_from_slice(&other[tail..]);
        }
        // A digit or letter for one of its kind: it stays readable and means something else.
        _ => {
            let Some(at) =
                (0..8).map(|_| place(input, random)).find(|at| input.get(*at).is_some_and(u8::is_ascii_alphanumeric))
            else {
                return;
            };
            input[at] = match input[at] {
                b'0'..=b'9' => random.random_range(b'0'..=b'9'),
                _ => random.random_range(b'a'..=b'z'),
            };
        }
    }
}
