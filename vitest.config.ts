import { defineConfig } from "vitest/config";

/** Suites that start processes, containers and browsers: one file at a time, and long waits for a slow machine. */
const realParts = { fileParallelism: false, testTimeout: 120_000, hookTimeout: 180_000, teardownTimeout: 30_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{shared,electron,renderer}/**/*.test.{ts,tsx}", "dtma/src/**/*.test.ts", "test/fakes/**/*.test.ts"],
        },
      },
      { test: { name: "guards", include: ["test/guards/**/*.test.ts"], testTimeout: 30_000 } },
      { test: { name: "integration", include: ["test/{integration,setup}/**/*.test.ts"], ...realParts } },
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], ...realParts, testTimeout: 240_000 } },
      { test: { name: "screenshots", include: ["test/screenshots/**/*.test.ts"], ...realParts, testTimeout: 600_000 } },
    ],
  },
});
