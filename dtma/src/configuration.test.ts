import { chmod, type FileHandle, mkdtemp, open, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hideToken, overwrite, parseConfiguration, withHashedToken } from "./configuration.ts";
import { hashToken } from "./token-hash.ts";

describe("a configuration file", () => {
  it("is read as a shell reads it; the last line of a name counts", () => {
    const text = "# comment\n\nexport A=1\r\n  B = \"two words\" \nC='x=y'\nA=2\n";
    expect(parseConfiguration(text)).toEqual({ A: "2", B: "two words", C: "x=y" });
    expect(parseConfiguration("not an assignment\n")).toBeUndefined();
  });

  it.each([
    ["DTMA_AUTH_TOKEN=abc", "DTMA_AUTH_TOKEN_SHA256={hash}"],
    [
      "# DTMA_AUTH_TOKEN=old\n\nPORT=1\nDTMA_AUTH_TOKEN=abc\nX=y\n",
      "# DTMA_AUTH_TOKEN=old\n\nPORT=1\nDTMA_AUTH_TOKEN_SHA256={hash}\nX=y\n",
    ],
    ['export DTMA_AUTH_TOKEN="abc"\r\nX=y\r\n', "DTMA_AUTH_TOKEN_SHA256={hash}\r\nX=y\r\n"],
    ["DTMA_AUTH_TOKEN=old\nX=y\nDTMA_AUTH_TOKEN=abc", "X=y\nDTMA_AUTH_TOKEN_SHA256={hash}"],
    [`DTMA_AUTH_TOKEN_SHA256=${"0".repeat(64)}\nDTMA_AUTH_TOKEN=abc\n`, "DTMA_AUTH_TOKEN_SHA256={hash}\n"],
  ])("gets the hash in the place of the token: %j", (text, expected) => {
    const hashed = withHashedToken(text);
    expect(hashed).toBe(expected.replace("{hash}", hashToken("abc")));
    expect(withHashedToken(hashed ?? "")).toBeUndefined();
  });

  it.each(["", "PORT=1\n", "DTMA_AUTH_TOKEN=\n", "#DTMA_AUTH_TOKEN=abc\n"])("without a token stays as it is: %j", (text) => {
    expect(withHashedToken(text)).toBeUndefined();
  });
});

describe("hiding the token", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "dtma-conf-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("leaves a file for its owner's eyes only, also through a link, and nothing beside it", async () => {
    await writeFile(join(folder, "real.conf"), "DTMA_AUTH_TOKEN=abc\n");
    await chmod(join(folder, "real.conf"), 0o644);
    await symlink("real.conf", join(folder, "dtma.conf"));
    expect(await hideToken(join(folder, "dtma.conf"))).toBe(true);
    expect(await readFile(join(folder, "real.conf"), "utf8")).toBe(`DTMA_AUTH_TOKEN_SHA256=${hashToken("abc")}\n`);
    expect((await stat(join(folder, "real.conf"))).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(["dtma.conf", "real.conf"]);
    expect(await hideToken(join(folder, "dtma.conf"))).toBe(false);
  });

  it.each([
    [
      "shorter",
      "A=1\nDTMA_AUTH_TOKEN=x\nDTMA_AUTH_TOKEN=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\nB=2",
    ],
    ["longer", "# comment\nA=1\nDTMA_AUTH_TOKEN=x\nB=2"],
  ])(
    "writes over a file in its place so that at every step it reads as before or as after: a %s one",
    async (_what, before) => {
      const file = join(folder, "dtma.conf");
      await writeFile(file, before);
      const after = withHashedToken(before) ?? "";
      const handle = await open(file, "r+");
      const seen: string[] = [];
      const step =
        <A extends unknown[]>(work: (...given: A) => Promise<unknown>) =>
        async (...given: A) => {
          await work(...given);
          seen.push(await readFile(file, "utf8"));
        };
      const watched = {
        write: step((text: string, at: number) => handle.write(text, at)),
        truncate: step((length: number) => handle.truncate(length)),
        sync: () => handle.sync(),
      } as unknown as FileHandle;
      await overwrite(watched, before, after).finally(() => handle.close());
      expect(seen.length).toBeGreaterThan(1);
      for (const text of seen) {
        expect([parseConfiguration(before), parseConfiguration(after)]).toContainEqual(parseConfiguration(text));
      }
      expect(seen.at(-1)).toBe(after);
    },
  );
});
