import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const broker = process.env.GPUYARD_BROKER ?? "http://127.0.0.1:8000";

// What is built is committed and served by the broker, so that a machine without Node runs the dashboard.
export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    outDir: "dist",
    target: "es2023",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // light-dark() stays as it is.
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(
      // The broker hears the address that the browser names: it takes no form from a page of another origin.
      ["/v1", "/_allauth", "/dl", "/healthz"].map((path) => [path, { target: broker, changeOrigin: false }]),
    ),
  },
  test: { include: ["src/**/*.test.ts", "src/**/*.test.tsx"] },
});
