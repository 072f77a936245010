import { expect, it } from "vitest";
import { summaryOf } from "./tool-changes.tsx";

const none = { added: [], removed: [], changed: [] };
const changed = (name: string, description: boolean, schema: boolean) => ({ name, description, schema });

it.each([
  [none, null],
  [{ ...none, added: ["a", "b"], changed: [changed("c", true, false)] }, "2 tools added, 1 changed: description"],
  [{ ...none, removed: ["a"] }, "1 tool removed"],
  [{ ...none, added: ["a"], removed: ["b", "c"] }, "1 tool added, 2 removed"],
  [{ ...none, changed: [changed("a", false, true), changed("b", true, false)] }, "2 tools changed: description and schema"],
])("says in one line what changed in the tools", (changes, line) => {
  expect(summaryOf(changes)).toBe(line);
});
