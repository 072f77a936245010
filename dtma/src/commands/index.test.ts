import { expect, it } from "vitest";
import { findCommand } from "./index.ts";

it("a command comes first; its own flags are kept apart from settings", () => {
  const found = findCommand(["doctor", "--json", "--port=31000", "--data", "/tmp/x"]);
  expect(found?.flags).toEqual(["--json"]);
  expect(found?.settings).toEqual(["--port=31000", "--data", "/tmp/x"]);
});

it.each([[[]], [["--port=1"]], [["--json", "doctor"]], [["toString"]]])("%j is no command and starts the DTMA", (argv) => {
  expect(findCommand(argv)).toBeUndefined();
});
