// Packs what was built, once, so that no server has to: beside each file one packed by brotli and one by gzip, where that
// makes it smaller. Says how much the first load of a page is.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const folder = process.argv[2];
const names = ["index.html", ...readdirSync(join(folder, "assets")).map((name) => `assets/${name}`)];
for (const name of names) {
  const path = join(folder, name);
  const plain = readFileSync(path);
  const packed = {
    ".gz": gzipSync(plain, { level: 9 }),
    ".br": brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
  };
  for (const [suffix, bytes] of Object.entries(packed)) {
    if (bytes.length < plain.length) writeFileSync(path + suffix, bytes);
  }
  console.log(`${String(packed[".br"].length).padStart(8)} bytes packed  ${name}`);
}
