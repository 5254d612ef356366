import { defineConfig } from "vite";

// `npm run dev` serves the pages from their sources, against a server that runs: ORDERLY_URL, else the demo's address.
const server = process.env.ORDERLY_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  build: {
    outDir: "dist.new",
    target: "es2022",
    // Small files become files too: the pages' policy lets nothing in that stands in the page itself.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/v1": server, "/docs": server, "/openapi.json": server } },
});
