// The hash that answers challenges, against that of Node.js.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { build } from "vite";

test("hashes as SHA-256 does, whatever the lengths", async () => {
  const folder = mkdtempSync(join(tmpdir(), "orderly-sha256-"));
  const entry = resolve(import.meta.dirname, "../src/api/sha256.ts");
  await build({ configFile: false, logLevel: "warn", build: { outDir: folder, lib: { entry, formats: ["es"], fileName: "sha256" } } });
  const { hasher } = await import(join(folder, "sha256.js"));
  for (let length = 0; length < 140; length += 1) {
    const beginning = "a".repeat(length);
    const head = hasher(beginning);
    for (const rest of ["", "z", "0123456789abcdefghijklmnopqrstuv", "q"]) {
      const expected = createHash("sha256").update(beginning + rest).digest().readUInt32BE(0);
      assert.equal(head(rest), expected, `${length} and ${rest.length}`);
    }
  }
  rmSync(folder, { recursive: true });
});
