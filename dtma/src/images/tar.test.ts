import { Readable } from "node:stream";
import { extract, type Header, pack } from "tar-stream";
import { expect, it } from "vitest";
import { addTar, sendTar } from "./tar.ts";

async function moved(fill: (tar: ReturnType<typeof pack>) => void): Promise<{ header: Header; text: string }[]> {
  const source = pack();
  fill(source);
  source.finalize();
  const found: { header: Header; text: string }[] = [];
  await sendTar(
    async (tar) => {
      await addTar(tar, Readable.from(source), "app");
      tar.finalize();
    },
    async (tar) => {
      const entries = tar.pipe(extract());
      for await (const entry of entries) {
        let text = "";
        for await (const chunk of entry) text += String(chunk);
        found.push({ header: entry.header, text });
      }
    },
  );
  return found;
}

it("what a build wrote comes over as root's, without setuid bits and devices", async () => {
  const owner = { uid: 1000, gid: 1000 };
  const found = await moved((tar) => {
    tar.entry({ name: "node_modules/", type: "directory", mode: 0o2777, ...owner });
    tar.entry({ name: "node_modules/run", mode: 0o4777, ...owner }, "text");
    tar.entry({ name: "node_modules/device", type: "character-device", devmajor: 1, devminor: 3 });
    tar.entry({ name: "node_modules/pipe", type: "fifo" });
    tar.entry({ name: "node_modules/soft", type: "symlink", linkname: "../../etc/passwd", ...owner });
    tar.entry({ name: "node_modules/hard", type: "link", linkname: "node_modules/run", ...owner });
  });
  expect(found.map(({ header }) => [header.name, header.type, header.uid, header.gid])).toEqual([
    ["app/node_modules", "directory", 0, 0],
    ["app/node_modules/run", "file", 0, 0],
    ["app/node_modules/soft", "symlink", 0, 0],
    ["app/node_modules/hard", "link", 0, 0],
  ]);
  expect(found[0]?.header.mode).toBe(0o755);
  expect(found[1]).toMatchObject({ text: "text", header: { mode: 0o755 } });
  expect(found[3]?.header.linkname).toBe("app/node_modules/run");
});

it("a tar that breaks off fails, and does not count as its end", async () => {
  await expect(
    sendTar(
      async (tar) => {
        await addTar(tar, Readable.from([Buffer.alloc(512, "x")]), "app");
        tar.finalize();
      },
      async (tar) => {
        for await (const _ of tar as unknown as AsyncIterable<Buffer>);
      },
    ),
  ).rejects.toThrow(/tar/i);
});
