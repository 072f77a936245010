import { defineConfig } from "vitest/config";
import { SlowestFirst } from "./test/setup/slowest-first.ts";

/** Suites that start processes, containers and browsers wait more than they compute; and long waits for a slow machine. */
const realParts = { maxWorkers: 3, testTimeout: 120_000, hookTimeout: 180_000, teardownTimeout: 30_000 };
const oneAtATime = { ...realParts, fileParallelism: false };

export default defineConfig({
  test: {
    sequence: { sequencer: SlowestFirst },
    projects: [
      {
        test: {
          name: "unit",
          include: ["{shared,electron,renderer}/**/*.test.{ts,tsx}", "dtma/src/**/*.test.ts", "test/fakes/**/*.test.ts"],
          // No module keeps a state, so files need no world of their own; loading it again for each costs most of their time.
          isolate: false,
        },
      },
      { test: { name: "guards", include: ["test/guards/**/*.test.ts"], isolate: false, testTimeout: 30_000 } },
      { test: { name: "integration", include: ["test/{integration,setup}/**/*.test.ts"], ...realParts } },
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], ...realParts, testTimeout: 240_000 } },
      { test: { name: "screenshots", include: ["test/screenshots/**/*.test.ts"], ...oneAtATime, testTimeout: 600_000 } },
    ],
  },
});
