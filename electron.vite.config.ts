import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "electron-vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  main: {
    build: {
      outDir: "out/main",
      sourcemap: true,
      rolldownOptions: {
        // Two programs from one source: the Electron app and the browser host.
        input: { index: at("electron/main/index.ts"), browser: at("electron/main/browser.ts") },
        output: { format: "es", entryFileNames: "[name].js", chunkFileNames: "chunks/[name]-[hash].js" },
        // Native speed-ups that ws looks for and does without.
        external: ["bufferutil", "utf-8-validate"],
      },
    },
  },
  preload: {
    build: {
      outDir: "out/preload",
      // A sandboxed preload is one CommonJS file and can require nothing but Electron.
      externalizeDeps: false,
      rolldownOptions: {
        input: { index: at("electron/preload/index.ts") },
        output: { format: "cjs", entryFileNames: "[name].cjs" },
      },
    },
  },
  renderer: {
    root: at("renderer"),
    plugins: [react(), tailwindcss()],
    build: {
      outDir: at("out/renderer"),
      minify: true,
      // The window is read from this computer's disk, once.
      chunkSizeWarningLimit: 4_000,
      // A file that became a data: URL would need a weaker content security policy.
      assetsInlineLimit: 0,
      rolldownOptions: { input: { index: at("renderer/index.html") } },
    },
  },
});
