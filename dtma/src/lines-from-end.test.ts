import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { linesFromEnd } from "./lines-from-end.ts";

it("reads the lines of a file from its end, whatever their lengths and letters", async () => {
  const folder = await mkdtemp(join(tmpdir(), "dtma-lines-"));
  const file = join(folder, "lines");
  const read = async () => {
    const lines: string[] = [];
    for await (const line of linesFromEnd(file)) lines.push(line);
    return lines;
  };
  try {
    expect(await read()).toEqual([]);
    for (const lines of [["one"], ["", "é".repeat(50_000), "", "x".repeat(200_000), "end", ""]]) {
      await writeFile(file, lines.join("\n"));
      expect(await read()).toEqual(lines.toReversed());
    }
    const many = Array.from({ length: 20_000 }, (_, index) => `line ${index} ü`);
    await writeFile(file, many.join("\n"));
    expect(await read()).toEqual(many.toReversed());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
