// Solves a challenge, in a worker, so that the page stays alive: a text whose hash with the token begins with zeros.
import { hasher } from "./sha256";

onmessage = ({ data }: MessageEvent<{ token: string; bits: number }>) => {
  const { token, bits } = data;
  const head = hasher(`${token}.`);
  for (let n = 0; ; n += 1) {
    const text = n.toString(36);
    if (Math.clz32(head(text)) >= bits) {
      postMessage(`${token}.${text}`);
      return;
    }
  }
};
