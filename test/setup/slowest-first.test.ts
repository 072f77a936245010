import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { slowest } from "./slowest-first.ts";

it.each(slowest)("%s, which is begun early, exists", (name) => {
  expect(["integration", "e2e"].some((folder) => existsSync(join(import.meta.dirname, "..", folder, name)))).toBe(true);
});
