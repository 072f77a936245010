import { expect, it } from "vitest";
import { isGrantable } from "../../dtma/src/capabilities.ts";
import { text } from "../../renderer/text.ts";

it("offers in the window no capability that a toolbox refuses", () => {
  const offered = Object.keys(text.permissions.capabilities);
  expect(offered.length).toBeGreaterThan(0);
  expect(offered.filter((name) => !isGrantable(name))).toEqual([]);
});
