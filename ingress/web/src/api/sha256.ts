// SHA-256 (FIPS 180-4). The browser's own is asynchronous, which makes it slow for many small texts, and is missing without TLS.

const K = new Uint32Array(64);
const START = new Uint32Array(8);

// The first bits of the fractional parts of the roots of the first primes.
(() => {
  const fraction = (value: number): number => ((value - Math.floor(value)) * 2 ** 32) >>> 0;
  let found = 0;
  for (let candidate = 2; found < 64; candidate += 1) {
    let prime = true;
    for (let factor = 2; factor * factor <= candidate; factor += 1) if (candidate % factor === 0) prime = false;
    if (!prime) continue;
    if (found < 8) START[found] = fraction(Math.sqrt(candidate));
    K[found] = fraction(Math.cbrt(candidate));
    found += 1;
  }
})();

const w = new Uint32Array(64);

function block(state: Uint32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i += 1) {
    const b = at + i * 4;
    w[i] = (bytes[b]! << 24) | (bytes[b + 1]! << 16) | (bytes[b + 2]! << 8) | bytes[b + 3]!;
  }
  for (let i = 16; i < 64; i += 1) {
    const [x, y] = [w[i - 15]!, w[i - 2]!];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!, e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = (state[0]! + a) | 0;
  state[1] = (state[1]! + b) | 0;
  state[2] = (state[2]! + c) | 0;
  state[3] = (state[3]! + d) | 0;
  state[4] = (state[4]! + e) | 0;
  state[5] = (state[5]! + f) | 0;
  state[6] = (state[6]! + g) | 0;
  state[7] = (state[7]! + h) | 0;
}

/** Hashes ASCII texts that begin alike: answers with the first 32 bits of the hash of the beginning and the rest. */
export function hasher(beginning: string): (rest: string) => number {
  const whole = Math.floor(beginning.length / 64) * 64;
  const common = START.slice();
  const first = Uint8Array.from(beginning.slice(0, whole), (character) => character.charCodeAt(0));
  for (let at = 0; at < whole; at += 64) block(common, first, at);
  const tail = beginning.slice(whole);
  const bytes = new Uint8Array(128);
  const view = new DataView(bytes.buffer);
  const state = new Uint32Array(8);
  for (let i = 0; i < tail.length; i += 1) bytes[i] = tail.charCodeAt(i);
  return (rest) => {
    const length = tail.length + rest.length;
    const end = length + 9 <= 64 ? 64 : 128;
    for (let i = 0; i < rest.length; i += 1) bytes[tail.length + i] = rest.charCodeAt(i);
    bytes.fill(0, length, end);
    bytes[length] = 0x80;
    view.setUint32(end - 4, (whole + length) * 8);
    state.set(common);
    for (let at = 0; at < end; at += 64) block(state, bytes, at);
    return state[0]! >>> 0;
  };
}
